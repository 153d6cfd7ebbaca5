"""A hundred calls for ten minutes in one process of Ponte's: no packet lost, and no more memory at the end.

- `lost`: packets of the generator that never came, both ways.
- `growth`: resident memory at the end less that a tenth of the time into the run, when buffers and caches are full.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from tests.bench.load.candidates import Ponte
from tests.bench.load.lines import asked
from tests.bench.load.measure import WARM_UP_S, cpu_s, resident_bytes
from tests.bench.results import Section

CALLS: Final = 100
_SECONDS: Final = 600.0
_QUICK_SECONDS: Final = 20.0
_SAMPLES: Final = 120
_MIB: Final = 1 << 20


def run(section: Section, *, quick: bool) -> None:
    """Carry the calls, and look at the memory meanwhile."""
    seconds = _QUICK_SECONDS if quick else _SECONDS
    load, memory, spent_s, told = asyncio.run(_carry(seconds))
    settled = [used for at, used in memory if at >= seconds / 10] or [used for _, used in memory]
    section.conditions = {"calls": CALLS, "seconds": seconds, "generator": load, "ponte": told}
    section.add("lost", f"Packets lost, {CALLS} calls, {seconds:g} s", [float(load["lost"])], "packets", bar=0.0)
    section.add("growth", "Growth of resident memory", [(settled[-1] - settled[0]) / _MIB], "MiB", bar=1.0)
    section.add("memory", "Resident memory at the end", [settled[-1] / _MIB], "MiB")
    section.add("cpu", "CPU for a second of one call", [1000 * spent_s / (CALLS * seconds)], "ms")
    section.add("p50", "Delay, median, the generator's own in it", [load["p50_ms"]], "ms")
    section.add("p99", "Delay, 99 of 100 packets, the generator's own in it", [load["p99_ms"]], "ms")
    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    axes.plot([at for at, _ in memory], [used / _MIB for _, used in memory])
    axes.set_xlabel("s")
    axes.set_ylabel("MiB resident")
    axes.set_ylim(bottom=0)
    axes.set_title(f"{CALLS} calls in one process: memory")
    section.plot(figure, "memory")


async def _carry(seconds: float) -> tuple[dict[str, Any], list[tuple[float, int]], float, dict[str, Any]]:
    """Return what the generator saw, memory by second, CPU seconds, and what Ponte counted."""
    memory: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory(prefix="bench-endurance-") as folder:
        async with (
            asked("tests.bench.load.generator") as load,
            Ponte().started(Path(folder), CALLS) as candidate,
        ):
            for call in range(CALLS):
                await candidate.join(load, call)
            await load.ask("connected")
            await candidate.settle()
            await load.ask("run", seconds=WARM_UP_S)
            pid = candidate.pid
            assert pid is not None
            before, loop = cpu_s(pid), asyncio.get_running_loop()
            began = loop.time()

            async def watch() -> None:
                while True:
                    memory.append((loop.time() - began, resident_bytes(pid)))
                    await asyncio.sleep(seconds / _SAMPLES)

            watching = asyncio.create_task(watch())
            try:
                figures = await load.ask("run", seconds=seconds, timeout_s=seconds + 60)
            finally:
                watching.cancel()
            return figures, memory, cpu_s(pid) - before, await candidate.told()
