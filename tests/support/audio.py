"""Audio that tests send, and the measures that they take of what was heard.

Samples are float64 between -1 and 1. Levels are dBFS as in AES17: a sine of full amplitude has 0 dBFS, so a signal's
level is that of the sine with the same power.
"""

from __future__ import annotations

import io
import random
import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal as dsp

from tests.support.audio_g711 import decode_g711 as decode_g711  # part of what this module offers

Samples = npt.NDArray[np.float64]

SILENCE_DBFS: Final = -120.0


# -- files ---------------------------------------------------------------------------------------------------------


def wav_bytes(samples: Samples, rate_hz: int) -> bytes:
    """The samples as a WAV file: 16 bit mono."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.clip(np.round(samples * 32767), -32768, 32767).astype("<i2").tobytes())
    return out.getvalue()


def write_wav(path: Path, samples: Samples, rate_hz: int) -> None:
    """Write the samples as 16 bit mono."""
    path.write_bytes(wav_bytes(samples, rate_hz))


def parse_wav(data: bytes) -> tuple[Samples, int]:
    """Samples and rate of a 16 bit WAV file; of several channels the first.

    Raises:
        ValueError: not 16 bit.
    """
    with wave.open(io.BytesIO(data)) as file:
        if file.getsampwidth() != 2:
            raise ValueError("only 16 bit WAV files are read")
        frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, file.getnchannels())
        return frames[:, 0].astype(np.float64) / 32767, file.getframerate()


def read_wav(path: Path) -> tuple[Samples, int]:
    """As :func:`parse_wav`, of a file."""
    return parse_wav(path.read_bytes())


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """The same sound at another rate."""
    if from_hz == to_hz:
        return samples
    common = int(np.gcd(from_hz, to_hz))
    return np.asarray(dsp.resample_poly(samples, to_hz // common, from_hz // common), dtype=np.float64)


# -- making --------------------------------------------------------------------------------------------------------


def sine(hz: float, dbfs: float, seconds: float, rate_hz: int, *, ramp_s: float = 0.0) -> Samples:
    """A sine, faded in and out over *ramp_s* where that is not 0."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    samples = 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * time_s)
    ramp = round(ramp_s * rate_hz)
    if ramp:
        fade = 0.5 - 0.5 * np.cos(np.pi * np.arange(ramp) / ramp)
        samples[:ramp] *= fade
        samples[-ramp:] *= fade[::-1]
    return np.asarray(samples, dtype=np.float64)


def silence(seconds: float, rate_hz: int) -> Samples:
    """Nothing."""
    return np.zeros(round(seconds * rate_hz))


def speech(text: str, rate_hz: int, *, seconds: float, peak_dbfs: float = -6, voice: str = "en") -> Samples:
    """Speech by espeak-ng, said again from the start until *seconds* are full.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        subprocess.CalledProcessError: espeak-ng failed.
    """
    spoken = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", "150", "--stdout", text], check=True, capture_output=True, timeout=30
    ).stdout
    samples, from_hz = parse_wav(_with_true_length(spoken))
    samples = resample(samples, from_hz, rate_hz)
    # espeak-ng ends with a long pause, which would be no speech to measure.
    active = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    samples = samples[active[0] : active[-1] + 1]
    wanted = round(seconds * rate_hz)
    samples = np.tile(samples, -(-wanted // len(samples)))[:wanted]
    return np.asarray(samples * (10 ** (peak_dbfs / 20) / np.abs(samples).max()), dtype=np.float64)


def _with_true_length(data: bytes) -> bytes:
    # Written to a pipe, the header claims 2 GiB.
    size = len(data)
    return data[:4] + (size - 8).to_bytes(4, "little") + data[8:40] + (size - 44).to_bytes(4, "little") + data[44:]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What one side of a measured call says: a tone, then speech, then short bursts; silence between.

    Attributes:
        tone_hz: frequency of the tone.
        tone_s: from when to when it sounds, seconds from the start.
        speech_s: likewise.
        bursts_s: when each burst begins.
        samples: all of it.
        rate_hz: of the samples.
    """

    tone_hz: float
    tone_s: tuple[float, float]
    speech_s: tuple[float, float]
    bursts_s: tuple[float, ...]
    samples: Samples
    rate_hz: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate_hz

    def part(self, span_s: tuple[float, float]) -> Samples:
        """The samples between two of its instants."""
        return self.samples[round(span_s[0] * self.rate_hz) : round(span_s[1] * self.rate_hz)]


def timeline(
    *,
    tone_hz: float,
    text: str,
    rate_hz: int,
    seed: int,
    tone_dbfs: float = -12,
    tone_length_s: float = 3,
    speech_length_s: float = 10,
    bursts: int = 24,
    burst_hz: float = 1000,
    burst_dbfs: float = -6,
    tail_s: float = 1,
) -> Timeline:
    """Make a timeline.

    The tone comes first, at once: the first thing heard tells how long the call was mute after its answer. The bursts
    are 60 ms long, 240 to 480 ms apart and never evenly spaced, so that one can be told from the next.

    Args:
        tone_hz: frequency of the tone.
        text: what is spoken.
        rate_hz: rate of the samples.
        seed: of the bursts' spacing.
        tone_dbfs: level of the tone.
        tone_length_s: how long it sounds.
        speech_length_s: how long is spoken.
        bursts: how many.
        burst_hz: their frequency.
        burst_dbfs: their level.
        tail_s: silence at the end.
    """
    spacing = random.Random(seed)
    tone_s = (0.0, tone_length_s)
    speech_s = (tone_length_s + 0.5, tone_length_s + 0.5 + speech_length_s)
    starts: list[float] = []
    at_s = speech_s[1] + 0.6
    for _ in range(bursts):
        # On whole milliseconds, so that every rate that is used has a sample there.
        starts.append(round(at_s, 3))
        at_s += spacing.uniform(0.24, 0.48)
    samples = silence(at_s + tail_s, rate_hz)

    def put(what: Samples, start_s: float) -> None:
        first = round(start_s * rate_hz)
        samples[first : first + len(what)] = what

    put(sine(tone_hz, tone_dbfs, tone_length_s, rate_hz, ramp_s=0.005), tone_s[0])
    put(speech(text, rate_hz, seconds=speech_length_s), speech_s[0])
    for start_s in starts:
        put(sine(burst_hz, burst_dbfs, 0.06, rate_hz), start_s)
    return Timeline(tone_hz, tone_s, speech_s, tuple(starts), samples, rate_hz)


# -- measuring -----------------------------------------------------------------------------------------------------


def level_dbfs(samples: Samples) -> float:
    """The level of the samples' power; -120 where there is none."""
    power = float(np.mean(samples**2)) if len(samples) else 0.0
    return max(SILENCE_DBFS, float(10 * np.log10(2 * power))) if power > 0 else SILENCE_DBFS


@dataclass(frozen=True, slots=True)
class SineFit:
    """The sine that fits some samples best (least squares; IEEE 1057, four parameters).

    Attributes:
        hz: its frequency.
        dbfs: its level.
        sinad_db: its power over that of everything else: noise, distortion, offset.
    """

    hz: float
    dbfs: float
    sinad_db: float


def _fit_at(samples: Samples, hz: float, rate_hz: int, derivative: bool) -> tuple[Samples, Samples]:
    time_s = (np.arange(len(samples)) - len(samples) / 2) / rate_hz
    phase = 2 * np.pi * hz * time_s
    columns = [np.cos(phase), np.sin(phase), np.ones_like(phase)]
    if derivative:
        columns += [time_s * np.cos(phase), time_s * np.sin(phase)]
    basis = np.stack(columns, axis=1)
    factors = np.linalg.lstsq(basis, samples, rcond=None)[0]
    return factors, basis @ factors


def fit_sine(samples: Samples, rate_hz: int, *, near_hz: float | None = None) -> SineFit:
    """Fit a sine, from the strongest line of the spectrum or from *near_hz*.

    Raises:
        ValueError: fewer than 16 samples, or silence.
    """
    if len(samples) < 16 or not np.any(samples):
        raise ValueError("no sine can be fitted to silence or to a handful of samples")
    hz = near_hz if near_hz is not None else _strongest_hz(samples, rate_hz)
    for _ in range(6):
        (cosine, sine_, _, cosine_t, sine_t), _ = _fit_at(samples, hz, rate_hz, derivative=True)
        power = cosine**2 + sine_**2
        if power == 0:
            break
        # A slightly wrong frequency shows as a phase that turns with time.
        step = float((cosine * sine_t - sine_ * cosine_t) / power / (2 * np.pi))
        hz -= step
        if not 0 < hz < rate_hz / 2 or abs(step) < 1e-6:
            break
    hz = float(np.clip(hz, 1.0, rate_hz / 2 - 1))
    (cosine, sine_, _), fitted = _fit_at(samples, hz, rate_hz, derivative=False)
    amplitude = float(np.hypot(cosine, sine_))
    offset_free = fitted - np.mean(fitted)
    rest = float(np.mean((samples - offset_free) ** 2))
    sinad_db = 10 * np.log10(amplitude**2 / 2 / rest) if rest > 0 else 200.0
    return SineFit(hz, float(20 * np.log10(max(amplitude, 1e-6))), float(sinad_db))


def _strongest_hz(samples: Samples, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    spectrum[:2] = 0
    peak = int(np.argmax(spectrum))
    if 0 < peak < len(spectrum) - 1 and spectrum[peak - 1] > 0 and spectrum[peak + 1] > 0:
        left, middle, right = np.log(spectrum[peak - 1 : peak + 2])
        peak_at = peak + 0.5 * (left - right) / (left - 2 * middle + right)
    else:
        peak_at = float(peak)
    return float(peak_at * rate_hz / len(samples))


def tone_hz(samples: Samples, rate_hz: int) -> float:
    """Frequency of the strongest tone, to better than 0.1 Hz in half a second of a clean one.

    Raises:
        ValueError: silence.
    """
    return fit_sine(samples, rate_hz).hz


@dataclass(frozen=True, slots=True)
class Sinad:
    """SINAD over many windows.

    Attributes:
        median_db: half of the windows are better.
        p10_db: one window in ten is worse: what a short disturbance does shows here.
    """

    median_db: float
    p10_db: float


def sinad(samples: Samples, rate_hz: int, hz: float, *, window_s: float = 0.2) -> Sinad:
    """Signal to noise and distortion of a tone, window by window.

    Each window gets a sine of its own, so that a slow drift of clocks is no distortion; a gap, a click, noise or a jump
    of phase within a window is.

    Raises:
        ValueError: less than one window.
    """
    size = round(window_s * rate_hz)
    if len(samples) < size:
        raise ValueError("shorter than one window")
    found: list[float] = []
    for start in range(0, len(samples) - size + 1, size):
        window = samples[start : start + size]
        found.append(fit_sine(window, rate_hz, near_hz=hz).sinad_db if np.any(window) else -100.0)
    return Sinad(float(np.median(found)), float(np.percentile(found, 10)))


def find_offset(needle: Samples, haystack: Samples) -> tuple[int, float]:
    """Where a piece of sound begins in a recording, and how alike the two are there.

    Returns:
        The sample of *haystack* at which *needle* begins, and the correlation coefficient (0 to 1).

    Raises:
        ValueError: the recording is shorter than the piece.
    """
    if len(haystack) < len(needle) or not len(needle):
        raise ValueError("the recording is shorter than what is looked for")
    products = dsp.correlate(haystack, needle, mode="valid", method="fft")
    energy = np.concatenate(([0.0], np.cumsum(haystack**2)))
    window = energy[len(needle) :] - energy[: -len(needle)]
    scale = np.sqrt(np.maximum(window, 1e-9) * max(float(np.sum(needle**2)), 1e-9))
    likeness = products / scale
    best = int(np.argmax(likeness))
    return best, float(likeness[best])


def _moving_dbfs(samples: Samples, window: int, hop: int) -> Samples:
    energy = np.concatenate(([0.0], np.cumsum(samples**2)))
    starts = np.arange(0, len(samples) - window + 1, hop)
    power = (energy[starts + window] - energy[starts]) / window
    return np.asarray(10 * np.log10(np.maximum(2 * power, 1e-12)), dtype=np.float64)


def longest_gap_ms(
    reference: Samples,
    heard: Samples,
    rate_hz: int,
    *,
    segment_s: float = 0.4,
    search_s: float = 0.3,
) -> float:
    """The longest stretch of the reference that was not heard.

    The two are aligned segment by segment (cross-correlation), so that a change of delay in between does no harm.
    Missing is where the reference speaks (above -40 dB of its loudest 10 ms) and 10 ms of what was heard are 25 dB
    below it; what was cut out, seen as a step of the delay towards less; and the silence that came in at a step towards
    more.

    Args:
        reference: what was sent.
        heard: a recording that holds it, and may be longer.
        rate_hz: of both.
        segment_s: length of a segment.
        search_s: how far the delay may move from one segment to the next.

    Raises:
        ValueError: the recording is shorter than the reference.
    """
    start, _ = find_offset(reference, heard) if len(heard) >= len(reference) else _refuse()
    size, reach = round(segment_s * rate_hz), round(search_s * rate_hz)
    window, hop = rate_hz // 100, max(1, rate_hz // 1000)
    loudest = float(_moving_dbfs(reference, window, hop).max())
    missing: list[npt.NDArray[np.bool_]] = []
    stepped_ms = 0.0
    lag = start
    for first in range(0, len(reference) - window, size):
        piece = reference[first : first + size + window]
        lag, moved = _local_lag(piece, heard, first + lag, reach, first)
        if first and moved < 0:
            stepped_ms = max(stepped_ms, -1000 * moved / rate_hz)
        if first and moved > 0:
            around = slice(max(0, first - size // 2), first + size // 2)
            later = slice(around.start + lag - moved, around.stop + lag)
            before, after = (
                int(np.sum(_moving_dbfs(part, window, hop) < loudest - 40))
                for part in (reference[around], heard[later])
            )
            gained = min(moved, (after - before) * hop + window) if after > before else 0
            stepped_ms = max(stepped_ms, 1000 * gained / rate_hz)
        at = first + lag
        there = np.zeros(len(piece))
        part = heard[max(0, at) : max(0, at + len(piece))]
        offset = max(0, -at)
        there[offset : offset + len(part)] = part[: len(piece) - offset]
        sent_db, heard_db = _moving_dbfs(piece, window, hop), _moving_dbfs(there, window, hop)
        missing.append(((sent_db > loudest - 40) & (heard_db < np.maximum(sent_db - 25, loudest - 65)))[: size // hop])
    run = _longest_run(np.concatenate(missing)) if missing else 0
    silent_ms = (run * hop + window) * 1000 / rate_hz if run else 0.0
    return float(max(silent_ms, stepped_ms))


def _refuse() -> tuple[int, float]:
    raise ValueError("the recording is shorter than the reference")


def _local_lag(piece: Samples, heard: Samples, at: int, reach: int, first: int) -> tuple[int, int]:
    """The lag of one segment and its step from the last one; an unclear segment keeps the last one's."""
    begin = max(0, at - reach)
    around = heard[begin : at + len(piece) + reach]
    if len(around) < len(piece) or not np.any(piece):
        return at - first, 0
    here = at - begin
    found, likeness = find_offset(piece, around)
    unmoved = _likeness(piece, around[here : here + len(piece)])
    # Speech is periodic: a better place elsewhere counts only when the old one is plainly wrong.
    if likeness < 0.6 or unmoved > 0.8 * likeness:
        return at - first, 0
    return begin + found - first, found - here


def _likeness(one: Samples, other: Samples) -> float:
    if len(one) != len(other):
        return 0.0
    scale = float(np.sqrt(np.sum(one**2) * np.sum(other**2)))
    return float(np.dot(one, other)) / scale if scale > 0 else 0.0


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def onsets(samples: Samples, rate_hz: int, *, threshold_dbfs: float = -30, quiet_s: float = 0.1) -> list[int]:
    """The first sample of each sound that begins after at least *quiet_s* of quiet."""
    loud = np.flatnonzero(np.abs(samples) > 10 ** (threshold_dbfs / 20))
    if not len(loud):
        return []
    apart = np.diff(loud, prepend=loud[0] - 10 * rate_hz)
    return [int(at) for at in loud[apart > quiet_s * rate_hz]]


def match_latencies(
    emitted_s: Sequence[float],
    observed_s: Sequence[float],
    *,
    at_most_s: float = 1.0,
    spread_s: float = 0.1,
) -> list[float]:
    """Pair sounds that were emitted with when they were observed, and give each pair's delay.

    The spacing of what was emitted is irregular: only near the true delay do many pairs agree. An observation without
    a partner, or an emission that was never observed, is left out: compare the number of pairs with that of emissions.

    Args:
        emitted_s: instants, seconds on the clock of *observed_s*.
        observed_s: instants.
        at_most_s: the longest delay that is looked for.
        spread_s: how far one delay may be from the common one.

    Returns:
        Delays in seconds, in the order of *emitted_s*.
    """
    emitted, observed = np.asarray(emitted_s, dtype=float), np.sort(np.asarray(observed_s, dtype=float))
    if not len(emitted) or not len(observed):
        return []
    delays = (observed[None, :] - emitted[:, None]).ravel()
    delays = np.sort(delays[(delays > -spread_s) & (delays <= at_most_s)])
    if not len(delays):
        return []
    # The window of the given width that holds the most delays.
    counts = np.searchsorted(delays, delays + spread_s, side="right") - np.arange(len(delays))
    best = int(np.argmax(counts))
    common = float(np.median(delays[best : best + counts[best]]))
    found: list[float] = []
    for instant in emitted:
        nearest = float(observed[np.argmin(np.abs(observed - (instant + common)))])
        if abs(nearest - instant - common) <= spread_s:
            found.append(nearest - float(instant))
    return found
