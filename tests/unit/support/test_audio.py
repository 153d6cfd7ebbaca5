"""Every measure against sound that was damaged on purpose: a measure that cannot fail measures nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import audio
from tests.support.audio import (
    Samples,
    find_offset,
    fit_sine,
    level_dbfs,
    longest_gap_ms,
    match_latencies,
    onsets,
    parse_wav,
    resample,
    silence,
    sinad,
    sine,
    tone_hz,
    wav_bytes,
)
from tests.support.audio_g711 import decode_g711

pytestmark = pytest.mark.unit

RATE_HZ = 8000


def talk(seconds: float = 6, seed: int = 5) -> Samples:
    """Sound with the rhythm of speech: voiced syllables of changing pitch, pauses between."""
    random = np.random.default_rng(seed)
    parts: list[Samples] = []
    length = 0
    while length < seconds * RATE_HZ:
        size = int(random.integers(900, 2400))
        pitch = random.uniform(90, 220) * (1 + 0.1 * np.linspace(0, random.uniform(-1, 1), size))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
        voice = sum(np.sin(k * phase + k * k) / k for k in range(1, 14))
        parts.append(0.1 * np.hanning(size) ** 0.3 * voice)
        parts.append(np.zeros(int(random.integers(100, 900))))
        length += len(parts[-1]) + len(parts[-2])
    return np.concatenate(parts)[: int(seconds * RATE_HZ)]


def mulaw(samples: Samples) -> Samples:
    """Through PCMU and back."""
    table = decode_g711(bytes(range(256)), 0)
    order = np.argsort(table)
    edges = (table[order][1:] + table[order][:-1]) / 2
    return np.asarray(table[order][np.searchsorted(edges, samples)], dtype=np.float64)


@pytest.mark.parametrize("hz", [120.0, 437.3, 1013.0, 3001.7])
def test_a_tone_is_found_within_a_tenth_of_a_hertz_even_through_pcmu(hz: float) -> None:
    assert tone_hz(mulaw(sine(hz, -12, 0.5, RATE_HZ)), RATE_HZ) == pytest.approx(hz, abs=0.1)


def test_a_tone_that_is_one_hertz_off_is_seen() -> None:
    assert abs(tone_hz(sine(441.0, -12, 1, RATE_HZ), RATE_HZ) - 440.0) > 0.9


def test_the_other_sides_tone_does_not_hide_the_louder_one() -> None:
    both = sine(437.0, -12, 1, RATE_HZ) + sine(1013.0, -30, 1, RATE_HZ)
    assert tone_hz(both, RATE_HZ) == pytest.approx(437.0, abs=0.1)
    assert sinad(both, RATE_HZ, 437.0).median_db == pytest.approx(18, abs=0.5)


@pytest.mark.parametrize("dbfs", [-3.0, -12.0, -40.0])
def test_level_of_a_sine_is_its_amplitude(dbfs: float) -> None:
    assert level_dbfs(sine(500, dbfs, 1, RATE_HZ)) == pytest.approx(dbfs, abs=0.01)
    assert fit_sine(sine(500.3, dbfs, 1, RATE_HZ), RATE_HZ).dbfs == pytest.approx(dbfs, abs=0.01)


def test_level_of_nothing() -> None:
    assert level_dbfs(silence(1, RATE_HZ)) == audio.SILENCE_DBFS
    with pytest.raises(ValueError, match="silence"):
        tone_hz(silence(1, RATE_HZ), RATE_HZ)


def test_sinad_of_pcmu_is_what_the_codec_can_do() -> None:
    assert 35 < sinad(mulaw(sine(437, -12, 3, RATE_HZ)), RATE_HZ, 437).median_db < 40


@pytest.mark.parametrize("snr_db", [10, 25, 40])
def test_sinad_is_the_noise_that_was_added(snr_db: float) -> None:
    tone = sine(437, -12, 3, RATE_HZ)
    noise = np.random.default_rng(1).normal(0, 1, len(tone)) * np.sqrt(np.mean(tone**2)) * 10 ** (-snr_db / 20)
    assert sinad(tone + noise, RATE_HZ, 437).median_db == pytest.approx(snr_db, abs=0.7)


def test_clipping_lowers_sinad() -> None:
    assert sinad(np.clip(sine(437, 0, 2, RATE_HZ), -0.7, 0.7), RATE_HZ, 437).median_db < 20


def test_one_short_gap_shows_in_the_worst_tenth_only() -> None:
    tone = mulaw(sine(437, -12, 1, RATE_HZ))
    tone[4000:4240] = 0
    measured = sinad(tone, RATE_HZ, 437)
    assert measured.median_db > 35
    assert measured.p10_db < 30


def test_a_drift_of_the_clock_is_no_distortion() -> None:
    drifted = mulaw(sine(437 * 1.0001, -12, 3, RATE_HZ))
    assert sinad(drifted, RATE_HZ, 437).median_db > 35


def test_sinad_of_silence_fails() -> None:
    assert sinad(silence(1, RATE_HZ), RATE_HZ, 437).median_db == -100


def test_offset_of_a_piece_is_found() -> None:
    speech = talk()
    recording = np.concatenate([silence(0.7, RATE_HZ), 0.5 * speech, silence(1, RATE_HZ)])
    at, likeness = find_offset(speech, recording)
    assert at == round(0.7 * RATE_HZ)
    assert likeness == pytest.approx(1, abs=0.01)
    assert find_offset(talk(seed=9), recording)[1] < 0.5


def test_no_gap_in_what_came_whole() -> None:
    speech = talk()
    recording = np.concatenate([silence(0.4, RATE_HZ), mulaw(speech), silence(0.4, RATE_HZ)])
    assert longest_gap_ms(speech, recording, RATE_HZ) == 0


def loud_place(speech: Samples, length: int, near: int) -> int:
    """The start of *length* loud samples."""
    power = np.convolve(speech**2, np.ones(length + 800), "same")
    return near - 4000 + int(np.argmax(power[near - 4000 : near + 4000])) - length // 2


@pytest.mark.parametrize("ms", [20, 60, 100, 250])
@pytest.mark.parametrize("near", [12_000, 30_000])
def test_speech_that_was_silenced_is_a_gap_of_that_length(ms: int, near: int) -> None:
    speech, length = talk(), ms * RATE_HZ // 1000
    heard = np.concatenate([silence(0.5, RATE_HZ), speech, silence(0.5, RATE_HZ)])
    at = RATE_HZ // 2 + loud_place(speech, length, near)
    heard[at : at + length] = 0
    # Where a pause of the speech falls into a long gap, the gap is counted in two parts.
    lowest = 0.9 * ms if ms <= 100 else 100
    assert lowest <= longest_gap_ms(speech, heard, RATE_HZ) <= ms + 25


@pytest.mark.parametrize("ms", [40, 100])
def test_speech_that_was_cut_out_is_a_gap_of_that_length(ms: int) -> None:
    speech, length = talk(), ms * RATE_HZ // 1000
    at = loud_place(speech, length, 30_000)
    heard = np.concatenate([silence(0.5, RATE_HZ), speech[:at], speech[at + length :], silence(0.5, RATE_HZ)])
    assert longest_gap_ms(speech, heard, RATE_HZ) == pytest.approx(ms, abs=8)


@pytest.mark.parametrize("ms", [40, 100])
def test_silence_that_came_in_is_a_gap_of_that_length(ms: int) -> None:
    speech, length = talk(), ms * RATE_HZ // 1000
    at = loud_place(speech, length, 30_000)
    heard = np.concatenate([silence(0.5, RATE_HZ), speech[:at], np.zeros(length), speech[at:], silence(0.5, RATE_HZ)])
    assert longest_gap_ms(speech, heard, RATE_HZ) == pytest.approx(ms, abs=12)


def test_speech_that_never_came_is_one_long_gap() -> None:
    speech = talk()
    noise = np.random.default_rng(2).normal(0, 1e-4, len(speech) + RATE_HZ)
    assert longest_gap_ms(speech, noise, RATE_HZ) > 100


def test_onsets_are_exact() -> None:
    starts = (0.5, 0.8, 1.33)
    samples = silence(2, RATE_HZ)
    for start_s in starts:
        first = round(start_s * RATE_HZ)
        burst = sine(1000, -6, 0.06, RATE_HZ)
        samples[first : first + len(burst)] = burst
    found = onsets(samples, RATE_HZ)
    assert [at / RATE_HZ for at in found] == pytest.approx(starts, abs=0.0003)


def test_latencies_are_matched_though_some_bursts_are_lost_and_others_come_in() -> None:
    random = np.random.default_rng(3)
    emitted = np.cumsum(random.uniform(0.24, 0.48, 24)) + 1_700_000_000
    delays = random.uniform(0.04, 0.06, 24)
    observed = [*(emitted + delays)[np.arange(24) % 7 != 3], emitted[0] - 3, emitted[5] + 0.2]
    found = match_latencies(list(emitted), observed)
    assert len(found) == 21
    assert found == pytest.approx(list(delays[np.arange(24) % 7 != 3]), abs=1e-5)


def test_a_delay_longer_than_the_spacing_is_not_mistaken_for_a_short_one() -> None:
    random = np.random.default_rng(4)
    emitted = np.cumsum(random.uniform(0.24, 0.48, 24))
    found = match_latencies(list(emitted), list(emitted + 0.7))
    assert found == pytest.approx([0.7] * 24)


def test_nothing_observed_matches_nothing() -> None:
    assert match_latencies([1.0, 2.0], []) == []
    assert match_latencies([1.0, 2.0], [50.0]) == []


def test_wav_there_and_back() -> None:
    tone = sine(437, -12, 0.1, RATE_HZ)
    again, rate_hz = parse_wav(wav_bytes(tone, RATE_HZ))
    assert rate_hz == RATE_HZ
    assert again == pytest.approx(tone, abs=1 / 32767)


def test_resampling_keeps_the_tone() -> None:
    tone = resample(sine(437, -12, 1, 48_000), 48_000, RATE_HZ)
    assert len(tone) == RATE_HZ
    assert fit_sine(tone[400:-400], RATE_HZ).hz == pytest.approx(437, abs=0.1)
    assert fit_sine(tone[400:-400], RATE_HZ).dbfs == pytest.approx(-12, abs=0.1)


# ITU-T G.711, tables 1 and 2: the ends of both scales, the smallest steps, and one value between.
G711_PCMU = {0x80: 32124, 0x00: -32124, 0xFF: 0, 0x7F: 0, 0xFE: 8, 0xAA: 5372}
G711_PCMA = {0xAA: 32256, 0x2A: -32256, 0xD5: 8, 0x55: -8, 0x80: 5504}


@pytest.mark.parametrize(
    ("payload_type", "code", "value"),
    [
        *((0, code, value) for code, value in G711_PCMU.items()),
        *((8, code, value) for code, value in G711_PCMA.items()),
    ],
)
def test_g711_codes(payload_type: int, code: int, value: int) -> None:
    assert decode_g711(bytes([code]), payload_type)[0] * 32767 == pytest.approx(value)


def test_other_payloads_are_refused() -> None:
    with pytest.raises(ValueError, match="101"):
        decode_g711(b"\x00", 101)
