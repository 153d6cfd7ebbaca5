"""Lost sound made good: level, continuity, the end of it; comfort noise."""

from __future__ import annotations

import itertools
import math
from array import array

import numpy as np
import pytest

from gateway.codecs.conceal import ComfortNoise, Concealer
from tests.support.audio import Samples

pytestmark = pytest.mark.unit

RATES = [8000, 16000]


def voice(rate_hz: int, seconds: float, pitch_hz: float = 120) -> Samples:
    """Harmonics of a voice, falling off as a voice's do."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(
        np.sum([(3000 / k) * np.sin(2 * np.pi * pitch_hz * k * at + k) for k in range(1, 12)], axis=0), dtype=np.float64
    )


def raw(samples: Samples) -> bytes:
    return array("h", [round(float(x)) for x in samples]).tobytes()


def cooked(sound: bytes) -> Samples:
    return np.frombuffer(sound, dtype=np.int16).astype(float)


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("pitch_hz", [80, 120, 211, 330])
def test_the_voice_goes_on_at_its_level_and_without_a_step(rate_hz: int, pitch_hz: float) -> None:
    sound, frame = voice(rate_hz, 0.4, pitch_hz), rate_hz // 50
    concealer = Concealer(rate_hz)
    before = 10 * frame
    for n in range(10):
        assert concealer.came(raw(sound[n * frame : (n + 1) * frame])) == raw(sound[n * frame : (n + 1) * frame])
    made = cooked(concealer.conceal(frame))
    after = cooked(concealer.came(raw(sound[before + frame : before + 2 * frame])))
    whole = np.concatenate([sound[:before], made, after])
    assert 20 * math.log10(rms(made[: frame // 2]) / rms(sound)) == pytest.approx(0, abs=1.5)
    assert np.abs(np.diff(whole[before - frame :])).max() < 1.4 * np.abs(np.diff(sound)).max()
    truth = sound[before : before + frame]
    assert rms(made - truth) < 0.75 * rms(truth)  # silence would have 1.0


@pytest.mark.parametrize("rate_hz", RATES)
def test_it_fades_from_20_to_120_ms_and_is_silent_then(rate_hz: int) -> None:
    concealer = Concealer(rate_hz)
    concealer.came(raw(voice(rate_hz, 0.2)))
    made = np.concatenate([cooked(concealer.conceal(rate_hz // 50)) for _ in range(8)])
    levels = [rms(part) for part in np.split(made, 8)]
    assert all(later < earlier * 1.05 for earlier, later in itertools.pairwise(levels[:6]))
    assert levels[2] > 0.5 * levels[0]
    assert levels[5] > 0
    assert levels[6] == levels[7] == 0


@pytest.mark.parametrize("sizes", [(80, 80), (160,), (37, 123), (240,), (1, 159)])
def test_how_a_loss_is_cut_into_calls_does_not_matter(sizes: tuple[int, ...]) -> None:
    one, other = Concealer(8000), Concealer(8000)
    for concealer in (one, other):
        concealer.came(raw(voice(8000, 0.2)))
    total = sum(sizes)
    assert b"".join(one.conceal(size) for size in sizes) == other.conceal(total)


def test_sound_that_comes_back_is_faded_in_and_soon_untouched() -> None:
    concealer = Concealer(8000)
    sound = raw(voice(8000, 0.1))
    concealer.came(sound)
    concealer.conceal(160)
    back = concealer.came(sound)
    assert back != sound
    assert back[2 * 80 :] == sound[2 * 80 :]  # 10 ms
    assert concealer.came(sound) == sound


def test_of_silence_comes_silence() -> None:
    concealer = Concealer(8000)
    assert not cooked(concealer.conceal(400)).any()
    concealer.came(bytes(320))
    assert not cooked(concealer.conceal(160)).any()


@pytest.mark.parametrize("level_db", [20, 45, 70])
def test_comfort_noise_has_the_level_that_was_asked_for_and_is_white(level_db: int) -> None:
    noise = ComfortNoise(8000)
    sound = cooked(b"".join(noise.samples(160, level_db) for _ in range(49)))
    assert 20 * math.log10(rms(sound) / 32768) == pytest.approx(-level_db, abs=0.5)
    power = np.abs(np.fft.rfft(sound)) ** 2
    low, high = np.mean(power[: len(power) // 2]), np.mean(power[len(power) // 2 :])
    assert 10 * math.log10(low / high) == pytest.approx(0, abs=1)
