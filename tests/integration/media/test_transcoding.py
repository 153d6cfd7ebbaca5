"""A page that has Opus alone and a phone that has PCMU alone: real WebRTC, real UDP, tones measured at both ends."""

from __future__ import annotations

import asyncio
import fractions
import itertools
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiortc import RTCRtpCapabilities, RTCRtpSender
from av import AudioFrame

from gateway.domain.ids import CallId
from gateway.media.router import PacketRouter
from gateway.protocol.rtp import RtpHeader, build_packet, parse_header, payload_of
from gateway.protocol.sdp import LocalMedia, SdpSession
from gateway.webrtc.leg import WebRtcLeg
from tests.integration.media.test_router import bind_pair
from tests.support.audio import Samples, fit_sine, sinad, sine
from tests.support.audio_codecs import Decoder, Encoder
from tests.support.webrtc_peer import Peer, ToneTrack

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
CALL = CallId("call")
PAGE_HZ, PHONE_HZ = 1004.0, 604.0
LEVEL_DBFS = -18.0
SECONDS = 4.0


class StereoTone(ToneTrack):
    """The same tone in both channels: aiortc makes mono 3 dB softer (facts of this project)."""

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms when they are due."""
        mono = await super().recv()
        assert mono.pts is not None
        at = (np.arange(960) + mono.pts * 6) / 48000
        left = np.round(32768 * 10 ** (LEVEL_DBFS / 20) * np.sin(2 * np.pi * PAGE_HZ * at)).astype(np.int16)
        frame = AudioFrame.from_ndarray(np.repeat(left, 2)[None, :], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, mono.pts * 6, fractions.Fraction(1, 48000)
        return frame


class OpusPage(Peer):
    """A page that knows nothing but Opus."""

    def __init__(self) -> None:
        super().__init__()
        (sender,) = self.connection.getSenders()
        sender.replaceTrack(StereoTone(PAGE_HZ, LEVEL_DBFS))

    async def answer(self, offer: str) -> str:
        """Answer with Opus alone."""
        capabilities: RTCRtpCapabilities = RTCRtpSender.getCapabilities("audio")
        opus = [codec for codec in capabilities.codecs if codec.mimeType.lower() == "audio/opus"]
        self.connection.getTransceivers()[0].setCodecPreferences(opus)
        return await super().answer(offer)


class UlawPhone:
    """A phone that knows nothing but PCMU; it speaks in real time and keeps what it hears."""

    def __init__(self) -> None:
        self.rtp, self.rtcp = bind_pair(HOST)
        self.rtp.setblocking(False)
        self.packets: list[tuple[float, bytes]] = []
        self.sdp = SdpSession(9, ["PCMU"])
        asyncio.get_running_loop().add_reader(self.rtp, self._read)

    def _read(self) -> None:
        self.packets.append((time.monotonic(), self.rtp.recv(2048)))

    def offer(self) -> str:
        port = self.rtp.getsockname()[1]
        return self.sdp.create_offer(LocalMedia(HOST, port, port + 1))

    async def speak(self, answer: str, seconds: float) -> None:
        to, encoder = self.sdp.accept_answer(answer).remote, Encoder("PCMU")
        sound = sine(PHONE_HZ, LEVEL_DBFS, seconds, 8000)
        start = asyncio.get_running_loop().time()
        for n in range(round(seconds * 50)):
            payload = encoder.encode(sound[n * 160 : (n + 1) * 160])
            self.rtp.sendto(build_packet(RtpHeader(0, n, n * 160, 77), payload), to)
            await asyncio.sleep(max(0.0, start + (n + 1) * 0.02 - asyncio.get_running_loop().time()))

    def heard(self) -> Samples:
        decoder = Decoder("PCMU")
        return np.concatenate([decoder.decode(payload_of(packet)) for _, packet in self.packets])

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.rtp)
        self.rtp.close()
        self.rtcp.close()


@pytest.fixture
async def phone() -> AsyncIterator[UlawPhone]:
    phone = UlawPhone()
    yield phone
    phone.close()


def tone_level(samples: Samples, rate_hz: int, hz: float) -> float:
    """Of the middle window of 0.2 s: one that a busy machine spoiled does not count."""
    size = rate_hz // 5
    parts = [samples[at : at + size] for at in range(0, len(samples) - size + 1, size)]
    return float(np.median([fit_sine(part, rate_hz, near_hz=hz).dbfs for part in parts if np.any(part)]))


async def test_a_page_with_opus_alone_and_a_phone_with_pcmu_alone_hear_each_other(phone: UlawPhone) -> None:
    router, leg, page = PacketRouter(), WebRtcLeg(addresses=[HOST]), OpusPage()
    side = router.page_side()
    try:
        answer, negotiated = await router.answer_offer(CALL, phone.offer(), local_address=HOST)
        assert set(negotiated.send) == {"PCMU"}
        await leg.accept(await page.answer(await leg.offer()))
        assert set(leg.payload_types) == {"opus"}
        side.use(leg)
        assert set(side.payload_types) == {"opus"}
        router.connect(CALL, side)
        await phone.speak(answer, SECONDS)
        stats = router.query(CALL)
    finally:
        await leg.close()
        await page.close()
        await router.close()

    assert "no_common_codec" not in {**stats.wa_to_sip.dropped, **stats.sip_to_wa.dropped}
    assert stats.wa_to_sip.transcoded > 100
    assert stats.sip_to_wa.transcoded > 100
    headers = [parse_header(packet) for _, packet in phone.packets]
    assert {(h.payload_type, len(payload_of(p))) for h, (_, p) in zip(headers, phone.packets, strict=True)} == {
        (0, 160)
    }
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(headers)} == {1}

    up = phone.heard()
    up = up[-round(1.5 * 8000) :]
    assert tone_level(up, 8000, PAGE_HZ) == pytest.approx(LEVEL_DBFS, abs=0.2)
    assert sinad(up, 8000, PAGE_HZ).median_db > 25

    down = np.concatenate(page.heard)
    channels = 2
    down = down[::channels][-round(1.5 * 48000) :]
    assert tone_level(down, 48000, PHONE_HZ) == pytest.approx(LEVEL_DBFS, abs=0.2)
    assert sinad(down, 48000, PHONE_HZ).median_db > 20
