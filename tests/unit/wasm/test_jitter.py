"""The jitter buffer of media.wasm and its twin: alike, and as a call needs them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from gateway.codecs import g711
from tests.support.audio import fit_sine
from tests.unit.wasm import lines
from tests.unit.wasm.lines import RATE_HZ, Arrival, TwinBuffer, WasmBuffer, played, steady
from tests.unit.wasm.vectors import Signal, noise, sine
from wasm_server.media import twin_jitter

pytestmark = pytest.mark.unit

RATES_HZ: Final = (16000, 44100, 48000)
SINGLE: Final = 1e-6


def voice(seconds: float, *, pauses: bool = True) -> Signal:
    """A pulse train of 110 Hz, with pauses between: what stretching and concealing are made for."""
    n = round(seconds * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    wave = sum(math.exp(-k / 8) * np.sin(2 * np.pi * 110 * k * t + k * k) for k in range(1, 28))
    loud = (np.sin(2 * np.pi * 1.3 * t) > -0.4) | (not pauses)
    return 0.05 * wave * loud + noise(RATE_HZ, -60, seconds, seed=3)[:n]


VOICE: Final = voice(3.0)
CASES: Final[dict[str, Callable[[], list[Arrival]]]] = {
    "steady": lambda: steady(VOICE, "PCMA"),
    "short frames": lambda: steady(VOICE, frame=80),
    "jitter": lambda: lines.jittered(steady(VOICE), 0.03, seed=1),
    "loss": lambda: lines.lossy(steady(VOICE), 0.05, seed=2),
    "loss and jitter": lambda: lines.lossy(lines.jittered(steady(VOICE), 0.06, seed=3), 0.1, seed=4),
    "stall": lambda: lines.stalled(steady(VOICE), 1.0, 0.3),
    "long stall": lambda: lines.stalled(steady(VOICE), 1.0, 0.9),
    "drift": lambda: lines.drifting(steady(VOICE), 4000),
    "another stream": lambda: [
        *steady(VOICE)[:60],
        *(Arrival(x.at_s, x.data, x.law, x.timestamp + 777777, 2) for x in steady(VOICE, "PCMA")[60:]),
    ],
}  # fmt: skip


def sinads(sound: Signal, rate_hz: int, skip_s: float = 0.5) -> list[tuple[float, float]]:
    """SINAD and level of each 100 ms."""
    size = rate_hz // 10
    starts = range(round(skip_s * rate_hz), len(sound) - size + 1, size)
    fits = [fit_sine(sound[start : start + size], rate_hz) for start in starts]
    return [(fit.sinad_db, fit.dbfs) for fit in fits]


@pytest.mark.parametrize("name", CASES)
def test_the_module_sounds_as_its_twin(wasm_path: Path, name: str) -> None:
    wasm, twin = WasmBuffer(wasm_path, 16000), TwinBuffer(16000)
    line = CASES[name]()
    ours, theirs = (played(buffer, line, 16000, 3.0) for buffer in (wasm, twin))
    assert np.max(np.abs(ours - theirs)) < SINGLE
    assert wasm.stats() == pytest.approx(twin.stats())
    assert np.max(np.abs(ours)) < 1.1 * np.max(np.abs(VOICE))


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000, 96000])
def test_the_filter_is_the_twins_at_every_rate(wasm_path: Path, rate_hz: int) -> None:
    line = steady(noise(RATE_HZ, -20, 0.3, seed=9))
    ours, theirs = (
        played(buffer, line, rate_hz, 0.3) for buffer in (WasmBuffer(wasm_path, rate_hz), TwinBuffer(rate_hz))
    )
    assert np.max(np.abs(ours - theirs)) < SINGLE


@pytest.mark.parametrize(("codec", "law"), lines.LAWS.items())
def test_every_code_of_both_laws(codec: str, law: int) -> None:
    wanted = [x / 32768 for x in g711.decode(codec, bytes(range(256)))]
    assert [twin_jitter.decode(byte, law) for byte in range(256)] == wanted


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("hz", [304.0, 1004.0, 3100.0])
def test_a_tone_keeps_its_level_and_purity(wasm_path: Path, rate_hz: int, hz: float) -> None:
    """Against what G.711 itself leaves of it."""
    tone = sine(RATE_HZ, hz, -10, 1.0)
    coded = np.array(g711.decode("PCMU", lines.coded(tone))) / 32768
    reference = sinads(coded, RATE_HZ)
    sound = played(WasmBuffer(wasm_path, rate_hz), steady(tone), rate_hz, 1.0)
    for sinad_db, dbfs in sinads(sound, rate_hz):
        assert sinad_db >= min(found for found, _ in reference) - 0.5 >= 33
        assert dbfs == pytest.approx(reference[0][1], abs=0.1)


def test_a_line_without_jitter_comes_to_wait_less_than_10_ms_until_a_packet_is_late(wasm_path: Path) -> None:
    line = steady(sine(RATE_HZ, 1000, -10, 40.0))
    buffer = WasmBuffer(wasm_path, 16000)
    sound = played(buffer, line, 16000, 19.9)
    assert 1 <= buffer.stats()["wait_ms"] <= 10
    assert all(sinad_db > 30 for sinad_db, _ in sinads(sound, 16000))
    assert buffer.stats()["late_ms"] == 0
    late = [Arrival(x.at_s + 0.03 * (18 <= x.at_s < 18.06), x.data, x.law, x.timestamp, x.stream) for x in line]
    buffer = WasmBuffer(wasm_path, 16000)
    played(buffer, sorted(late, key=lambda one: one.at_s), 16000, 24.9)
    assert 8 <= buffer.stats()["wait_ms"] <= 20


def test_a_quiet_line_waits_10_ms(wasm_path: Path) -> None:
    buffer = WasmBuffer(wasm_path, 48000)
    sound = played(buffer, steady(np.concatenate([np.zeros(4000), sine(RATE_HZ, 1000, -10, 0.5)])), 48000, 1.0)
    stats = buffer.stats()
    assert 5 <= stats["wait_ms"] <= 12
    assert (stats["late_ms"], stats["taken_ms"], stats["put_ms"]) == (0, 0, 0)
    onset_s = int(np.argmax(np.abs(sound) > 0.01)) / 48000
    assert 0.505 <= onset_s <= 0.516, "margin, filter and one block after the packet came"


def test_jitter_is_followed_and_forgotten(wasm_path: Path) -> None:
    tone = steady(sine(RATE_HZ, 1000, -10, 10.0))
    calm, rough = tone[200:], lines.jittered(tone[:200], 0.04, seed=5)
    buffer = WasmBuffer(wasm_path, 16000)
    played(buffer, [*rough, *calm], 16000, 4.0)
    assert 20 <= buffer.stats()["wait_ms"] <= 60
    late = buffer.stats()["late_ms"] + buffer.stats()["concealed_ms"]
    assert late < 100
    buffer = WasmBuffer(wasm_path, 16000)
    played(buffer, [*rough, *calm], 16000, 9.9)
    assert buffer.stats()["wait_ms"] < 20


def test_a_lost_packet_is_filled(wasm_path: Path) -> None:
    """A vowel goes on through 20 ms; silence would show as a fall of the level."""
    vowel = voice(1.0, pauses=False)
    line = [one for i, one in enumerate(steady(vowel)) if i not in (20, 30)]
    buffer = WasmBuffer(wasm_path, 16000)
    sound = played(buffer, line, 16000, 0.95)
    windows = [sound[start : start + 160] for start in range(4800, 14000, 160)]
    powers = [float(np.mean(window**2)) for window in windows]
    assert min(powers) > 0.1 * float(np.median(powers))
    assert np.max(np.abs(np.diff(sound))) <= 1.1 * np.max(np.abs(np.diff(played(
        WasmBuffer(wasm_path, 16000), steady(vowel), 16000, 0.95))))  # fmt: skip


def test_concealment_fades_to_silence(wasm_path: Path) -> None:
    line = [one for one in steady(sine(RATE_HZ, 500, -10, 1.0)) if not 0.4 <= one.at_s < 0.8]
    sound = played(WasmBuffer(wasm_path, 16000), line, 16000, 1.0)
    assert np.max(np.abs(sound[round(0.5 * 16000) : round(0.78 * 16000)])) < 1e-3
    assert np.max(np.abs(sound[round(0.43 * 16000) : round(0.45 * 16000)])) > 0.1


@pytest.mark.parametrize("gap_s", [0.1, 0.3, 10.0])
@pytest.mark.parametrize("goes_on", [True, False], ids=["time went on", "time stood still"])
def test_a_line_that_stops_comes_back_with_little_delay(wasm_path: Path, gap_s: float, goes_on: bool) -> None:
    tone = steady(sine(RATE_HZ, 1000, -10, 3.0))
    before, after = tone[:50], tone[50:]
    jump = round(gap_s * RATE_HZ) if goes_on else 0
    line = before + [Arrival(x.at_s + gap_s, x.data, x.law, x.timestamp + jump) for x in after]
    buffer = WasmBuffer(wasm_path, 16000)
    played(buffer, line, 16000, 2.9 + gap_s)
    stats = buffer.stats()
    assert stats["wait_ms"] < 20
    assert stats["late_ms"] == 0


def test_a_backlog_is_drained_quickly_and_cleanly(wasm_path: Path) -> None:
    line = lines.stalled(steady(sine(RATE_HZ, 1000, -10, 3.0)), 1.0, 0.25)
    buffer = WasmBuffer(wasm_path, 16000)
    sound = played(buffer, line, 16000, 2.9)
    assert buffer.stats()["wait_ms"] < 30
    assert buffer.stats()["taken_ms"] > 150
    assert all(sinad_db > 30 for sinad_db, _ in sinads(sound, 16000, skip_s=1.6))


@pytest.mark.parametrize("ppm", [-500, 500])
def test_drift_is_corrected_without_a_mark_on_the_sound(wasm_path: Path, ppm: int) -> None:
    """As much as an hour of 4 ppm, or half a minute of a poor crystal."""
    buffer = WasmBuffer(wasm_path, 16000)
    sound = played(buffer, lines.drifting(steady(sine(RATE_HZ, 1000, -10, 30.0)), ppm), 16000, 29.9)
    stats = buffer.stats()
    assert 3 <= stats["wait_ms"] <= 20
    assert stats["put_ms"] - stats["taken_ms"] == pytest.approx(30 * ppm / 1000, abs=8)
    assert stats["concealed_ms"] <= 10, "the 10 ms before the first packet"
    assert all(sinad_db > 30 for sinad_db, _ in sinads(sound, 16000))


def test_what_is_no_packet_is_ignored(wasm_path: Path) -> None:
    buffer = WasmBuffer(wasm_path, 16000)
    buffer.push(b"", 0, 0, 1)
    buffer.push(b"\0" * 160, 13, 0, 1)
    assert buffer.stats()["packets"] == 0
    assert not np.any(played(buffer, [], 16000, 0.1))


def test_any_timestamps_leave_it_working(wasm_path: Path) -> None:
    rng = np.random.default_rng(11)
    buffer = WasmBuffer(wasm_path, 16000)
    for _ in range(300):
        length, timestamp = int(rng.integers(1, 160)), int(rng.integers(0, 2**32))
        if rng.random() < 0.5:
            timestamp = int(rng.integers(0, 20000))
        buffer.push(bytes(rng.integers(0, 256, length, dtype=np.uint8)), 0, timestamp, int(rng.integers(0, 3)))
        assert np.all(np.isfinite(buffer.read(128)))
    tone = [Arrival(x.at_s, x.data, x.law, x.timestamp, 9) for x in steady(sine(RATE_HZ, 1000, -10, 1.0))]
    assert all(sinad_db > 35 for sinad_db, _ in sinads(played(buffer, tone, 16000, 0.95), 16000))
