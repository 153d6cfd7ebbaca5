"""Keys heard in G.711: all that ITU-T Q.24 says must be heard, and nothing in speech."""

from __future__ import annotations

import time
from array import array

import numpy as np
import numpy.typing as npt
import pytest

from gateway.codecs import g711
from gateway.codecs.dtmf import DtmfDetector, Heard
from gateway.protocol.dtmf import DIGITS, frequencies
from tests.support.audio import speech

pytestmark = pytest.mark.unit

Samples = npt.NDArray[np.float64]
RATE_HZ = 8000
TEXT = (
    "The quick brown fox jumps over the lazy dog while she sells sea shells by the sea shore. My number is one two "
    "three four five six seven eight nine zero, and nobody knows why he wants to whistle in the yellow moonlight."
)


def encoded(samples: Samples, codec: str = "PCMU") -> bytes:
    return g711.encode(codec, array("h", np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16).tolist()))


def key(
    rng: np.random.Generator, digit: str, ms: float, *, dbfs: float = -20, twist_db: float = 0, off: float = 0
) -> Samples:
    """A key whose high group is stronger by *twist_db*; the stronger of the two has *dbfs*."""
    n = np.arange(round(ms * RATE_HZ / 1000))
    levels = (dbfs - max(0, twist_db), dbfs + min(0, twist_db))
    parts = np.array(
        [
            10 ** (level / 20) * np.sin(2 * np.pi * hz * (1 + off) * n / RATE_HZ + rng.uniform(0, 2 * np.pi))
            for level, hz in zip(levels, frequencies(digit), strict=True)
        ]
    )
    return np.asarray(parts.sum(axis=0), dtype=np.float64)


def keys(rng: np.random.Generator, digits: str, ms: float, *, pause_ms: float = 50, **how: float) -> Samples:
    """Keys with pauses that do not fit packets."""
    parts = [np.zeros(int(rng.integers(0, 160)))]
    for digit in digits:
        parts += [np.zeros(round(pause_ms * 8) + int(rng.integers(0, 100))), key(rng, digit, ms, **how)]
    return np.concatenate([*parts, np.zeros(RATE_HZ // 5)])


def listen(payload: bytes, codec: str = "PCMU", packet: int = 160) -> list[Heard]:
    detector = DtmfDetector()
    heard: list[Heard] = []
    for start in range(0, len(payload), packet):
        heard += detector.feed(codec, payload[start : start + packet])
    return heard


def digits_of(heard: list[Heard]) -> str:
    began = "".join(one.digit for one in heard if one.samples is None)
    assert began == "".join(one.digit for one in heard if one.samples is not None)
    return began


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("ms", [50, 60, 100, 500])
def test_every_key_is_heard_once_with_its_length(codec: str, ms: int) -> None:
    samples = keys(np.random.default_rng(ms), DIGITS, ms)
    heard = listen(encoded(samples, codec), codec)
    assert digits_of(heard) == DIGITS
    assert all(abs(one.samples / 8 - ms) <= 20 for one in heard if one.samples is not None)


@pytest.mark.parametrize("twist_db", [-8, -4, 0, 4, 5])
@pytest.mark.parametrize("off", [-0.018, -0.015, 0.0, 0.015, 0.018])
def test_twist_frequency_and_noise_of_q24(twist_db: float, off: float) -> None:
    rng = np.random.default_rng(round(twist_db * 100 + off * 10_000 + 5000))
    for snr_db in (None, 20, 15):
        samples = keys(rng, DIGITS, 50, dbfs=-20, twist_db=twist_db, off=off)
        if snr_db is not None:  # below the stronger tone
            samples += rng.normal(size=len(samples)) * 10 ** ((-20 - snr_db) / 20) / np.sqrt(2)
        assert digits_of(listen(encoded(samples))) == DIGITS, (twist_db, off, snr_db)


@pytest.mark.parametrize("dbfs", [-3.5, -10, -30, -34])
def test_levels_from_loud_to_faint(dbfs: float) -> None:
    assert digits_of(listen(encoded(keys(np.random.default_rng(3), DIGITS, 50, dbfs=dbfs)))) == DIGITS


@pytest.mark.parametrize("packet", [80, 240, 480, 100, 33])
def test_the_length_of_packets_does_not_matter(packet: int) -> None:
    assert digits_of(listen(encoded(keys(np.random.default_rng(4), DIGITS, 60)), packet=packet)) == DIGITS


def test_the_same_key_again_after_a_short_pause_is_two() -> None:
    samples = keys(np.random.default_rng(5), "55550000", 50, pause_ms=45)
    assert digits_of(listen(encoded(samples))) == "55550000"


def test_one_key_after_the_other_without_a_pause() -> None:
    rng = np.random.default_rng(6)
    samples = np.concatenate([key(rng, "1", 200), key(rng, "9", 200), np.zeros(1600)])
    assert digits_of(listen(encoded(samples))) == "19"


def test_a_hole_of_10_ms_does_not_make_two_of_one_key() -> None:
    rng = np.random.default_rng(7)
    samples = np.concatenate([np.zeros(400), key(rng, "6", 400), np.zeros(1600)])
    samples[2000:2080] = 0
    assert digits_of(listen(encoded(samples))) == "6"


@pytest.mark.parametrize("off", [-0.035, -0.03, 0.03, 0.035])
def test_frequencies_that_q24_excludes(off: float) -> None:
    assert listen(encoded(keys(np.random.default_rng(8), DIGITS, 100, off=off))) == []


def test_too_short_too_faint_too_uneven_and_single_tones_are_no_keys() -> None:
    rng = np.random.default_rng(9)
    assert listen(encoded(keys(rng, DIGITS, 15))) == []
    assert listen(encoded(keys(rng, DIGITS, 100, dbfs=-45))) == []
    assert listen(encoded(keys(rng, DIGITS, 100, twist_db=12))) == []
    assert listen(encoded(keys(rng, DIGITS, 100, twist_db=-14))) == []
    n = np.arange(RATE_HZ)
    for hz in (350, 425, 440, 697, 941, 1209, 1633, 2600):
        assert listen(encoded(0.2 * np.sin(2 * np.pi * hz * n / RATE_HZ))) == []


def test_a_key_under_speech_as_loud_is_none() -> None:
    rng = np.random.default_rng(10)
    talk = speech(TEXT, RATE_HZ, seconds=3, peak_dbfs=-3)
    talk[:800] += key(rng, "5", 100, dbfs=-40)
    assert listen(encoded(talk)) == []


@pytest.mark.parametrize("voice", ["en", "en+f3", "pt-br", "pt-br+f2", "de+m4", "fr", "es+f5", "en+croak"])
def test_no_key_in_a_minute_of_speech(voice: str) -> None:
    for peak_dbfs in (-1, -14):
        talk = speech(TEXT, RATE_HZ, seconds=60, peak_dbfs=peak_dbfs, voice=voice)
        assert listen(encoded(talk)) == []
        if voice != "en":
            break


def test_no_key_in_noise_of_any_loudness() -> None:
    rng = np.random.default_rng(11)
    for dbfs in (-50, -30, -10):
        assert listen(encoded(rng.normal(size=RATE_HZ * 10) * 10 ** (dbfs / 20))) == []


@pytest.mark.parametrize("halves", [(34, 43), (37, 45), (32, 47), (34, 47)])
def test_two_notes_of_an_instrument_are_no_key(halves: tuple[int, int]) -> None:
    """Some lie within what Q.24 allows; an instrument has overtones, a key has not."""
    n = np.arange(RATE_HZ // 4)
    pitches = [110 * 2 ** (half / 12) for half in halves]
    parts = [0.1 * (np.sin(2 * np.pi * f * n / RATE_HZ) + 0.4 * np.sin(4 * np.pi * f * n / RATE_HZ)) for f in pitches]
    notes = np.exp(-3 * n / RATE_HZ) * np.sum(parts, axis=0)
    for start in (0, 40, 100):
        assert not listen(encoded(np.concatenate([np.zeros(800 + start), notes, np.zeros(800)])))


def test_a_second_of_speech_costs_a_millisecond_or_so() -> None:
    payload = encoded(speech(TEXT, RATE_HZ, seconds=20, peak_dbfs=-6))
    costs = []
    for _ in range(3):
        start = time.process_time()
        listen(payload)
        costs.append((time.process_time() - start) * 1000 / 20)
    # Measured at 0.3 to 1.0 ms; a slow or busy machine gets room, one that does the full work for each packet fails.
    assert min(costs) < 3
