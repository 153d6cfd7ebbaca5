"""What tests of any media plane need: the planes, a page that answers offers, and phones with real RTP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import numpy as np

from gateway.codecs import g711
from gateway.codecs.tones import tone
from gateway.domain.ids import CallId
from gateway.media.page_side import PageLeg, PageSide
from gateway.media.plane import MediaPlane, Negotiated
from gateway.media.router import PacketRouter
from gateway.media.rtpengine.plane import RtpenginePlane, RtpengineSettings
from gateway.media.srtp import SrtpGuard
from gateway.protocol.ng import NgTiming
from gateway.protocol.rtp import RtpHeader, build_packet, is_rtcp, parse_header, payload_of
from gateway.protocol.sdp import SdpSession
from gateway.protocol.sdp.crypto import CryptoPair
from gateway.webrtc.client_link import ClientLink, ClientLinkSettings
from gateway.webrtc.leg import WebRtcLeg
from tests.integration.media.test_router import HOST, Phone
from tests.support.audio import Samples, fit_sine
from tests.support.rtpengine import Rtpengine
from tests.support.webrtc_peer import Peer

CALL: Final = CallId("call")
PAGE_HZ: Final = 1000.0
PHONE_HZ: Final = 440.0
LEVEL_DBFS: Final = -18.0
CODECS: Final = ("PCMU", "PCMA")  # what the page of these tests speaks


@contextlib.asynccontextmanager
async def built_in() -> AsyncIterator[MediaPlane]:
    """The plane in this process."""
    clients = ClientLinkSettings(addresses=[HOST], connect_timeout_s=8.0, hold_back_s=0.1, goodbye_s=0.1)
    plane = PacketRouter(
        port_range=(38_000, 38_999), port_rest_s=0.0, rtcp_interval_s=0.3, codecs=CODECS,
        webrtc_link=lambda pool: ClientLink(pool, clients), page_leg=WebRtcLeg,
    )  # fmt: skip
    try:
        yield plane
    finally:
        await plane.close()


@contextlib.asynccontextmanager
async def at_rtpengine(
    engine: Rtpengine, change: Callable[[RtpengineSettings], RtpengineSettings] = lambda settings: settings
) -> AsyncIterator[RtpenginePlane]:
    """The plane of an rtpengine."""
    settings = RtpengineSettings(
        HOST, engine.port, key_log=(HOST, engine.keys_port), codecs=CODECS,
        poll_s=0.2, lost_after_s=3.0, ping_s=0.3, connect_timeout_s=8.0, timing=NgTiming(0.1, 0.3, 3.0),
    )  # fmt: skip
    plane = RtpenginePlane(change(settings))
    async with plane.running():
        await until(lambda: plane.client.up)
        yield plane


async def until(condition: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
    """Wait for *condition*."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class TestPage:
    """A page with a leg of *plane*."""

    __test__ = False

    def __init__(self, plane: MediaPlane, change: Callable[[str], str] = lambda offer: offer) -> None:
        self._change = change
        self.side: PageSide = plane.page_side()
        self.peers: list[Peer] = []
        self.legs: list[PageLeg] = []

    @property
    def peer(self) -> Peer:
        """The page's end of the newest leg."""
        return self.peers[-1]

    async def connect(self) -> PageLeg:
        """Make a leg and use it, as the page's link does."""
        leg = self.side.new_leg(addresses=[HOST], connect_timeout_s=10.0)
        self.legs.append(leg)
        self.peers.append(Peer(PAGE_HZ, LEVEL_DBFS))
        await leg.accept(await self.peer.answer(self._change(await leg.offer())))
        await until(lambda: self.peer.connection.connectionState == "connected")
        self.side.use(leg)
        return leg

    async def close(self) -> None:
        """Go away."""
        self.side.close()
        for leg in self.legs:
            await leg.close()
        for peer in self.peers:
            await peer.close()


@contextlib.asynccontextmanager
async def page_of(plane: MediaPlane, change: Callable[[str], str] = lambda offer: offer) -> AsyncIterator[TestPage]:
    """A page of *plane* that is connected; *change* is what it makes of an offer first."""
    page = TestPage(plane, change)
    try:
        await page.connect()
        yield page
    finally:
        await page.close()


class SpeakingPhone:
    """A SIP peer's media that speaks a tone, from the first address that it is told on.

    Args:
        secure: it offers SRTP.
        codecs: that it speaks.
    """

    def __init__(self, *, secure: bool = False, codecs: tuple[str, ...] = ("PCMU", "PCMA")) -> None:
        self.phone = Phone(HOST)
        self.phone.sdp = SdpSession(9, codecs, secure=secure)
        self.codec = codecs[0]
        self.speaks = True
        self._numbers = itertools.count()
        self._guard: SrtpGuard | None = None
        self._task = asyncio.get_running_loop().create_task(self._speak())

    async def called(self, plane: MediaPlane, page: PageSide, name: CallId = CALL) -> Negotiated:
        """Be offered media, and answer."""
        offer = await plane.create_offer(name, local_address=HOST, page=page)
        answer, ours = self.phone.sdp.answer_offer(offer, self.phone.local)
        self._follow(ours)
        return await plane.accept_answer(name, answer)

    async def calls(
        self,
        plane: MediaPlane,
        page: PageSide,
        name: CallId = CALL,
        *,
        change: Callable[[str], str] = lambda sdp: sdp,
    ) -> Negotiated:
        """Offer media, and take the answer; the same again changes a running call."""
        offer = change(self.phone.sdp.create_offer(self.phone.local))
        answer, negotiated = await plane.answer_offer(name, offer, local_address=HOST, page=page)
        self._follow(self.phone.sdp.accept_answer(answer))
        return negotiated

    def _follow(self, ours: Negotiated) -> None:
        self.phone.to = ours.remote
        self.codec = ours.codec
        if ours.crypto is not None:
            pair = CryptoPair(ours.crypto.ours, ours.crypto.theirs)
            if self._guard is None:
                self._guard = SrtpGuard(pair)
            else:
                self._guard.follow(pair)

    def send(self, packet: bytes) -> None:
        """Send RTP."""
        sealed = packet if self._guard is None else self._guard.protect(packet)
        if sealed is not None and self.phone.to[1]:
            self.phone.rtp.sendto(sealed, self.phone.to)

    async def _speak(self) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for n in self._numbers:
            await asyncio.sleep(max(0.0, start_s + n * 0.02 - loop.time()))
            if self.speaks and self.phone.to[1]:
                payload = g711.encode(self.codec, tone([PHONE_HZ], LEVEL_DBFS, 160, start=n * 160))
                number = {"PCMU": 0, "PCMA": 8}[self.codec]
                self.send(build_packet(RtpHeader(number, n & 0xFFFF, n * 160 & 0xFFFFFFFF, 77), payload))

    @property
    def packets(self) -> list[bytes]:
        """RTP that came, in the clear."""
        found = [one for one in self.phone.heard if not is_rtcp(one)]
        if self._guard is None:
            return found
        opened = [self._guard.unprotect(one) for one in found]
        self.phone.heard.clear()
        return [one for one in opened if one is not None]

    async def close(self) -> None:
        """Go away."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self.phone.close()


@contextlib.asynccontextmanager
async def a_phone(*, secure: bool = False, codecs: tuple[str, ...] = ("PCMU", "PCMA")) -> AsyncIterator[SpeakingPhone]:
    """A phone that goes away with the block."""
    phone = SpeakingPhone(secure=secure, codecs=codecs)
    try:
        yield phone
    finally:
        await phone.close()


def is_tone(samples: Samples, hz: float) -> bool:
    """Whether a quarter of a second is that tone, whole: aiortc's jitter buffer breaks it where this machine stalls."""
    step = 1000
    for n in range(0, len(samples) - 2 * step, step):
        piece = samples[n : n + 2 * step]
        if not np.any(piece):
            continue
        fit = fit_sine(piece, 8000)
        if abs(fit.hz - hz) < 1 and abs(fit.dbfs - LEVEL_DBFS) < 1 and fit.sinad_db > 25:
            return True
    return False


def sound_of(packets: list[bytes]) -> Samples:
    """The sound of G.711 packets."""
    pcm = [
        np.array(g711.decode({0: "PCMU", 8: "PCMA"}[parse_header(one).payload_type], payload_of(one)))
        for one in packets
        if parse_header(one).payload_type in {0, 8}
    ]
    return np.concatenate(pcm).astype(np.float64) / 32768 if pcm else np.zeros(0)


async def hears(get: Callable[[], Samples], hz: float, what: str) -> None:
    """Wait until *get* gives that tone."""
    try:
        async with asyncio.timeout(15):
            while not is_tone(get(), hz):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not in 15 s: {what}") from None


async def both_hear(page: TestPage, phone: SpeakingPhone) -> None:
    """From now on each hears the other's tone."""
    page.peer.heard.clear()
    phone.phone.heard.clear()
    kept: list[bytes] = []

    def phone_sound() -> Samples:
        if phone._guard is None:
            return sound_of(phone.packets[-60:])
        kept.extend(phone.packets)
        return sound_of(kept[-60:])

    await hears(lambda: _newest(page.peer.heard), PHONE_HZ, "the phone's tone in the page")
    await hears(phone_sound, PAGE_HZ, "the page's tone in the phone")


def _newest(frames: list[Samples]) -> Samples:
    """The newest second that the page heard; aiortc gives G.711 in 8 kHz."""
    return np.concatenate(frames[-60:]) if frames else np.zeros(0)


async def is_quiet(get: Callable[[], int], *, for_s: float = 0.4) -> bool:
    """Whether *get* counts nothing new for a while, once what is under way has come."""
    await asyncio.sleep(0.15)
    before = get()
    await asyncio.sleep(for_s)
    return get() == before


def log_folder(base: Path, name: str) -> Path:
    """A folder for a daemon's log."""
    folder = base / name
    folder.mkdir(exist_ok=True)
    return folder


def without_payload_type(sdp: str, number: int) -> str:
    """Return *sdp* without what *number* stands for."""

    def changed(line: str) -> str:
        if not line.startswith("m=audio"):
            return line
        head, formats = line.split(" ")[:3], line.split(" ")[3:]
        return " ".join([*head, *(one for one in formats if one != str(number))])

    lines = [line for line in sdp.split("\r\n") if not line.startswith((f"a=rtpmap:{number} ", f"a=fmtp:{number} "))]
    return "\r\n".join(map(changed, lines))
