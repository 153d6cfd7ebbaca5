"""Payloads of any codec as 16-bit mono samples of one rate, and stereo sound as Opus: what a recording needs."""

from __future__ import annotations

from array import array
from fractions import Fraction
from typing import Final

import av
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.packet import Packet

from gateway.codecs.g711 import decode as decode_g711
from gateway.domain.codecs import CODECS, G711, G722, OPUS

_DECODERS: Final = {OPUS.name: "libopus", G722.name: "g722"}


class PcmDecoder:
    """A decoder of one stream.

    Args:
        codec: a name of `gateway.domain.codecs.CODECS`.
        rate_hz: of the samples that come out.
    """

    __slots__ = ("_codec", "_decoder", "_rate_hz", "_resampler", "_source_hz")

    def __init__(self, codec: str, rate_hz: int) -> None:
        self._codec = codec
        self._rate_hz = rate_hz
        self._source_hz = CODECS[codec].sample_rate_hz
        self._decoder: av.AudioCodecContext | None = None
        if codec not in G711:
            decoder = av.CodecContext.create(_DECODERS[codec], "r")
            assert isinstance(decoder, av.AudioCodecContext)
            decoder.sample_rate = self._source_hz
            decoder.layout = "mono"
            self._decoder = decoder
        self._resampler: AudioResampler | None = None

    def feed(self, payload: bytes) -> array[int]:
        """Return the samples that are ready; a malformed payload gives none."""
        samples = array("h")
        if self._decoder is None:
            if self._source_hz == self._rate_hz:
                return decode_g711(self._codec, payload)
            if payload:
                self._resample(_frame(decode_g711(self._codec, payload), self._source_hz), samples)
            return samples
        if not payload:  # to the decoder that is the end of the stream
            return samples
        try:
            for frame in self._decoder.decode(Packet(payload)):
                if frame.sample_rate == self._rate_hz and frame.format.name == "s16" and frame.layout.nb_channels == 1:
                    samples.frombytes(memoryview(frame.planes[0])[: 2 * frame.samples])
                else:
                    self._resample(frame, samples)
        except FFmpegError:
            return samples
        return samples

    def flush(self) -> array[int]:
        """Return the samples that the resampler still holds; what is fed next is a new beginning to it."""
        samples = array("h")
        if self._resampler is not None:
            resampler, self._resampler = self._resampler, None
            for frame in resampler.resample(None):
                samples.frombytes(memoryview(frame.planes[0])[: 2 * frame.samples])
        return samples

    def _resample(self, frame: av.AudioFrame, samples: array[int]) -> None:
        if self._resampler is None:
            self._resampler = AudioResampler(format="s16", layout="mono", rate=self._rate_hz)
        frame.pts = None
        for done in self._resampler.resample(frame):
            samples.frombytes(memoryview(done.planes[0])[: 2 * done.samples])


class StereoOpus:
    """An encoder of stereo sound in packets of 20 ms.

    Args:
        rate_hz: of the samples, one of Opus's.
        bitrate_bps: of both channels together.

    Attributes:
        frame: samples of one channel in a packet.
        head: the identification header (RFC 7845 section 5.1).
    """

    def __init__(self, rate_hz: int, bitrate_bps: int) -> None:
        encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate = rate_hz
        encoder.layout = "stereo"
        encoder.format = "s16"
        encoder.bit_rate = bitrate_bps
        encoder.time_base = Fraction(1, rate_hz)
        # complexity 3 of 10: half the cost of 10, and no difference that speech of a telephone would show
        encoder.options = {"application": "audio", "frame_duration": "20", "compression_level": "3"}
        encoder.open()
        self._encoder = encoder
        self._rate_hz = rate_hz
        self._position = 0
        self.frame = encoder.frame_size
        self.head = bytes(encoder.extradata or b"")

    def encode(self, left: array[int], right: array[int]) -> list[bytes]:
        """Return the packets of a frame of each channel."""
        both = array("h", bytes(4 * self.frame))
        both[0::2], both[1::2] = left, right
        frame = _frame(both, self._rate_hz, "stereo")
        frame.pts = self._position
        self._position += self.frame
        return [bytes(packet) for packet in self._encoder.encode(frame)]


def _frame(samples: array[int], rate_hz: int, layout: str = "mono") -> av.AudioFrame:
    frame = av.AudioFrame(format="s16", layout=layout, samples=len(samples) // (2 if layout == "stereo" else 1))
    frame.sample_rate = rate_hz
    frame.planes[0].update(samples.tobytes())
    return frame


def resampled(samples: array[int], from_hz: int, to_hz: int) -> array[int]:
    """Return mono *samples* at another rate."""
    resampler = AudioResampler(format="s16", layout="mono", rate=to_hz)
    out = array("h")
    for frame in (_frame(samples, from_hz), None):
        for done in resampler.resample(frame):
            out.frombytes(memoryview(done.planes[0])[: 2 * done.samples])
    return out


def encoded(codec: str, samples: array[int], rate_hz: int) -> list[bytes]:
    """Return mono *samples* as packets of 20 ms.

    Args:
        codec: Opus or G.722.
        samples: filled up with silence to whole packets.
        rate_hz: theirs; 16000 for G.722.
    """
    encoder = av.CodecContext.create(_DECODERS[codec], "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = rate_hz
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.time_base = Fraction(1, rate_hz)
    if codec == OPUS.name:
        encoder.bit_rate = 24_000
        encoder.options = {"application": "voip", "frame_duration": "20"}
    encoder.open()
    step = rate_hz // 50
    packets: list[bytes] = []
    for start in range(0, len(samples), step):
        part = samples[start : start + step]
        part.frombytes(bytes(2 * (step - len(part))))
        frame = _frame(part, rate_hz)
        frame.pts = start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets
