"""Every codec as sound: decoders that conceal, encoders of exact frames, and the rate at which two of them meet."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final, Protocol

import av
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.packet import Packet

from gateway.codecs import g711, opus
from gateway.codecs.conceal import Concealer
from gateway.codecs.libopus import OpusDecoder, OpusEncoder, OpusLibrary
from gateway.domain.codecs import CODECS, G711, OPUS
from gateway.domain.errors import Unavailable

_OPUS_FRAMES_MS: Final = (60, 40, 20, 10)
_WIDE_HZ: Final = 16000


@dataclass(frozen=True, slots=True)
class OpusSettings:
    """How Opus is made.

    Attributes:
        narrow_bps: bits a second of sound of 8 kHz.
        wide_bps: of 16 kHz.
        complexity: 0 to 10.
        expected_loss_percent: of packets; copies are sent of so many (FEC).
    """

    narrow_bps: int = 24_000
    wide_bps: int = 32_000
    complexity: int = 5
    expected_loss_percent: int = 0


class SoundDecoder(Protocol):
    """One stream on its way in: 16-bit mono samples as bytes, in this machine's byte order."""

    def decode(self, payload: bytes) -> bytes | None:
        """Return the sound of *payload*, None where it is malformed."""

    def recover(self, following: bytes, samples: int) -> bytes:
        """Return *samples* in the place of lost ones, by the packet that follows them where it tells of them."""

    def conceal(self, samples: int) -> bytes:
        """Return *samples* in the place of lost ones."""


class SoundEncoder(Protocol):
    """One stream on its way out."""

    frame_ms: int
    """Length of the frames that it takes."""

    def encode(self, sound: bytes) -> bytes:
        """Return the payload of one frame."""

    def expect_loss(self, percent: int) -> None:
        """Prepare for so many of 100 packets to get lost."""


class SoundCodecs:
    """What can be converted.

    Args:
        library: libopus; None: Opus is passed through only.
        settings: of Opus.
    """

    def __init__(self, library: OpusLibrary | None, settings: OpusSettings | None = None) -> None:
        self._library = library
        self._settings = settings or OpusSettings()
        self.names = frozenset(name for name in CODECS if library is not None or name != OPUS.name)
        self.missing = "" if library is not None else "libopus was not found"

    @classmethod
    def load(cls, settings: OpusSettings | None = None) -> SoundCodecs:
        """Return all that this machine has."""
        try:
            return cls(OpusLibrary(), settings)
        except Unavailable:
            return cls(None, settings)

    def decoder(self, codec: str, rate_hz: int) -> SoundDecoder:
        """Return a decoder of *codec* that gives sound of *rate_hz*: 8000 or 16000.

        Raises:
            Unavailable: there is no libopus.
        """
        if codec == OPUS.name:
            return _OpusIn(self._opus(), rate_hz)
        if codec in G711:
            return _Concealing(_G711In(codec), CODECS[codec].sample_rate_hz, rate_hz)
        return _Concealing(_G722In(), _WIDE_HZ, rate_hz)

    def encoder(self, codec: str, rate_hz: int, ptime_ms: int, max_bitrate_bps: int | None = None) -> SoundEncoder:
        """Return an encoder that takes sound of *rate_hz*.

        Args:
            codec: by its name.
            rate_hz: 8000 or 16000.
            ptime_ms: length of the frames that are wanted; Opus can have multiples of 10 only.
            max_bitrate_bps: of Opus.

        Raises:
            Unavailable: there is no libopus.
        """
        if codec == OPUS.name:
            settings = self._settings
            bitrate = settings.wide_bps if rate_hz > CODECS["PCMU"].sample_rate_hz else settings.narrow_bps
            coder = OpusEncoder(
                self._opus(),
                rate_hz,
                bitrate_bps=min(bitrate, max_bitrate_bps or bitrate),
                complexity=settings.complexity,
            )
            coder.expect_loss(settings.expected_loss_percent)
            return _OpusOut(coder, rate_hz, ptime_ms)
        return _G711Out(codec, ptime_ms) if codec in G711 else _G722Out(ptime_ms)

    def _opus(self) -> OpusLibrary:
        if self._library is None:
            raise Unavailable(self.missing)
        return self._library


def meeting_rate_hz(source: str, target: str) -> int:
    """Return the rate at which *source* becomes *target*: no more than both can use.

    libopus decodes to and encodes from any, so it takes the other side's.
    """
    rates = [_WIDE_HZ if name == OPUS.name else CODECS[name].sample_rate_hz for name in (source, target)]
    return rates[1] if target != OPUS.name else min(rates)


class _OpusIn:
    __slots__ = ("_decoder", "_step", "decode")

    def __init__(self, library: OpusLibrary, rate_hz: int) -> None:
        self._decoder = OpusDecoder(library, rate_hz)
        self._step = rate_hz // 400  # 2.5 ms
        self.decode = self._decoder.decode

    def recover(self, following: bytes, samples: int) -> bytes:
        whole = -(-samples // self._step) * self._step
        return (self._decoder.recover(following, whole) or self._decoder.conceal(whole))[: 2 * samples]

    def conceal(self, samples: int) -> bytes:
        whole = -(-samples // self._step) * self._step
        return self._decoder.conceal(whole)[: 2 * samples]


class _PlainDecoder(Protocol):
    def decode(self, payload: bytes) -> bytes | None: ...


class _Concealing:
    """A codec that conceals nothing by itself, with a `Concealer` behind it and the other side's rate behind that."""

    __slots__ = ("_codec", "_concealer", "_down", "_factor", "_native_hz", "_rate_hz")

    def __init__(self, codec: _PlainDecoder, native_hz: int, rate_hz: int) -> None:
        self._codec = codec
        self._concealer = Concealer(native_hz)
        self._native_hz, self._rate_hz = native_hz, rate_hz
        self._down = Resampler(native_hz, rate_hz) if native_hz != rate_hz else None

    def decode(self, payload: bytes) -> bytes | None:
        sound = self._codec.decode(payload)
        if sound is None:
            return None
        sound = self._concealer.came(sound)
        return sound if self._down is None else self._down.feed(sound)

    def recover(self, following: bytes, samples: int) -> bytes:
        return self.conceal(samples)

    def conceal(self, samples: int) -> bytes:
        sound = self._concealer.conceal(samples * self._native_hz // self._rate_hz)
        return sound if self._down is None else self._down.feed(sound)


class _G711In:
    __slots__ = ("_codec",)

    def __init__(self, codec: str) -> None:
        self._codec = codec

    def decode(self, payload: bytes) -> bytes | None:
        return g711.decode(self._codec, payload).tobytes() if payload else None


class _G722In:
    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        decoder = av.CodecContext.create("g722", "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.sample_rate = _WIDE_HZ
        decoder.layout = "mono"
        self._decoder = decoder

    def decode(self, payload: bytes) -> bytes | None:
        if not payload:  # to the decoder that is the end of the stream
            return None
        try:
            return b"".join(_plane(frame) for frame in self._decoder.decode(Packet(payload)))
        except FFmpegError:
            return None


class _G711Out:
    __slots__ = ("_codec", "frame_ms")

    def __init__(self, codec: str, ptime_ms: int) -> None:
        self._codec = codec
        self.frame_ms = ptime_ms

    def encode(self, sound: bytes) -> bytes:
        return g711.encode_bytes(self._codec, sound)

    def expect_loss(self, percent: int) -> None:
        """Nothing can be done."""


class _G722Out:
    __slots__ = ("_encoder", "_frame", "frame_ms")

    def __init__(self, ptime_ms: int) -> None:
        samples = _WIDE_HZ * ptime_ms // 1000
        encoder = av.CodecContext.create("g722", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate = _WIDE_HZ
        encoder.layout = "mono"
        encoder.format = "s16"
        encoder.options = {"frame_size": str(samples)}
        self._encoder = encoder
        self._frame = samples
        self.frame_ms = ptime_ms

    def encode(self, sound: bytes) -> bytes:
        frame = _frame_of(sound, _WIDE_HZ)
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))

    def expect_loss(self, percent: int) -> None:
        """Nothing can be done."""


class _OpusOut:
    """Makes packets of any multiple of 10 ms: of several equal frames where no single one has that length."""

    __slots__ = ("_cut_bytes", "_encoder", "frame_ms")

    def __init__(self, encoder: OpusEncoder, rate_hz: int, ptime_ms: int) -> None:
        self._encoder = encoder
        self.frame_ms = max(10, ptime_ms // 10 * 10)
        part_ms = next(length for length in _OPUS_FRAMES_MS if self.frame_ms % length == 0)
        self._cut_bytes = 2 * rate_hz * part_ms // 1000

    def encode(self, sound: bytes) -> bytes:
        cut = self._cut_bytes
        if len(sound) == cut:
            return self._encoder.encode(sound)
        parts = [self._encoder.encode(sound[at : at + cut]) for at in range(0, len(sound), cut)]
        return opus.join(parts) or parts[0]

    def expect_loss(self, percent: int) -> None:
        self._encoder.expect_loss(percent)


class Resampler:
    """Sound of another rate, as long as what comes in: the filter's delay is filled with silence at the beginning.

    Args:
        from_hz: rate of what comes in.
        to_hz: rate of what leaves.
    """

    __slots__ = ("_from_hz", "_ready", "_resampler", "_to_hz")

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._from_hz, self._to_hz = from_hz, to_hz
        self._resampler = AudioResampler(format="s16", layout="mono", rate=to_hz)
        self._ready = bytearray()

    def feed(self, sound: bytes) -> bytes:
        """Return as much sound as *sound* lasts."""
        if not sound:
            return b""
        for frame in self._resampler.resample(_frame_of(sound, self._from_hz)):
            self._ready += _plane(frame)
        wanted = len(sound) // 2 * self._to_hz // self._from_hz * 2
        if len(self._ready) < wanted:
            self._ready[:0] = bytes(wanted - len(self._ready))
        out = bytes(self._ready[:wanted])
        del self._ready[:wanted]
        return out


def _frame_of(sound: bytes, rate_hz: int) -> av.AudioFrame:
    samples = len(sound) // 2
    frame = av.AudioFrame(format="s16", layout="mono", samples=samples)
    frame.sample_rate = rate_hz
    plane = frame.planes[0]
    plane.update(sound + bytes(plane.buffer_size - len(sound)))
    return frame


def _plane(frame: av.AudioFrame) -> bytes:
    return bytes(memoryview(frame.planes[0])[: 2 * frame.samples])


def silence(samples: int) -> bytes:
    """Return *samples* of digital silence."""
    return array("h", [0]).tobytes() * samples
