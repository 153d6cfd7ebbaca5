"""What requests cost the calls: 300 a second to the status endpoint, over HTTP, beside five calls.

One gateway serves both: its API, with an account, answers; its media worker carries the calls, whose packets the
generator of `tests.bench.section_passthrough` sends and hears. Runs with and without requests take turns, so that what
the machine does beside them is in both.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.load.candidates import Ponte
from tests.bench.load.lines import Asked, asked
from tests.bench.load.measure import WARM_UP_S, cpu_s
from tests.bench.results import Section

_CALLS: Final = 5
_PER_S: Final = 300
_PATH: Final = "/call/bridge/status"
_ROUNDS: Final = 5
_SECONDS: Final = 10.0
_QUICK_SECONDS: Final = 4.0
_OWN_LATE_MS: Final = 2.0  # the worker's timers have whole milliseconds


@dataclass(frozen=True, slots=True)
class Beside:
    """What one run gave.

    Attributes:
        load: of the packets, as the generator saw them.
        told: the calls' own figures.
        requests: what the API's clients saw; None: there were none.
        longest_ms: of all packets that came.
        api_cpu_ms: of the gateway's own process for one request.
    """

    load: dict[str, Any]
    told: dict[str, Any]
    requests: dict[str, Any] | None
    longest_ms: float
    api_cpu_ms: float

    @property
    def dropped(self) -> int:
        """Packets that the calls themselves say they dropped, late ones among them."""
        return sum(sum(self.told[name]["dropped"].values()) for name in ("wa_to_sip", "sip_to_wa"))


async def measure_beside(calls: int, per_s: int, seconds: float) -> Beside:
    """Carry *calls* for so many *seconds* while *per_s* requests a second are answered; 0: none."""
    kind = Ponte("api", "--api")
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder:
        async with (
            asked("tests.bench.load.generator") as load,
            asked("tests.bench.load.requests") as clients,
            kind.started(Path(folder), calls) as candidate,
        ):
            for call in range(calls):
                await candidate.join(load, call)
            await load.ask("connected")
            await candidate.settle()
            await load.ask("run", seconds=WARM_UP_S)
            api = await candidate.host.ask("api")
            kept = Path(folder) / "delay_ms.npy"
            before = cpu_s(api["pid"])
            figures, requests = await asyncio.gather(
                load.ask("run", seconds=seconds, keep=str(kept), timeout_s=3 * seconds + 30),
                _requests(clients, api, per_s, seconds) if per_s else asyncio.sleep(0),
            )
            spent_ms = 1000 * (cpu_s(api["pid"]) - before)
            delay_ms = np.load(kept)
            longest_ms = float(np.nanmax(delay_ms))
            return Beside(
                figures, await candidate.told(), requests, longest_ms, spent_ms / (requests["sent"] if requests else 1)
            )  # fmt: skip


async def _requests(clients: Asked, api: dict[str, Any], per_s: int, seconds: float) -> dict[str, Any]:
    return await clients.ask(
        "run", port=api["port"], key=api["key"], path=_PATH, per_s=per_s, seconds=seconds, timeout_s=3 * seconds + 30
    )


def run(section: Section, *, quick: bool) -> None:
    """Measure with and without requests in turn."""
    rounds, seconds = (1, _QUICK_SECONDS) if quick else (_ROUNDS, _SECONDS)
    found: dict[str, list[Beside]] = {"with": [], "without": []}
    for number in range(rounds):
        for name in ("with", "without") if number % 2 else ("without", "with"):
            per_s = _PER_S if name == "with" else 0
            found[name].append(asyncio.run(measure_beside(_CALLS, per_s, seconds)))
    for name, runs in found.items():
        beside = f"{_CALLS} calls, {name} {_PER_S} requests a second"
        section.add(
            f"late_{name}", f"Packets that came late or never, by the calls' own figures and the generator's, {beside}",
            [float(one.dropped + one.load["lost"] + one.load["unsent"]) for one in runs], "packets", bar=0.0,
        )  # fmt: skip
        section.add(f"own_late_{name}", f"The latest call's mean lateness, by its own figures, {beside}",
                    [float(one.told["late_ms"]) for one in runs], "ms", bar=_OWN_LATE_MS)  # fmt: skip
        section.add(f"p99_{name}", f"Delay, 99 of 100 packets, {beside}",
                    [float(one.load["p99_ms"]) for one in runs], "ms", bar=10.0)  # fmt: skip
        section.add(f"longest_{name}", f"Longest delay of a packet, {beside}", [one.longest_ms for one in runs], "ms",
                    aim=20.0)  # fmt: skip
    asked_for = [one.requests for one in found["with"] if one.requests is not None]
    section.add("answered", "Requests that were answered 200, of all",
                [one["statuses"].get("200", 0) / (_PER_S * seconds) for one in asked_for], "", bar=1.0, at_least=True,
                )  # fmt: skip
    for name in ("p50_ms", "p99_ms", "longest_ms"):
        section.add(f"answer_{name}", f"Answer time of {_PATH}, {name.removesuffix('_ms')}",
                    [float(one[name]) for one in asked_for], "ms", bar=100.0 if name == "p99_ms" else None)  # fmt: skip
    section.add("cpu", "CPU of the gateway's process for one request, without the media worker's",
                [one.api_cpu_ms for one in found["with"]], "ms", bar=2.0)  # fmt: skip
