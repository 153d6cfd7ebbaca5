"""What a test call plays, bursts of one tone, and what it hears: loudness, and the tone coming back. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from statistics import median
from typing import Final

from gateway.codecs.levels import FLOOR_DBFS, rms_dbfs
from gateway.codecs.tones import tone

RATE_HZ: Final = 8000
FRAME: Final = 160  # 20 ms
TONE_HZ: Final = 800.0  # a whole number of waves in 20 ms, and no frequency of a telephone key
BURST: Final = 50  # frames of tone, and then as many of silence: what a noise suppressor takes for noise does not pause
LOUD_DBFS: Final = -45.0  # above it somebody speaks
_LEVEL_DBFS: Final = -14.0
_PURE: Final = 0.7  # share of a frame's power that the tone is, in what came back by way of codecs
_QUIET_FRAMES: Final = 10  # of no tone, before it is said to begin again
_STEP: Final = 2 * math.pi * TONE_HZ / RATE_HZ
_COS: Final = tuple(math.cos(_STEP * n) for n in range(FRAME))
_SIN: Final = tuple(math.sin(_STEP * n) for n in range(FRAME))

SILENCE: Final = array("h", bytes(2 * FRAME))
TONE: Final = tone([TONE_HZ], _LEVEL_DBFS, FRAME)


def frame_to_play(number: int) -> array[int]:
    """Return the samples of the frame of that *number*, counted from 0: a burst begins in every hundredth."""
    return TONE if number % (2 * BURST) < BURST else SILENCE


def tone_share(samples: Sequence[int]) -> float:
    """Return which share of the power of a frame our tone is, from 0 to about 1."""
    power = sum(one * one for one in samples)
    if not power:
        return 0.0
    real = sum(one * wave for one, wave in zip(samples, _COS, strict=False))
    imaginary = sum(one * wave for one, wave in zip(samples, _SIN, strict=False))
    return 2 * (real * real + imaginary * imaginary) / (len(samples) * power)


class ToneEar:
    """Listens to what comes back.

    Attributes:
        frames: that were heard.
        loud: of those, in which there was more than silence.
        level_dbfs: of the loudest.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.loud = 0
        self.level_dbfs = FLOOR_DBFS
        self._quiet = _QUIET_FRAMES
        self._bursts: list[float] = []
        self._delays_ms: list[float] = []

    def played(self, at_s: float) -> None:
        """Note that a burst of ours began at the monotonic instant *at_s*."""
        self._bursts.append(at_s)

    def hear(self, samples: Sequence[int], at_s: float) -> None:
        """Take a frame that came at the monotonic instant *at_s*."""
        self.frames += 1
        level = rms_dbfs(samples)
        self.level_dbfs = max(self.level_dbfs, level)
        if level <= LOUD_DBFS:
            self._quiet += 1
            return
        self.loud += 1
        if tone_share(samples) < _PURE:
            self._quiet += 1
            return
        before = [burst for burst in self._bursts if burst <= at_s]
        if self._quiet >= _QUIET_FRAMES and before:
            self._delays_ms.append((at_s - before[-1]) * 1000)
        self._quiet = 0

    @property
    def echo_ms(self) -> float | None:
        """How long our tone took to come back, None where it did not; two bursts at least have to."""
        return round(median(self._delays_ms), 1) if len(self._delays_ms) > 1 else None
