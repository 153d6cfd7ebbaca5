"""media.wasm and its Python twin against one set of vectors, and against what the page needs of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tests.unit.wasm import vectors
from tests.unit.wasm.implementations import Implementation, Wasm
from wasm_server.build import Sources, read_abi
from wasm_server.media import twin

pytestmark = pytest.mark.unit

Make = Callable[[float], Implementation]

QUANTUM: Final = (128,)
RAGGED: Final = (128, 1, 77, 1024, 3)
SINGLE: Final = 2e-6  # rounding of single precision, some operations deep


def sinad_db(signal: vectors.Signal, reference: vectors.Signal) -> float:
    """Signal over everything in *signal* that is not *reference*, with the best gain."""
    gain = float(signal @ reference / (reference @ reference))
    error = signal - gain * reference
    return 10 * math.log10(gain**2 * float(reference @ reference) / max(float(error @ error), 1e-30))


# --- limiter


@pytest.mark.parametrize("blocks", [QUANTUM, RAGGED], ids=["quanta", "ragged"])
@pytest.mark.parametrize("vector", vectors.limiter_vectors(), ids=lambda vector: vector.name)
def test_limiter_follows_the_vectors(make: Make, vector: vectors.Vector, blocks: tuple[int, ...]) -> None:
    limited = make(vector.rate_hz).limit(vector.signal.tolist(), blocks)
    # The gain accumulates over the release in single precision.
    assert np.max(np.abs(np.array(limited) - vector.expected)) < 2e-5


@pytest.mark.parametrize("rate_hz", vectors.RATES_HZ)
def test_limiter_is_a_pure_delay_below_the_ceiling(make: Make, rate_hz: int) -> None:
    media = make(rate_hz)
    signal = vectors.sine(rate_hz, 997, -1.2, 0.1)
    limited = np.array(media.limit(signal.tolist(), QUANTUM))
    delay = media.limit_delay()
    assert delay <= 0.001 * rate_hz
    assert np.array_equal(limited[delay:], signal[: len(signal) - delay])
    assert sinad_db(limited[delay:], signal[: len(signal) - delay]) > 80


@pytest.mark.parametrize("rate_hz", vectors.RATES_HZ)
@pytest.mark.parametrize("dbfs", [0.0, 6.0, 20.0])
def test_limiter_never_exceeds_its_ceiling(make: Make, rate_hz: int, dbfs: float) -> None:
    signal = vectors.noise(rate_hz, dbfs, 0.1, seed=7)
    limited = np.array(make(rate_hz).limit(signal.tolist(), RAGGED))
    assert np.max(np.abs(limited)) <= vectors.CEILING + SINGLE


def test_limiter_keeps_a_loud_tone_clean(make: Make) -> None:
    """It turns the level down instead of cutting the tops off; cutting gives 16 dB here."""
    signal = vectors.sine(48000, 1000, 6, 0.4)
    media = make(48000)
    limited = np.array(media.limit(signal.tolist(), QUANTUM))
    delay = media.limit_delay()
    assert sinad_db(limited[-9600:], signal[-9600 - delay : -delay]) > 40


def test_limiter_comes_back_to_unity_after_a_peak(make: Make) -> None:
    quiet = vectors.sine(16000, 500, -20, 1.5)
    media = make(16000)
    media.limit([2.0] * 16, QUANTUM)
    limited = np.array(media.limit(quiet.tolist(), QUANTUM))
    delay = media.limit_delay()
    # 80 ms of release: 12 time constants reach one part in a hundred thousand, and then exactly one.
    assert np.array_equal(limited[16000 + delay :], quiet[16000 : len(quiet) - delay])


# --- mixer


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_mix_adds_its_inputs(make: Make, count: int) -> None:
    inputs = [vectors.noise(48000, -20, 128 / 48000, seed=n).tolist() for n in range(count)]
    mixed = make(48000).mix(inputs, 128)
    expected = np.sum(np.array(inputs), axis=0) if count else np.zeros(128)
    assert np.max(np.abs(np.array(mixed) - expected)) < SINGLE


def test_mix_takes_what_is_not_a_number_for_silence(make: Make) -> None:
    strange = [math.nan, math.inf, -math.inf, 1e30, 0.25]
    assert make(48000).mix([strange, [0.5] * 5], 5) == [0.5, 0.5, 0.5, 0.5, 0.75]


def test_mix_leaves_inputs_beyond_the_last_out(make: Make) -> None:
    mixed = make(48000).mix([[0.125]] * 9, 1)
    assert mixed == [1.0]


def test_bad_samples_do_not_stay_in_the_limiter(make: Make) -> None:
    media = make(48000)
    media.process([[math.nan] * 128], 128)
    later = [media.process([[0.25] * 128], 128) for _ in range(3)]
    assert later[-1] == [0.25] * 128


# --- tone


@pytest.mark.parametrize("rate_hz", vectors.RATES_HZ)
@pytest.mark.parametrize(
    ("hz", "dbfs"),
    [((1000.0, 0.0), (-20.0, 0.0)), ((697.0, 1209.0), (-9.0, -7.0)), ((440.0, 30000.0), (-3.0, 0.0))],
    ids=["single", "dual", "beyond-nyquist"],
)
def test_tone_follows_the_vectors(make: Make, rate_hz: int, hz: tuple[float, float], dbfs: tuple[float, float]) -> None:
    frames = rate_hz // 10
    heard = make(rate_hz).tone(hz, dbfs, frames, RAGGED)
    expected = vectors.tone_expected(rate_hz, hz, dbfs, frames)
    assert np.max(np.abs(np.array(heard) - expected)) < SINGLE


@pytest.mark.parametrize("frames", [1, 2, 5, 100])
def test_a_short_tone_ends_where_it_should(make: Make, frames: int) -> None:
    heard = make(48000).tone((1000.0, 0.0), (-6.0, 0.0), frames, QUANTUM)
    expected = vectors.tone_expected(48000, (1000.0, 0.0), (-6.0, 0.0), frames)
    assert np.max(np.abs(np.array(heard) - expected)) < SINGLE


def test_a_new_tone_replaces_the_one_that_plays(make: Make) -> None:
    media = make(48000)
    media.start_tone((1000.0, 0.0), (-6.0, 0.0), 48000)
    media.process([[0.0] * 128], 128)
    media.start_tone((0.0, 0.0), (-6.0, -6.0), 48000)
    silent = [media.process([[0.0] * 128], 128) for _ in range(4)]
    assert silent[-1] == [0.0] * 128


# --- meter


@pytest.mark.parametrize("blocks", [QUANTUM, RAGGED], ids=["quanta", "ragged"])
@pytest.mark.parametrize("dbfs", [0.0, -6.0, -20.0, -45.5])
def test_meter_reads_a_tone_as_its_own_level(make: Make, dbfs: float, blocks: tuple[int, ...]) -> None:
    signal = vectors.sine(48000, 1000, dbfs, 0.25)
    reading = make(48000).meter(signal.tolist(), blocks)
    assert reading["rms_dbfs"] == pytest.approx(dbfs, abs=0.001)
    assert reading["peak_dbfs"] == pytest.approx(20 * math.log10(np.max(np.abs(signal))), abs=0.001)
    assert reading["frames"] == len(signal)
    assert reading["silent_frames"] == 0


def test_meter_counts_what_is_clipped(make: Make) -> None:
    reading = make(48000).meter([0.998, -0.999, 1.0, -2.0, 0.0], QUANTUM)
    assert reading["clipped"] == 3
    assert reading["peak_dbfs"] == pytest.approx(20 * math.log10(2.0), abs=0.001)


def test_meter_tells_silence_from_quiet_speech(make: Make) -> None:
    media = make(16000)
    hiss = vectors.sine(16000, 1000, -61, 0.2).tolist()
    assert media.meter(hiss, QUANTUM)["silent_frames"] == len(hiss)
    assert media.meter(vectors.sine(16000, 1000, -58, 0.008).tolist(), QUANTUM)["silent_frames"] == 0
    assert media.meter([0.0] * 128, QUANTUM)["silent_frames"] == 128


def test_an_empty_meter_reads_the_floor(make: Make) -> None:
    reading = make(48000).read_meter()
    assert (reading["rms_dbfs"], reading["peak_dbfs"], reading["frames"]) == (-200.0, -200.0, 0)
    assert make(48000).meter([0.0] * 128, QUANTUM)["rms_dbfs"] == -200.0


# --- the whole block


def test_a_block_is_mixed_toned_metered_and_limited(make: Make) -> None:
    media = make(48000)
    media.start_tone((1000.0, 0.0), (-6.0, 0.0), 4800)
    voice = vectors.sine(48000, 300, -10, 0.1)
    tone = vectors.tone_expected(48000, (1000.0, 0.0), (-6.0, 0.0), 4800)
    heard = []
    for start in range(0, 4800 - 64, 128):
        block = voice[start : start + 128].tolist()
        heard += media.process([block], len(block))
    mixed = (voice + tone)[: len(heard)]
    assert np.max(np.abs(np.array(heard) - vectors.limited(mixed, 48000))) < 2e-5
    reading = media.read_meter()
    assert reading["frames"] == len(heard)
    assert reading["rms_dbfs"] == pytest.approx(10 * math.log10(2 * float(np.mean(mixed**2))), abs=0.01)


# --- the module alone


def test_abi_is_the_one_of_the_sources(wasm_path: Path) -> None:
    media = Wasm(wasm_path, 48000)
    assert media.call("abi_version") == read_abi(Sources()) == twin.ABI_VERSION
    assert media.call("media_max_inputs") == twin.MAX_INPUTS
    assert media.call("media_block_frames") == twin.BLOCK_FRAMES


def test_every_declared_function_is_exported_and_nothing_is_imported(wasm_path: Path) -> None:
    import wasmtime

    module = wasmtime.Module.from_file(wasmtime.Engine(), str(wasm_path))
    header = (Sources().media / "include" / "abi.h").read_text(encoding="utf-8")
    declared = set(re.findall(r"MEDIA_EXPORT\((\w+)\)\(", header))
    assert {export.name for export in module.exports} == declared | {"memory"}
    assert module.imports == []


def test_calls_beyond_the_buffers_stay_inside(wasm_path: Path) -> None:
    media = Wasm(wasm_path, 48000)
    assert media.call("media_input", 8) == 0
    media.call("media_process", 100, 100_000)
    assert media.read_meter()["frames"] == twin.BLOCK_FRAMES


@pytest.mark.parametrize("rate_hz", [math.nan, -1.0, 0.0, 1e9])
def test_absurd_sample_rates_are_clamped(wasm_path: Path, rate_hz: float) -> None:
    media = Wasm(wasm_path, rate_hz)
    assert 0 < media.limit_delay() < 192
    assert all(math.isfinite(x) for x in media.process([[0.5] * 128], 128))


def test_instances_share_nothing(wasm_path: Path) -> None:
    first, second = Wasm(wasm_path, 48000), Wasm(wasm_path, 48000)
    first.start_tone((1000.0, 0.0), (-6.0, 0.0), 4800)
    assert any(first.process([], 128))
    assert second.process([], 128) == [0.0] * 128


@pytest.mark.parametrize("db", [-199.0, -120.0, -60.3, -20.0, -3.0, 0.0, 12.0, 40.0])
def test_levels_become_amplitudes_exactly(wasm_path: Path, db: float) -> None:
    """A tone of a quarter of the sample rate has its amplitude in every odd frame."""
    media = Wasm(wasm_path, 48000)
    heard = media.tone((12000.0, 0.0), (db, 0.0), 2000, QUANTUM)
    # f32 keeps seven digits; frame 1001 stands in the flat part.
    assert abs(heard[1001]) == pytest.approx(10 ** (db / 20), rel=2e-6)
