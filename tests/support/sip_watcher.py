"""A lamp on a desk: watches an account by SUBSCRIBE over UDP, and keeps the states that it is told."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import cast

from gateway.protocol.sip.digest import digest_response, parse_auth
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse, parse_message
from gateway.sip import SipStack
from tests.support.ports import LOOPBACK


class Lamp(asyncio.DatagramProtocol):
    """What it was told, newest last: the states of the documents."""

    def __init__(self, port: int, user: str, secret: str, watched: str) -> None:
        self._target = f"sip:{watched}@{LOOPBACK}:{port}"
        self._routes: list[str] = []
        self._user, self._secret = user, secret
        self._changed = asyncio.Event()
        self._answered: set[int] = set()  # requests that carried credentials
        self.states: list[str] = []
        self.documents: list[str] = []
        self.status = 0
        self.to = f"<{self._target}>"
        self.cseq = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        host, port = transport.get_extra_info("sockname")[:2]
        self._here = f"{host}:{port}"
        self.subscribe()

    def subscribe(self, authorization: str = "", expires_s: int = 300) -> None:
        self.cseq += 1
        head = {
            "Via": f"SIP/2.0/UDP {self._here};branch=z9hG4bK{self._here}{self.cseq};rport", "Max-Forwards": "70",
            "From": f"<sip:lamp@{self._here}>;tag=lamp", "To": self.to, "Call-ID": f"lamp@{self._here}",
            "CSeq": f"{self.cseq} SUBSCRIBE", "Contact": f"<sip:lamp@{self._here}>", "Event": "dialog",
            "Expires": str(expires_s), "Content-Length": "0",
        }  # fmt: skip
        lines = [f"SUBSCRIBE {self._target} SIP/2.0", *[f"{name}: {value}" for name, value in head.items()]]
        lines += [f"Route: {route}" for route in self._routes] + ([authorization] if authorization else [])
        self._transport.sendto(("\r\n".join(lines) + "\r\n\r\n").encode())

    def datagram_received(self, data: bytes, address: object) -> None:
        message = parse_message(data)
        if isinstance(message, IncomingResponse):
            self.status = message.status
            # once: who goes on with a wrong password has its address shut out, which would be every test's
            if message.status == 401 and message.cseq not in self._answered:
                self._answered.add(self.cseq + 1)
                self.subscribe(self._answer(message.header("WWW-Authenticate") or ""))
            elif message.status == 200:
                if not self._routes:  # the route set of a dialog stays (RFC 3261 section 12.2)
                    self._routes = message.headers.getlist("Record-Route")[::-1]
                self.to = message.to.raw
                self._target = (message.header("Contact") or "").strip("<>")
        elif isinstance(message, IncomingRequest):
            names = ("Via", "From", "To", "Call-ID", "CSeq")
            head = [f"{name}: {value}" for name in names for value in message.headers.getlist(name)]
            self._transport.sendto("\r\n".join(["SIP/2.0 200 OK", *head, "Content-Length: 0", "", ""]).encode())
            self.documents.append(message.body.decode())
            self.states += re.findall("<state>(.*)</state>", self.documents[-1])
        self._changed.set()

    def _answer(self, challenge: str) -> str:
        params = parse_auth(challenge)
        response = digest_response(
            algorithm=params["algorithm"], user=self._user, realm=params["realm"], password=self._secret,
            method="SUBSCRIBE", uri=self._target, nonce=params["nonce"], nc="00000001", cnonce="c", qop="auth",
        )  # fmt: skip
        return (
            f'Authorization: Digest username="{self._user}", realm="{params["realm"]}", nonce="{params["nonce"]}", '
            f'uri="{self._target}", response="{response}", algorithm={params["algorithm"]}, qop=auth, nc=00000001, '
            'cnonce="c"'
        )

    async def until(self, state: str, *, documents: int = 1, timeout_s: float = 15) -> None:
        """Wait until *state* was told last, in one of at least so many documents."""
        async with asyncio.timeout(timeout_s):
            while len(self.documents) < documents or self.states[-1] != state:
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def lamp(port: int, user: str = "", secret: str = "", watched: str = "line") -> AsyncIterator[Lamp]:
    """Watch *watched* at what listens on *port* of loopback."""
    loop = asyncio.get_running_loop()
    transport, one = await loop.create_datagram_endpoint(
        lambda: Lamp(port, user, secret, watched), local_addr=(LOOPBACK, 0), remote_addr=(LOOPBACK, port)
    )
    try:
        yield one
    finally:
        one.subscribe(expires_s=0)
        transport.close()


async def until_watched(stack: SipStack) -> None:
    """Wait until somebody watches and has answered all that was told so far."""
    watchers = stack.agent._watchers
    async with asyncio.timeout(10):
        # looks from outside: the core has no event for it
        while not watchers._live or any(one._busy for one in watchers._live.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
