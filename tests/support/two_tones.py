"""Both ends of a call in the media plane, each with a tone of its own, and what a stereo file holds of them."""

from __future__ import annotations

import asyncio
import math
import socket
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from gateway.codecs.g711 import encode
from gateway.codecs.pcm import encoded
from gateway.domain.codecs import CODECS, G711, OPUS
from gateway.domain.ids import CallId
from gateway.media.router import PacketRouter
from gateway.protocol.rtp import RtpHeader, build_packet
from gateway.protocol.sdp import LocalMedia, SdpSession

LEFT_HZ: Final = 440.0
RIGHT_HZ: Final = 1000.0
PEAK: Final = 8000
_PERIOD: Final = 50  # packets: a second, after which both tones are where they began


class _Page:
    payload_types = {name: codec.payload_type for name, codec in CODECS.items()}  # noqa: RUF012
    connected = True

    def __init__(self) -> None:
        self.heard = 0
        self.receiver: Callable[[bytes, float], None] | None = None
        self.last = b""

    def send(self, packet: bytes) -> None:
        self.heard += 1
        self.last = packet

    def set_receiver(self, receiver: Callable[[bytes, float], None] | None) -> None:
        self.receiver = receiver


class Ends:
    """A phone on real UDP and a page, in one call.

    Args:
        router: the media plane.
        codec: what both speak.
    """

    def __init__(self, router: PacketRouter, codec: str) -> None:
        self.router = router
        self.codec = codec
        self.page = _Page()
        self.sdp = SdpSession(77, (codec,))
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)
        self.to = ("", 0)
        self.heard_by_phone: list[bytes] = []
        self._sounds: dict[float, list[bytes]] = {}
        asyncio.get_running_loop().add_reader(self.sock.fileno(), self._read)

    @classmethod
    async def make(
        cls, router: PacketRouter, call_id: CallId, codec: str = "PCMU", *, others_hz: Sequence[float] = ()
    ) -> Ends:
        """Return the ends of a call that is up; *others_hz*: tones that they need beside the usual two."""
        ends = cls(router, codec)
        port = ends.sock.getsockname()[1]
        offer = ends.sdp.create_offer(LocalMedia("127.0.0.1", port, port + 1))
        answer, _ = await router.answer_offer(call_id, offer, local_address="127.0.0.1")
        ends.to = ends.sdp.accept_answer(answer).remote
        router.connect(call_id, ends.page)
        for hz in (LEFT_HZ, RIGHT_HZ, *others_hz):  # made before they are sent: it takes a while
            ends._sound(hz)
        return ends

    def _read(self) -> None:
        self.heard_by_phone.append(self.sock.recv(2048))

    @property
    def heard_by_page(self) -> int:
        """Packets."""
        return self.page.heard

    def speak(self, n: int, page_hz: float, phone_hz: float) -> None:
        """Send packet *n* of each side; 0 Hz: none."""
        loop = asyncio.get_running_loop()
        number = CODECS[self.codec].payload_type
        step = CODECS[self.codec].clock_rate_hz // 50
        for hz, ssrc in ((page_hz, 5), (phone_hz, 77)):
            if not hz:
                continue
            header = RtpHeader(number, n & 0xFFFF, n * step & 0xFFFFFFFF, ssrc)
            packet = build_packet(header, self._sound(hz)[n % _PERIOD])
            if ssrc == 77:
                self.sock.sendto(packet, self.to)
            elif self.page.receiver is not None:
                self.page.receiver(packet, loop.time())

    def _sound(self, hz: float) -> list[bytes]:
        if hz not in self._sounds:
            if self.codec in G711:
                self._sounds[hz] = [encode(self.codec, _tone(hz, 8000, at, 160)) for at in range(0, 8000, 160)]
            else:
                rate = 16_000 if self.codec != OPUS.name else 48_000
                self._sounds[hz] = encoded(self.codec, _tone(hz, rate, 0, 2 * rate), rate)[_PERIOD:]
        return self._sounds[hz]

    def close(self) -> None:
        """Free the socket."""
        asyncio.get_running_loop().remove_reader(self.sock.fileno())
        self.sock.close()


def _tone(hz: float, rate: int, start: int, count: int) -> array[int]:
    return array("h", (round(PEAK * math.sin(2 * math.pi * hz * n / rate)) for n in range(start, start + count)))


def read_stereo(path: Path) -> tuple[NDArray[np.float64], int]:
    """Return both channels of a file as FFmpeg reads them, in units of 16-bit samples, and the rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [
            frame.to_ndarray() if frame.format.is_planar else frame.to_ndarray().reshape(-1, 2).T
            for frame in container.decode(stream)
        ]
        sound = np.concatenate(parts, axis=1).astype(np.float64)
        return (sound if stream.codec_context.format.name.startswith("s16") else sound * 32768), stream.rate


def level_db(sound: NDArray[np.float64], rate: int, hz: float) -> float:
    """Return the level of a tone in dB of the one that was sent."""
    n = np.arange(len(sound))
    return float(20 * np.log10(abs(np.mean(sound * np.exp(-2j * np.pi * hz * n / rate))) * 2 / PEAK + 1e-9))


def loudest_db(sound: NDArray[np.float64], rate: int, hz: float) -> float:
    """Return the level of a tone where it is loudest, in windows of 0.2 s."""
    step = rate // 5
    return max(level_db(sound[at : at + step], rate, hz) for at in range(0, len(sound) - step, step // 2))


def heard_from(sound: NDArray[np.float64], rate: int) -> tuple[float, float]:
    """Return when a channel begins and ends to sound, in seconds."""
    loud = np.flatnonzero(np.abs(sound) > PEAK / 2)
    return float(loud[0]) / rate, float(loud[-1]) / rate
