"""Tones as 16-bit samples."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from gateway.codecs.levels import from_dbfs


def tone(
    frequencies_hz: Sequence[float],
    level_dbfs: float,
    samples: int,
    *,
    sample_rate_hz: int = 8000,
    start: int = 0,
) -> array[int]:
    """Return sine waves added up, for example the two of a DTMF digit.

    Args:
        frequencies_hz: of each sine.
        level_dbfs: of each sine; 0 is full amplitude (`gateway.codecs.levels`).
        samples: how many.
        sample_rate_hz: samples per second.
        start: index of the first sample, so that a tone goes on without a click in the next call.
    """
    peak = from_dbfs(level_dbfs)
    steps = [2 * math.pi * frequency / sample_rate_hz for frequency in frequencies_hz]
    return array(
        "h",
        (
            max(-32768, min(32767, round(peak * sum(math.sin(step * n) for step in steps))))
            for n in range(start, start + samples)
        ),
    )
