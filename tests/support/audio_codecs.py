"""Coders of every codec that calls have, for tests that are a phone: real encoders and decoders (libopus, G.722)."""

from __future__ import annotations

from array import array
from typing import Any, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.packet import Packet

from gateway.codecs import g711
from gateway.domain.codecs import CODECS, G711, OPUS
from tests.support.audio import Samples

_NAMES: Final = {"opus": "libopus", "G722": "g722"}


def _integers(samples: Samples) -> Any:
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)


class Encoder:
    """One stream of packets.

    Args:
        codec: name of `gateway.domain.codecs.CODECS`.
        ptime_ms: length of each packet.
        bit_rate_bps: of Opus.
        application: of Opus.
    """

    def __init__(
        self, codec: str, *, ptime_ms: int = 20, bit_rate_bps: int = 32_000, application: str = "audio"
    ) -> None:
        self.codec = CODECS[codec]
        self.frame = self.codec.sample_rate_hz * ptime_ms // 1000
        self.units = self.codec.clock_rate_hz * ptime_ms // 1000
        self._at = 0
        self._coder: Any = None
        if codec not in G711:
            self._coder = av.CodecContext.create(_NAMES[codec], "w")
            self._coder.sample_rate = self.codec.sample_rate_hz
            self._coder.layout = "mono"
            self._coder.format = "s16"
            if self.codec == OPUS:
                self._coder.bit_rate = bit_rate_bps
                self._coder.options = {"application": application, "frame_duration": str(ptime_ms)}

    def encode(self, samples: Samples) -> bytes:
        """Return the payload of `frame` samples."""
        assert len(samples) == self.frame
        if self._coder is None:
            return g711.encode(self.codec.name, array("h", _integers(samples).tolist()))
        frame = AudioFrame.from_ndarray(_integers(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = self.codec.sample_rate_hz, self._at
        self._at += self.frame
        return b"".join(bytes(packet) for packet in self._coder.encode(frame))


class Decoder:
    """Takes the packets of one stream, in order."""

    def __init__(self, codec: str) -> None:
        self.codec = CODECS[codec]
        self._coder: Any = None
        if codec not in G711:
            self._coder = av.CodecContext.create(_NAMES[codec], "r")
            self._coder.sample_rate = self.codec.sample_rate_hz
            self._coder.layout = "mono"

    def decode(self, payload: bytes) -> Samples:
        """Return the sound of *payload*."""
        if self._coder is None:
            return np.array(g711.decode(self.codec.name, payload), dtype=np.float64) / 32768
        frames = [frame.to_ndarray().reshape(-1) for frame in self._coder.decode(Packet(payload))]
        return np.concatenate([np.zeros(0), *frames]) / 32768
