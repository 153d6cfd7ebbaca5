"""Python twin of ``media.wasm``: the same routines on doubles, readable, and tested by the same vectors.

The C code is the one that runs. This is what it is meant to do: the tests hold both to one set of expectations, so that
a slip in one of them shows. Names follow ``include/abi.h``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ABI_VERSION: Final = 1
MAX_INPUTS: Final = 8
BLOCK_FRAMES: Final = 1024
CLIP_LEVEL: Final = 0.999
SILENCE_POWER: Final = 0.5e-6  # 60 dB under the mean power of a full-scale sine
FADE_S: Final = 0.005
CEILING: Final = 0.89125094  # -1 dBFS
LOOKAHEAD_S: Final = 0.001
RELEASE_S: Final = 0.080
FLOOR_DBFS: Final = -200.0


def amplitude_of_db(db: float) -> float:
    """Return the amplitude of a level, 1.0 for 0 dB.

    Args:
        db: Level in dB; clamped to -200..40.
    """
    return float(10.0 ** (min(max(db, -200.0), 40.0) / 20.0))


def db_of_power(power: float) -> float:
    """Return the level of a mean power in dB, never below ``FLOOR_DBFS``."""
    return max(FLOOR_DBFS, 10.0 * math.log10(power)) if power > 1e-20 else FLOOR_DBFS


def mix(inputs: Sequence[Sequence[float]], frames: int) -> list[float]:
    """Return the sum of *inputs*, at most ``MAX_INPUTS`` of them; what is not a number counts as silence."""
    mixed = [0.0] * frames
    for samples in inputs[:MAX_INPUTS]:
        for i in range(frames):
            if -1024.0 < samples[i] < 1024.0:
                mixed[i] += samples[i]
    return mixed


class Tone:
    """One or two sines, faded in and out over 5 ms."""

    def __init__(
        self, sample_rate_hz: float, hz: tuple[float, float], dbfs: tuple[float, float], total_frames: int
    ) -> None:
        """Start a tone.

        Args:
            sample_rate_hz: Rate of the buffer it is added to.
            hz: The two frequencies; 0, or half the sample rate and more, leaves that sine out.
            dbfs: Their levels, 0 being an amplitude of 1.0.
            total_frames: Length with both fades.
        """
        heard = [0.0 < f < sample_rate_hz / 2.0 for f in hz]
        self._steps = [f / sample_rate_hz if h else 0.0 for f, h in zip(hz, heard, strict=True)]
        self._amplitudes = [amplitude_of_db(d) if h else 0.0 for d, h in zip(dbfs, heard, strict=True)]
        self._total = total_frames
        self._fade = min(int(FADE_S * sample_rate_hz), total_frames // 2)
        self._done = 0

    def _gain(self, position: int) -> float:
        edge = min(position, self._total - 1 - position)
        if edge >= self._fade:
            return 1.0
        return 0.5 - 0.5 * math.cos(math.pi * (edge + 1) / (self._fade + 1))

    def add(self, output: list[float]) -> int:
        """Add the next frames of the tone to *output*; return how many are left."""
        for i in range(len(output)):
            if self._done >= self._total:
                break
            turns = [(step * self._done) % 1.0 for step in self._steps]
            value = sum(a * math.sin(2.0 * math.pi * t) for a, t in zip(self._amplitudes, turns, strict=True))
            output[i] += self._gain(self._done) * value
            self._done += 1
        return self._total - self._done


@dataclass(slots=True)
class Meter:
    """Level, peak, clipping and silence since the last reset; ``silent_frames`` outlives the reset."""

    energy: float = 0.0
    peak: float = 0.0
    clipped: int = 0
    frames: int = 0
    silent_frames: int = 0

    def add(self, samples: Sequence[float]) -> None:
        """Take one block into account."""
        if not samples:
            return
        energy = sum(x * x for x in samples)
        self.energy += energy
        self.peak = max(self.peak, *(abs(x) for x in samples))
        self.clipped += sum(abs(x) >= CLIP_LEVEL for x in samples)
        self.frames += len(samples)
        self.silent_frames = self.silent_frames + len(samples) if energy < SILENCE_POWER * len(samples) else 0

    def reset(self) -> None:
        """Begin a new window."""
        self.energy, self.peak, self.clipped, self.frames = 0.0, 0.0, 0, 0

    @property
    def rms_dbfs(self) -> float:
        """Level relative to a full-scale sine (AES17)."""
        return db_of_power(2.0 * self.energy / self.frames) if self.frames else FLOOR_DBFS

    @property
    def peak_dbfs(self) -> float:
        """Highest magnitude in dB relative to 1.0."""
        return db_of_power(self.peak * self.peak)


class Limiter:
    """Look-ahead peak limiter: a pure delay under the ceiling, never above it otherwise."""

    def __init__(self, sample_rate_hz: float) -> None:
        """Start with the gain open.

        Args:
            sample_rate_hz: Rate of the samples; the delay is 1 ms less one frame.
        """
        self._window = int(LOOKAHEAD_S * sample_rate_hz + 0.5)
        self._release = 1.0 / (RELEASE_S * sample_rate_hz)
        self._sound = deque([0.0] * self._window, maxlen=self._window)
        self._needed = deque([1.0] * self._window, maxlen=self._window)
        self._held = deque([1.0] * self._window, maxlen=self._window)
        self._envelope = 1.0

    @property
    def delay_frames(self) -> int:
        """How far the output lags behind the input."""
        return self._window - 1

    def run(self, samples: Sequence[float]) -> list[float]:
        """Return the limited *samples*, delayed."""
        limited = []
        for x in samples:
            self._sound.append(x)
            self._needed.append(CEILING / abs(x) if abs(x) > CEILING else 1.0)
            opened = self._envelope + (1.0 - self._envelope) * self._release
            self._envelope = min(opened, *self._needed)
            if self._envelope > 0.99999:
                self._envelope = 1.0
            self._held.append(self._envelope)
            y = self._sound[0] * (sum(self._held) / self._window)
            limited.append(min(max(y, -CEILING), CEILING))
        return limited


class Media:
    """One instance of the module: what one worklet node runs."""

    def __init__(self, sample_rate_hz: float) -> None:
        """Start silent.

        Args:
            sample_rate_hz: Rate of the audio context; clamped to 8000..192000.
        """
        self.sample_rate_hz = min(max(sample_rate_hz, 8000.0), 192000.0)
        self.meter = Meter()
        self.limiter = Limiter(self.sample_rate_hz)
        self._tone: Tone | None = None

    def tone_start(self, hz: tuple[float, float], dbfs: tuple[float, float], frames: int) -> None:
        """Play a tone of *frames* frames over what is mixed; replaces one that still plays."""
        self._tone = Tone(self.sample_rate_hz, hz, dbfs, frames)

    def process(self, inputs: Sequence[Sequence[float]], frames: int) -> list[float]:
        """Mix, add the tone, meter and limit one block."""
        output = mix(inputs, frames)
        if self._tone is not None:
            self._tone.add(output)
        self.meter.add(output)
        return self.limiter.run(output)
