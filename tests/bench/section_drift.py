"""Clocks of Chrome and the PBX that differ by 200 ppm: the delay at the beginning and at the end of a call.

An hour on a virtual clock through the module that runs in the page (media.wasm, in wasmtime), and minutes through
real Chromium, with a phone whose clock is fast or slow. 200 ppm are 720 ms in an hour.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import numpy as np

from tests.bench.page.figures import bursts, delays
from tests.bench.page.world import bridged, phone
from tests.bench.results import Section
from tests.support.audio import Samples
from tests.unit.wasm.lines import RATE_HZ, WasmBuffer, coded
from wasm_server.build import build, default_directory

PPM: Final = 200
BAR_MS: Final = 5.0
_BLOCK: Final = 128
_PAGE_HZ: Final = 16_000


def run(section: Section, *, quick: bool) -> None:
    """Measure."""
    directory = default_directory()
    build(directory)
    seconds = 600.0 if quick else 3600.0
    for sign, name in ((1, "slow"), (-1, "fast")):
        waits, rest = simulated(directory / "media.wasm", seconds, sign * PPM)
        growth = float(np.median(waits[-60:]) - np.median(waits[60:120]))
        section.add(
            f"hour_{name}", f"growth of delay over {seconds:.0f} s, phone's clock {name} by {PPM} ppm, simulated",
            [growth], "ms", bar=BAR_MS,
        )  # fmt: skip
        section.add(f"hour_{name}_most", "the longest wait in it", [float(np.max(waits[60:]))], "ms")
        section.add(f"hour_{name}_concealed", "sound made up in it", [rest["concealed_ms"]], "ms")
    live_s = 45.0 if quick else 240.0
    for ppm, name in ((-PPM, "slow"), (PPM, "fast")):
        grown = asyncio.run(_live(live_s, ppm))
        section.add(
            f"live_{name}", f"the same over {live_s:.0f} s in Chromium (uncorrected {live_s * PPM / 1e3:.0f})",
            [grown], "ms", bar=BAR_MS,
        )  # fmt: skip


def simulated(module: Path, seconds: float, ppm: float) -> tuple[Samples, dict[str, float]]:
    """How long packets waited, a value for each second, and the figures at the end.

    Args:
        module: media.wasm.
        seconds: on the virtual clock.
        ppm: by how much the sender's clock is slow.
    """
    speech = _voice(20.0)
    data = coded(speech)
    frames = [data[at : at + 160] for at in range(0, len(data) - 159, 160)]
    buffer = WasmBuffer(module, _PAGE_HZ)
    waits, number, told = [], 0, 0
    for block in range(int(seconds * _PAGE_HZ / _BLOCK)):
        now_s = block * _BLOCK / _PAGE_HZ
        while number * 0.02 * (1 + ppm * 1e-6) <= now_s:
            buffer.push(frames[number % len(frames)], 0, number * 160, 1)
            number += 1
        buffer.skip(_BLOCK)
        if now_s >= told:
            told += 1
            waits.append(buffer.stats()["wait_ms"])
    return np.array(waits), buffer.stats()


def _voice(seconds: float) -> Samples:
    """Vowels with pauses between, as people speak."""
    times_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = np.sum([np.exp(-k / 8) * np.sin(2 * np.pi * 110 * k * times_s + k * k) for k in range(1, 28)], axis=0)
    return np.asarray(0.05 * wave * (np.sin(2 * np.pi * 0.4 * times_s) > -0.4), dtype=np.float64)


async def _live(seconds: float, ppm: float) -> float:
    """By how much the delay towards the page's microphone grows from the first to the last quarter of a call."""
    async with bridged() as line, phone() as peer:
        to = await line.call(peer.port)
        await peer.talk(to, np.zeros(0), 8, ppm=ppm)
        await line.stand_in.request("DELETE", "/marks")
        said, at = bursts(seconds, 5)
        kept = await peer.talk(to, said, seconds, ppm=ppm)
        marks = await line.stand_in.marks()
        await line.hang_up()
    received = [float(mark["at"]) for mark in marks["received"]]
    path = delays(kept, at, [], received).down_path
    quarter = len(path) // 4
    return float(np.median(path[-quarter:]) - np.median(path[:quarter]))
