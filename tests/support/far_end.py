"""Both ends of a media plane, in a thread of its own: a page by WebRTC and a SIP peer by UDP that speak all the time.

What the test's own loop does, or does not get to, leaves no trace in what they send and hear.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from gateway.domain.ids import CallId
from gateway.media.page_side import PageLeg, PageSide
from gateway.media.plane import MediaPlane
from gateway.protocol.rtp import HEADER
from gateway.protocol.sdp import LocalMedia, Negotiated, SdpSession
from gateway.webrtc.sdp import LocalPart, build_offer, parse_answer
from gateway.webrtc.seam import IcePath, Transports

HOST: Final = "127.0.0.1"
PAGE_SAYS: Final = b"\x11" * 160
SIP_SAYS: Final = b"\x22" * 160
SILENCE: Final = b"\xff" * 160
"""PCMU."""
_FRAME_S: Final = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """A packet that came: when, and what was in it."""

    at_s: float
    payload_type: int
    payload: bytes


@dataclass
class PageEnd:
    """A page's peer connection."""

    transports: Transports
    heard: list[Heard] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def took(self, packet: bytes) -> None:
        self.heard.append(Heard(time.monotonic(), packet[1] & 0x7F, packet[12:]))


class FarEnd:
    """One page and one SIP peer; made and used by `far_end`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.sip_heard: list[Heard] = []
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.bind((HOST, 0))
        self.sip.setblocking(False)
        self.session = SdpSession(1, ("PCMU",))
        self.events_due: list[bytes] = []  # telephone-event payloads that go out in place of audio
        self._target: tuple[str, int] | None = None
        self._event_type: int | None = None
        self._pages: list[PageEnd] = []
        self._talking: asyncio.Task[None] | None = None

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* in the far end's thread, and wait for it in the test's."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @property
    def media(self) -> LocalMedia:
        """Where the SIP peer receives."""
        return LocalMedia(HOST, self.sip.getsockname()[1], 9)

    @property
    def page_heard(self) -> list[Heard]:
        """What the page heard, by its last connection."""
        return self._pages[-1].heard

    # SDP of the SIP peer

    def offer(self) -> str:
        """Return its offer."""
        return self.session.create_offer(self.media)

    def accept(self, answer: str) -> None:
        """Take the answer to it."""
        self._aim(self.session.accept_answer(answer))

    def answer(self, offer: str) -> str:
        """Answer an offer."""
        answer, negotiated = self.session.answer_offer(offer, self.media)
        self._aim(negotiated)
        return answer

    def _aim(self, negotiated: Negotiated) -> None:
        self._target = negotiated.remote
        self._event_type = negotiated.telephone_event

    # the page

    async def connect_page(self, side: PageSide) -> PageLeg:
        """Have a new leg to the page, put to use."""
        leg = side.new_leg(addresses=[HOST], connect_timeout_s=20)
        try:
            await leg.accept(await self.answer_page(await leg.offer()))
        except BaseException:
            await leg.close()
            raise
        side.use(leg)
        return leg

    async def answer_page(self, offer: str) -> str:
        """Return the page's answer; it connects from then on."""
        return await self.do(self._answer_page(offer))

    async def _answer_page(self, offer: str) -> str:
        def heard(packet: bytes, now_s: float) -> None:
            end.took(packet)

        transports = Transports(
            IcePath(addresses=[HOST], stun_url="", controlling=False),
            on_change=lambda: None,
            on_rtp=heard,
            on_rtcp=lambda packet: None,
        )
        end = PageEnd(transports)
        await transports.gather()
        username, password = transports.path.credentials()
        own = LocalPart(username, password, transports.fingerprint(), transports.path.candidates(), 7, "far", 1)
        remote = parse_answer(offer.replace("actpass", "passive"))

        async def connect() -> None:
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(20):
                    await transports.path.connect(
                        remote.username, remote.password, lite=False, candidates=remote.candidates
                    )
                    await transports.connect_dtls(remote.fingerprints, server=False)

        end.task = asyncio.get_running_loop().create_task(connect())
        self._pages.append(end)
        return build_offer(own).replace("actpass", "active")

    async def close_page(self) -> None:
        """Have the page close its end."""
        await self.do(self._close_page(self._pages[-1]))

    async def _close_page(self, end: PageEnd) -> None:
        if end.task is not None:
            end.task.cancel()
            await asyncio.wait([end.task])
        await end.transports.close()

    # audio

    async def talk(self) -> None:
        """Both ends speak from now on."""
        await self.do(self._start())

    async def _start(self) -> None:
        if self._talking is None:
            self._loop.add_reader(self.sip, self._sip_readable)
            self._talking = self._loop.create_task(self._talk())

    def _sip_readable(self) -> None:
        packet = self.sip.recv(2048)
        self.sip_heard.append(Heard(time.monotonic(), packet[1] & 0x7F, packet[12:]))

    async def _talk(self) -> None:
        start_s = time.monotonic()
        for number in itertools.count():
            header = (number & 0xFFFF, number * 160 & 0xFFFFFFFF)
            if self._target is not None:
                if self.events_due and self._event_type is not None:
                    said = HEADER.pack(0x80, self._event_type, header[0], 8000, 99) + self.events_due.pop(0)
                else:
                    said = HEADER.pack(0x80, 0, *header, 99) + SIP_SAYS
                with contextlib.suppress(OSError):
                    self.sip.sendto(said, self._target)
            if self._pages:
                self._pages[-1].transports.send_rtp(HEADER.pack(0x80, 0, *header, 7) + PAGE_SAYS)
            await asyncio.sleep(max(0.0, start_s + (number + 1) * _FRAME_S - time.monotonic()))

    async def close(self) -> None:
        """Close everything."""
        await self.do(self._close())

    async def _close(self) -> None:
        if self._talking is not None:
            self._talking.cancel()
            self._loop.remove_reader(self.sip)
        for end in self._pages:
            await self._close_page(end)
        self.sip.close()


@contextlib.asynccontextmanager
async def far_end() -> AsyncIterator[FarEnd]:
    """Give a far end whose thread ends with the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="far end")
    thread.start()
    far = FarEnd(loop)
    try:
        yield far
    finally:
        await far.close()
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


async def call_up(plane: MediaPlane, far: FarEnd, call_id: CallId, side: PageSide, **told: Any) -> None:
    """Have a call between the far end's page, which is connected, and its SIP peer."""
    offer = await plane.create_offer(call_id, local_address=HOST, page=side)
    await plane.accept_answer(call_id, far.answer(offer))
    plane.connect(call_id, side, **told)


async def until(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Wait until *condition* says yes."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        await asyncio.sleep(0.02)
