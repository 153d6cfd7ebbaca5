"""G.711 by the values of the recommendation, levels and tones."""

from __future__ import annotations

import math
from array import array

import pytest

from gateway.codecs import g711
from gateway.codecs.levels import FLOOR_DBFS, from_dbfs, peak_dbfs, rms_dbfs, to_dbfs
from gateway.codecs.tones import tone

pytestmark = pytest.mark.unit

# Decision values and codes of ITU-T G.711, tables 1a to 2b, scaled to 16 bits (x4 for u-law, x8 for A-law).
ULAW = {0x80: 32124, 0x8F: 16764, 0x9F: 8316, 0xAF: 4092, 0xBF: 1980, 0xCF: 924, 0xDF: 396, 0xEF: 132, 0xFE: 8, 0xFF: 0}
ALAW = {0xAA: 32256, 0xA5: 16896, 0xB5: 8448, 0x85: 4224, 0x95: 2112, 0xE5: 1056, 0xF5: 528, 0xD4: 24, 0xD5: 8}


@pytest.mark.parametrize(("levels", "vectors"), [(g711.ULAW_LEVELS, ULAW), (g711.ALAW_LEVELS, ALAW)])
def test_codes_mean_what_the_recommendation_says(levels: tuple[int, ...], vectors: dict[int, int]) -> None:
    for code, level in vectors.items():
        assert levels[code] == level
        assert levels[code ^ 0x80] == -level


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_each_level_is_encoded_by_its_own_code(codec: str) -> None:
    every = bytes(range(256))
    again = g711.encode(codec, g711.decode(codec, every))
    different = [code for code, back in zip(every, again, strict=True) if code != back]
    assert different == ([0x7F] if codec == "PCMU" else [])  # u-law has two codes of zero


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_every_sample_is_within_half_a_step_of_its_code(codec: str) -> None:
    samples = array("h", range(-32768, 32768))
    decoded = g711.decode(codec, g711.encode(codec, samples))
    for sample, level in zip(samples, decoded, strict=True):
        # Half a step is 1/32 of the magnitude or, near zero, 8; before it, up to 7 are cut off.
        assert abs(sample - level) <= 15 + abs(sample) / 32, sample
    assert list(decoded) == sorted(decoded)


@pytest.mark.parametrize(("source", "target"), [("PCMU", "PCMA"), ("PCMA", "PCMU")])
def test_conversion_by_table_is_decoding_and_encoding(source: str, target: str) -> None:
    table = g711.translation(source, target)
    assert table is not None
    every = bytes(range(256))
    assert every.translate(table) == g711.encode(target, g711.decode(source, every))


def test_nothing_is_converted_into_itself() -> None:
    assert g711.translation("PCMU", "PCMU") is None
    with pytest.raises(KeyError):
        g711.translation("opus", "PCMU")


def test_silence_is_the_code_nearest_to_zero() -> None:
    for codec, code in g711.SILENCE.items():
        assert abs(g711.decode(codec, bytes((code,)))[0]) <= 8


def test_levels_are_those_of_a_sine() -> None:
    full = array("h", [32767, 0, -32768, 0] * 100)  # a sine at a quarter of the rate
    assert rms_dbfs(full) == pytest.approx(0, abs=0.001)
    assert peak_dbfs(full) == pytest.approx(0, abs=0.001)
    assert peak_dbfs(array("h", [0, -3277])) == pytest.approx(-20, abs=0.01)
    assert rms_dbfs(array("h")) == peak_dbfs(array("h")) == rms_dbfs(array("h", [0, 0])) == FLOOR_DBFS
    assert to_dbfs(from_dbfs(-33.0)) == pytest.approx(-33)
    assert to_dbfs(1e-9) == FLOOR_DBFS


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
@pytest.mark.parametrize("level_dbfs", [-3.0, -20.0, -40.0])
def test_a_tone_keeps_its_level_through_the_codec(codec: str, level_dbfs: float) -> None:
    samples = tone([440], level_dbfs, 8000)
    assert rms_dbfs(samples) == pytest.approx(level_dbfs, abs=0.02)
    assert rms_dbfs(g711.decode(codec, g711.encode(codec, samples))) == pytest.approx(level_dbfs, abs=0.1)


def test_a_tone_goes_on_in_the_next_piece() -> None:
    whole = tone([697, 1209], -10, 320)
    assert tone([697, 1209], -10, 160) + tone([697, 1209], -10, 160, start=160) == whole
    assert tone([1000], -6, 12, sample_rate_hz=48000)[12 - 1] == round(
        from_dbfs(-6) * math.sin(2 * math.pi * 1000 / 48000 * 11)
    )


def test_a_tone_that_is_too_loud_is_cut() -> None:
    assert max(tone([440, 450], 0, 4000)) == 32767
