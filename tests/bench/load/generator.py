"""The generator: a process of its own with both ends of every call; whatever joins them is the candidate.

It reads commands as JSON objects, one a line, and answers each with one:

    {"do": "phone", "call": 0}                                       -> {"sdp": "..."}  a phone, plain RTP
    {"do": "phone_target", "call": 0, "sdp": "..."}                  -> {}              where the phone sends to
    {"do": "page_answer", "call": 0, "sdp": "..."}                   -> {"sdp": "..."}  a page that is called
    {"do": "page_offer", "call": 0, "host": "1.2.3.4"}               -> {"sdp": "..."}  a page that calls
    {"do": "page_accept", "call": 0, "sdp": "..."}                   -> {}
    {"do": "direct", "call": 0}                                      -> {}              the two with nothing between
    {"do": "connected"}                                              -> {}              once ICE and DTLS of all are
    {"do": "run", "seconds": 10, "keep": "delays.npy"}               -> the figures
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pylibsrtp

from gateway.media.sockets import LoopWatch
from gateway.webrtc.seam import IcePath, Transports
from tests.bench.load.lines import answer_lines
from tests.bench.load.native import Carried, End, Native
from tests.bench.load.sdp import HOST, Transport, plain, plain_target, webrtc, webrtc_transport

_CONNECT_S: Final = 30.0
_PER_S: Final = 50  # packets of 20 ms


class Page:
    """The WebRTC end of a call: aiortc connects it, then the loop has its socket."""

    def __init__(self, ssrc: int, *, calls: bool, host: str = HOST) -> None:
        self.ssrc = ssrc
        self._watch = LoopWatch()
        path = IcePath(addresses=[host], stun_url="", controlling=calls, watch=self._watch)
        self.transports = Transports(
            path, on_change=lambda: None, on_rtp=lambda packet, now_s: None, on_rtcp=lambda packet: None
        )

    async def sdp(self, setup: str) -> str:
        """Return its offer or answer."""
        await self.transports.gather()
        path = self.transports.path
        username, password = path.credentials()
        own = Transport(username, password, self.transports.fingerprint(), setup, path.candidates())
        return webrtc(own, self.ssrc)

    async def connect(self, peer: Transport, *, server: bool) -> None:
        """Connect to the candidate."""
        async with asyncio.timeout(_CONNECT_S):
            await self.transports.path.connect(peer.username, peer.password, lite=peer.lite, candidates=peer.candidates)
            await self.transports.connect_dtls([peer.fingerprint], server=server)

    def pair(self) -> Any:
        """Return aioice's chosen pair."""
        return self.transports.path._connection._nominated[1]

    def suite(self) -> str:
        """Return the SRTP suite that DTLS chose: what it costs is in the candidate's CPU time."""
        connection = self.transports.dtls._ssl
        assert connection is not None
        return connection.get_selected_srtp_profile().decode()

    def socket(self) -> socket.socket:
        """Return the socket of that pair."""
        found: socket.socket = self.pair().protocol.transport.get_extra_info("socket")
        return found

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the socket to others for the length of the block."""
        self._watch.forget(self.socket())
        try:
            yield
        finally:
            self._watch.watch(self.socket(), self.pair().protocol.transport._readable)


@dataclass(slots=True)
class Call:
    """Both ends of a call.

    Attributes:
        phone: the socket of its plain end.
        target: where the phone sends to.
        page: its WebRTC end; None: a second socket with SRTP keys that both know.
        straight: that socket.
    """

    phone: socket.socket
    target: tuple[str, int] = ("", 0)
    page: Page | None = None
    straight: socket.socket | None = None
    ends: tuple[End, End] | None = None


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((HOST, 0))
    made.setblocking(False)
    return made


def _srtp_pair() -> tuple[pylibsrtp.Session, pylibsrtp.Session]:
    key = os.urandom(30)
    kinds = (pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    first, second = (pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind)) for kind in kinds)
    return first, second


class Generator:
    """All calls of a run."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._native = Native(self._other)
        self._calls: dict[int, Call] = {}
        self._connecting: list[asyncio.Task[None]] = []
        self._protocols: list[Any] = []

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a line says; return the answer."""
        number, sdp = command.get("call", 0), command.get("sdp", "")
        match command["do"]:
            case "phone":
                phone = _socket()
                self._calls[number] = Call(phone)
                return {"sdp": plain(phone.getsockname()[1])}
            case "phone_target":
                self._calls[number].target = plain_target(sdp)
            case "page_answer":
                page = self._calls[number].page = Page(2 * number + 2, calls=False)
                answer = await page.sdp("active")
                self._connect(page, sdp, server=False)
                return {"sdp": answer}
            case "page_offer":
                page = self._calls[number].page = Page(2 * number + 2, calls=True, host=command["host"])
                return {"sdp": await page.sdp("actpass")}
            case "page_accept":
                accepting = self._calls[number].page
                assert accepting is not None
                self._connect(accepting, sdp, server=webrtc_transport(sdp).setup == "active")
            case "direct":
                self._calls[number] = Call(_socket(), straight=_socket())
            case "connected":
                await asyncio.gather(*self._connecting)
                self._connecting.clear()
            case "run":
                return await self._run(float(command["seconds"]), command.get("keep"))
            case unknown:
                raise ValueError(f"unknown command {unknown}")
        return {}

    def _connect(self, page: Page, sdp: str, *, server: bool) -> None:
        self._connecting.append(self._loop.create_task(page.connect(webrtc_transport(sdp), server=server)))

    def _ends(self, number: int, call: Call) -> tuple[End, End]:
        """Return phone and page, each of which hears the other."""
        if call.ends is None:
            first = 2 * list(self._calls).index(number)
            if call.page is None:
                assert call.straight is not None
                to_phone, from_page = _srtp_pair()
                to_page, from_phone = _srtp_pair()
                phone = End(
                    call.phone.fileno(), call.straight.getsockname(), 2 * number + 1, first + 1, to_page, from_page
                )
                page = End(
                    call.straight.fileno(), call.phone.getsockname(), 2 * number + 2, first, to_phone, from_phone
                )
            else:
                dtls = call.page.transports.dtls
                pair = call.page.pair()
                phone = End(call.phone.fileno(), call.target, 2 * number + 1, first + 1)
                page = End(
                    call.page.socket().fileno(), pair.remote_addr[:2], 2 * number + 2, first, dtls._tx_srtp,
                    dtls._rx_srtp,
                )  # fmt: skip
            call.ends = (phone, page)
        return call.ends

    async def _run(self, seconds: float, keep: str | None) -> dict[str, Any]:
        ends = [end for number, call in self._calls.items() for end in self._ends(number, call)]
        pages = [call.page for call in self._calls.values()]
        self._protocols = [page and page.pair().protocol for page in pages]
        with contextlib.ExitStack() as lent:
            for page in pages:
                if page is not None:
                    lent.enter_context(page.lent())
            carried = await asyncio.to_thread(self._native.run, ends, round(seconds * _PER_S))
        if keep is not None:
            np.save(keep, carried.delay_ms)
        suites = sorted({page.suite() for page in pages if page is not None})
        return {**figures(carried), "srtp": ", ".join(suites)}

    def _other(self, stream: int, data: bytes, address: tuple[str, int]) -> None:
        """Give aioice what is its own: checks of consent, and DTLS. Called in the thread of the loop in C."""
        protocol = self._protocols[stream // 2]
        if stream % 2 and protocol is not None:
            self._loop.call_soon_threadsafe(protocol.datagram_received, data, address)

    async def close(self) -> None:
        """Say goodbye and close every socket."""
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for call in self._calls.values():
            call.phone.close()
            if call.straight is not None:
                call.straight.close()
        await asyncio.gather(*(call.page.transports.close() for call in self._calls.values() if call.page))


def figures(carried: Carried) -> dict[str, Any]:
    """Return what is told of a run: delays in both directions, and what went wrong."""
    delay_ms = carried.delay_ms
    came = delay_ms[~np.isnan(delay_ms)]
    found: dict[str, Any] = {
        "sent": int(delay_ms.size) - carried.unsent,
        "lost": int(delay_ms.size - came.size) - carried.unsent,
        "unsent": carried.unsent,
        "undecryptable": carried.undecryptable,
        "foreign": carried.foreign,
        "again": carried.again,
        "disordered": carried.disordered,
        "latest_send_ms": carried.latest_send_ms,
    }
    for name, values in (("", came), ("sip_to_wa_", delay_ms[0::2]), ("wa_to_sip_", delay_ms[1::2])):
        heard = values[~np.isnan(values)]
        for percent in (50, 99):
            found[f"{name}p{percent}_ms"] = float(np.percentile(heard, percent)) if heard.size else None
    return found


async def main() -> None:
    """Serve the commands of stdin."""
    generator = Generator()
    try:
        await answer_lines(generator.do)
    finally:
        await generator.close()


if __name__ == "__main__":
    asyncio.run(main())
