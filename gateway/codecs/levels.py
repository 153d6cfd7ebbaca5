"""Levels of 16-bit audio in dBFS.

0 dBFS is the RMS of a full-scale square wave (dBov, ITU-T G.100.1), so a full-scale sine has -3.01 dBFS RMS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

FULL_SCALE: Final = 32768.0
FLOOR_DBFS: Final = -127.0  # what digital silence is called: the lowest that RFC 6464 can say


def to_dbfs(amplitude: float) -> float:
    """Return *amplitude*, in units of a 16-bit sample, in dBFS, never below the floor."""
    return max(FLOOR_DBFS, 20 * math.log10(amplitude / FULL_SCALE)) if amplitude > 0 else FLOOR_DBFS


def from_dbfs(level_dbfs: float) -> float:
    """Return the amplitude of *level_dbfs* in units of a 16-bit sample."""
    return FULL_SCALE * math.pow(10, level_dbfs / 20)


def rms_dbfs(samples: Sequence[int]) -> float:
    """Return the RMS level of *samples*; the floor where there are none."""
    return to_dbfs(math.sqrt(sum(s * s for s in samples) / len(samples))) if len(samples) else FLOOR_DBFS


def peak_dbfs(samples: Sequence[int]) -> float:
    """Return the level of the largest sample; the floor where there are none."""
    return to_dbfs(max(map(abs, samples), default=0))
