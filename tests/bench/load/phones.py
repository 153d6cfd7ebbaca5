"""A SIP user agent for the load's phones, which Janus calls: answers each INVITE with that phone's SDP."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.bench.load.sdp import HOST

_COPIED: Final = frozenset({"via", "v", "from", "f", "call-id", "i", "cseq"})  # RFC 3261 section 8.2.6.2


class Phones(asyncio.DatagramProtocol):
    """All phones, on one UDP port; the user part of the Request-URI says which one is meant."""

    def __init__(self) -> None:
        self._sdp: dict[str, str] = {}
        self._offers: dict[str, asyncio.Future[str]] = {}
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    @property
    def port(self) -> int:
        """Where INVITEs are taken."""
        return int(self._transport.get_extra_info("sockname")[1])

    def expect(self, user: str, sdp: str) -> asyncio.Future[str]:
        """Answer an INVITE to *user* with *sdp*; the offer of that INVITE is what is returned."""
        self._sdp[user] = sdp
        return self._offers.setdefault(user, asyncio.get_running_loop().create_future())

    def datagram_received(self, data: bytes, address: Any) -> None:
        head, _, body = data.decode(errors="replace").partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        if method not in {"INVITE", "BYE", "CANCEL", "OPTIONS"}:
            return  # an ACK, or an answer
        user = rest.split(" ")[0].removeprefix("sip:").partition("@")[0]
        copied = [line for line in lines if line.split(":")[0].lower() in _COPIED]
        to = next(line for line in lines if line.split(":")[0].lower() in {"to", "t"})
        if ";tag=" not in to:
            to += f";tag={user}"
        answer = ["SIP/2.0 200 OK", *copied, to, f"Contact: <sip:{user}@{HOST}:{self.port}>"]
        sdp = ""
        if method == "INVITE":
            sdp = self._sdp[user]
            answer.append("Content-Type: application/sdp")
            if not self._offers[user].done():
                self._offers[user].set_result(body)
        answer += [f"Content-Length: {len(sdp)}", "", sdp]
        self._transport.sendto("\r\n".join(answer).encode(), address)

    def close(self) -> None:
        """Close the port."""
        self._transport.close()


async def open_phones() -> Phones:
    """Return phones on a free port."""
    _, phones = await asyncio.get_running_loop().create_datagram_endpoint(Phones, local_addr=(HOST, 0))
    return phones
