"""Wide band payloads as G.711, for ears that need no more: the detector of telephone keys."""

from __future__ import annotations

from array import array
from typing import Final

import av
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.packet import Packet

from gateway.codecs.g711 import encode_ulaw
from gateway.domain.codecs import G722, OPUS, AudioCodec

_RATE_HZ: Final = 8000
_DECODERS: Final = {OPUS.name: "libopus", G722.name: "g722"}


class NarrowBand:
    """A decoder of one stream.

    Args:
        codec: Opus or G.722.
    """

    __slots__ = ("_decoder", "_resampler")

    def __init__(self, codec: AudioCodec) -> None:
        decoder = av.CodecContext.create(_DECODERS[codec.name], "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.sample_rate = codec.sample_rate_hz
        decoder.layout = "mono"
        self._decoder = decoder
        self._resampler = AudioResampler(format="s16", layout="mono", rate=_RATE_HZ)

    def feed(self, payload: bytes) -> bytes:
        """Return the sound of *payload* as PCMU, as far as it is ready; nothing where it is malformed."""
        if not payload:  # to the decoder that is the end of the stream
            return b""
        samples = array("h")
        try:
            for frame in self._decoder.decode(Packet(payload)):
                frame.pts = None
                for narrow in self._resampler.resample(frame):
                    samples.frombytes(memoryview(narrow.planes[0])[: 2 * narrow.samples])
        except FFmpegError:
            return b""
        return encode_ulaw(samples)
