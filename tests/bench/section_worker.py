"""What a process of its own for media brings: CPU with and without uvloop, delay with a gateway that is busy.

The load and its figures are those of `tests.bench.section_passthrough`. `busy` blocks the gateway's own loop for 50 ms
of every 100. The CPU time is that of the process which has the packets.
"""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from tests.bench.load.candidates import Ponte
from tests.bench.load.measure import Run, measure
from tests.bench.results import Section

_CALLS: Final = 20
_ROUNDS: Final = 5
_SECONDS: Final = 8.0
_QUICK_SECONDS: Final = 3.0
_KINDS: Final = {
    "worker_uvloop": Ponte("worker_uvloop"),
    "worker_asyncio": Ponte("worker_asyncio", "--plane", "asyncio"),
    "inside_asyncio": Ponte("inside_asyncio", "--plane", "inside"),
    "worker_uvloop_busy": Ponte("worker_uvloop_busy", "--busy"),
    "inside_asyncio_busy": Ponte("inside_asyncio_busy", "--plane", "inside", "--busy"),
}


def run(section: Section, *, quick: bool) -> None:
    """Measure them in turn."""
    rounds, seconds = (1, _QUICK_SECONDS) if quick else (_ROUNDS, _SECONDS)
    runs: dict[str, list[Run]] = {name: [] for name in _KINDS}
    for number in range(rounds):
        names = list(_KINDS)
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            runs[name].append(asyncio.run(measure(_KINDS[name], _CALLS, seconds)))
    for name, found in runs.items():
        if not name.endswith("_busy"):
            section.add(
                f"cpu_{name}", f"CPU for a second of one call, {_CALLS} calls, {name}",
                [one.cpu_ms_per_call_s for one in found], "ms",
            )  # fmt: skip
        for percentile in (50, 99):
            section.add(
                f"delay_p{percentile}_{name}", f"Delay, {percentile} of 100 packets, {_CALLS} calls, {name}",
                [float(np.nanpercentile(one.delay_ms, percentile)) for one in found], "ms",
                bar=10.0 if name == "worker_uvloop_busy" and percentile == 99 else None,
            )  # fmt: skip
        section.add(
            f"lost_{name}", f"Packets that never came, of all runs, {name}",
            [float(sum(int(one.load["lost"]) for one in found))], "packets",
        )  # fmt: skip
