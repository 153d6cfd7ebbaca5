"""Levels of 16-bit audio in dBFS as in AES17: a sine of full amplitude has 0 dBFS.

A signal's level is that of the sine with the same power. Peak and RMS of a sine are therefore the same number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

FULL_SCALE: Final = 32768.0
FLOOR_DBFS: Final = -120.0
"""What digital silence is called."""


def to_dbfs(amplitude: float) -> float:
    """Return *amplitude*, in units of a 16-bit sample, in dBFS, never below the floor."""
    return max(FLOOR_DBFS, 20 * math.log10(amplitude / FULL_SCALE)) if amplitude > 0 else FLOOR_DBFS


def from_dbfs(level_dbfs: float) -> float:
    """Return the amplitude of *level_dbfs* in units of a 16-bit sample."""
    return FULL_SCALE * math.pow(10, level_dbfs / 20)


def rms_dbfs(samples: Sequence[int]) -> float:
    """Return the level of *samples*; the floor where there are none."""
    if not len(samples):
        return FLOOR_DBFS
    power = sum(sample * sample for sample in samples) / len(samples)
    return to_dbfs(math.sqrt(2 * power))


def peak_dbfs(samples: Sequence[int]) -> float:
    """Return the level of the largest sample; the floor where there are none."""
    return to_dbfs(max(map(abs, samples), default=0))
