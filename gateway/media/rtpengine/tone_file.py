"""A tone as rtpengine plays it: one turn of its rhythm as a file in memory, to be repeated."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Final

import av
from av.audio.stream import AudioStream

from gateway.domain.call_tones import parse_cadence
from gateway.media.call_tone import CadenceSound

REPEATS: Final = 10_000
"""Hours of any rhythm, which ends when it is stopped."""

MAX_BYTES: Final = 60_000
"""What fits into one datagram of ng beside the rest; Brazil's ringback has 40 kB."""

_RATE_HZ: Final = 8000


@lru_cache(maxsize=8)
def tone_file(cadence: str) -> bytes:
    """Return one turn of *cadence* as WAV, mu-law: rtpengine reads few formats."""
    parts = parse_cadence(cadence)
    samples = CadenceSound(parts, _RATE_HZ).take(sum(part.ms for part in parts) * _RATE_HZ // 1000)
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.sample_rate = _RATE_HZ
    frame.planes[0].update(samples.tobytes())
    frame.pts = 0
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream("pcm_mulaw", rate=_RATE_HZ)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        for one in (frame, None):
            for packet in stream.encode(one):
                container.mux(packet)
    return file.getvalue()
