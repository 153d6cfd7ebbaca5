"""The vector set that both implementations are held to.

Inputs are closed forms and seeded noise; what is expected is computed here over whole signals with numpy, in other ways
than the streaming code takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float64]

RATES_HZ: Final = (16000, 44100, 48000)
CEILING: Final = 10 ** (-1 / 20)


@dataclass(frozen=True, slots=True)
class Vector:
    """One input and what becomes of it."""

    name: str
    rate_hz: int
    signal: Signal
    expected: Signal


def sine(rate_hz: int, hz: float, dbfs: float, seconds: float) -> Signal:
    """A sine of that level, rounded to single precision as a buffer holds it."""
    frames = np.arange(round(rate_hz * seconds))
    wave = 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * frames / rate_hz)
    return wave.astype(np.float32).astype(np.float64)


def noise(rate_hz: int, dbfs: float, seconds: float, seed: int) -> Signal:
    wave = np.random.default_rng(seed).normal(0.0, 10 ** (dbfs / 20), round(rate_hz * seconds))
    return wave.astype(np.float32).astype(np.float64)


def limited(signal: Signal, rate_hz: int) -> Signal:
    """The limiter over a whole signal: minimum filter, release, moving average, delay."""
    window = round(0.001 * rate_hz)
    needed = np.minimum(1.0, CEILING / np.maximum(np.abs(signal), 1e-30))
    padded = np.concatenate([np.ones(window - 1), needed])
    lowest = np.lib.stride_tricks.sliding_window_view(padded, window).min(axis=1)
    envelope = np.empty(len(signal))
    level = 1.0
    release = 1.0 / (0.080 * rate_hz)
    for i, bound in enumerate(lowest):
        level = min(level + (1.0 - level) * release, bound)
        if level > 0.99999:
            level = 1.0
        envelope[i] = level
    gain = np.convolve(np.concatenate([np.ones(window - 1), envelope]), np.ones(window) / window, mode="valid")
    delayed = np.concatenate([np.zeros(window - 1), signal])[: len(signal)]
    clipped: Signal = np.clip(delayed * gain, -CEILING, CEILING)
    return clipped


def limiter_vectors() -> list[Vector]:
    vectors = []
    for rate in RATES_HZ:
        step = np.concatenate([sine(rate, 300, -12, 0.03), sine(rate, 300, 6, 0.03), sine(rate, 300, -12, 0.05)])
        spike = sine(rate, 440, -20, 0.05)
        spike[len(spike) // 2] = 3.0
        for name, signal in (
            ("quiet", sine(rate, 1000, -3, 0.05)),
            ("loud", sine(rate, 1000, 6, 0.05)),
            ("step", step),
            ("spike", spike),
            ("noise", noise(rate, -3, 0.05, seed=rate)),
        ):
            vectors.append(Vector(f"{name}-{rate}", rate, signal, limited(signal, rate)))
    return vectors


def tone_expected(rate_hz: int, hz: tuple[float, float], dbfs: tuple[float, float], frames: int) -> Signal:
    """The tone over its whole length."""
    n = np.arange(frames)
    wave = np.zeros(frames)
    for frequency, level in zip(hz, dbfs, strict=True):
        if 0 < frequency < rate_hz / 2:
            wave += 10 ** (level / 20) * np.sin(2 * np.pi * frequency * n / rate_hz)
    fade = min(int(0.005 * rate_hz), frames // 2)
    gain = np.ones(frames)
    if fade:
        rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / (fade + 1))
        gain[:fade] = rise
        gain[frames - fade :] = rise[::-1]
    return wave * gain
