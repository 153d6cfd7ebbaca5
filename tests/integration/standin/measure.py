"""What a recording of a tone has in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.standin.sound import SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Tone:
    """A measured tone.

    Attributes:
        hz: the strongest frequency.
        dbfs: its level; a sine that just does not clip has 0.
        sinad_db: its power over all else between 50 Hz and half the sample rate.
    """

    hz: float
    dbfs: float
    sinad_db: float


def measure(samples: NDArray[np.floating] | NDArray[np.int16]) -> Tone:
    """Measure a recording that holds a tone from its first sample to its last."""
    signal = np.asarray(samples, dtype=np.float64)
    count = len(signal)
    # Four terms: side lobes at -92 dB, so that what is measured is the recording and not the window.
    phase = 2 * np.pi * np.arange(count) / count
    window = 0.35875 - 0.48829 * np.cos(phase) + 0.14128 * np.cos(2 * phase) - 0.01168 * np.cos(3 * phase)
    power = np.abs(np.fft.rfft(signal * window)) ** 2
    bin_hz = SAMPLE_RATE_HZ / count
    power[: round(50 / bin_hz)] = 0
    peak = int(power.argmax())
    main = slice(max(0, peak - 5), peak + 6)
    frequencies = np.arange(len(power)) * bin_hz
    hz = float((power[main] * frequencies[main]).sum() / power[main].sum())
    rest = power.sum() - power[main].sum()
    rms = np.sqrt(2 * power[main].sum() / (count * (window**2).sum()))
    return Tone(
        hz, float(20 * np.log10(rms * np.sqrt(2) / 32768)), float(10 * np.log10(power[main].sum() / max(rest, 1e-12)))
    )


def longest_gap_s(samples: NDArray[np.int16], quiet: int = 100) -> float:
    """Return how long the longest stretch without any sample above *quiet* is, in seconds."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > quiet)
    if len(loud) == 0:
        return len(samples) / SAMPLE_RATE_HZ
    edges = np.concatenate([[-1], loud, [len(samples)]])
    return float((np.diff(edges).max() - 1) / SAMPLE_RATE_HZ)
