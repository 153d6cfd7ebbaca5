"""What it costs to pass PCMU through between a page (ICE, DTLS-SRTP) and a phone (RTP), and how late it gets.

Candidates: Ponte's media plane, Debian's rtpengine without its kernel module, Debian's Janus with its SIP plugin. Each
run is a fresh process with 20 or 50 calls, 50 packets per second both ways, sends spread over the 20 ms; the candidates
take turns, in another order each round. `direct` is the same load with nothing between the two ends.

The generator offers each candidate the same SRTP suites, AES-256-GCM first; the note of its CPU says which one it took.
None is bound to a processor. All packets stay on this machine: on 127.0.0.1, but for Janus, which takes no calls there,
towards the page on the machine's own address.

- `cpu`: user and system time of all threads of the candidate, by /proc, for a second of one call: 100 packets that came
  through. What the kernel does for a packet on loopback in the name of whoever sends it is in there, the same for each.
- `added`: from just before a packet is encrypted and sent until the kernel has it for the other end, less the median of
  `direct` in the same round; in the p99 too, so that the share of the generator there counts for the candidate.
- `lost`: packets that never came, of all runs.
"""

from __future__ import annotations

import asyncio
import statistics
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from gateway.media.compiled import packet_path
from tests.bench.load.candidates import Direct, JanusSip, Kind, Ponte, Rtpengine
from tests.bench.load.measure import Run, measure
from tests.bench.results import Section

CALLS: Final = (20, 50)
_ROUNDS: Final = 5
_SECONDS: Final = 10.0
_QUICK_SECONDS: Final = 3.0
_KINDS: Final[tuple[Kind, ...]] = (Ponte(), Rtpengine(), JanusSip())
_DIRECT: Final = Direct()
_COLOURS: Final = {"ponte": "tab:green", "rtpengine": "tab:blue", "janus": "tab:orange", "direct": "tab:gray"}


def run(section: Section, *, quick: bool) -> None:
    """Measure all candidates that are installed."""
    rounds, seconds = (1, _QUICK_SECONDS) if quick else (_ROUNDS, _SECONDS)
    present = [kind for kind in _KINDS if not kind.missing()]
    runs: dict[tuple[str, int], list[Run]] = {}
    for number in range(rounds):
        for calls in CALLS:
            turn = number % len(present)
            for kind in (_DIRECT, *present[turn:], *present[:turn]):
                runs.setdefault((kind.name, calls), []).append(asyncio.run(measure(kind, calls, seconds)))
    for calls in CALLS:
        for kind in _KINDS:
            _tell(section, kind, calls, runs)
        _compare(section, calls, runs)
    section.plot(_cpu_plot(runs), "cpu")
    section.plot(_delay_plot(runs), "delay")


def _tell(section: Section, kind: Kind, calls: int, runs: dict[tuple[str, int], list[Run]]) -> None:
    """Give the figures of one candidate."""
    name, ours = kind.name, kind.name == "ponte"
    titles = {
        "cpu": f"CPU for a second of one call, {calls} calls, {name}",
        "added_p50": f"Added delay, median, {calls} calls, {name}",
        "added_p99": f"Added delay, 99 of 100 packets, {calls} calls, {name}",
        "lost": f"Packets lost, {calls} calls, {name}",
    }
    own = runs.get((name, calls))
    if own is None:
        for key, title in titles.items():
            section.skip(f"{key}_{calls}_{name}", title, kind.missing())
        return
    floor = [one.load["p50_ms"] for one in runs["direct", calls]]
    limits: dict[str, Any] = {"p50": {}, "p99": {}}
    if ours and calls == max(CALLS):
        limits = {"p50": {"bar": 0.5}, "p99": {"bar": 5.0}}
    suites = ", ".join(sorted({one.load["srtp"] for one in own}))
    section.add(
        f"cpu_{calls}_{name}",
        titles["cpu"],
        [one.cpu_ms_per_call_s for one in own],
        "ms",
        note=f"SRTP: {suites}" + (f"; packet path {packet_path()}" if ours else ""),
    )
    for point in ("p50", "p99"):
        values = [one.load[f"{point}_ms"] - least for one, least in zip(own, floor, strict=True)]
        section.add(f"added_{point}_{calls}_{name}", titles[f"added_{point}"], values, "ms", **limits[point])
    lost = [float(one.load["lost"]) for one in own]
    section.add(f"lost_{calls}_{name}", titles["lost"], lost, "packets", bar=0.0 if ours else None)


def _compare(section: Section, calls: int, runs: dict[tuple[str, int], list[Run]]) -> None:
    """Give Ponte's cost as a multiple of the others', round by round, and what the load costs by itself."""
    ponte = runs["ponte", calls]
    for name, bar, aim in (("rtpengine", 2.0, 1.0), ("janus", 0.8, None)):
        key, title = f"cpu_{calls}_ponte_to_{name}", f"CPU of Ponte by that of {name}, {calls} calls"
        others = runs.get((name, calls))
        if others is None:
            section.skip(key, title, next(kind.missing() for kind in _KINDS if kind.name == name))
            continue
        ratios = [one.cpu_ms_per_call_s / other.cpu_ms_per_call_s for one, other in zip(ponte, others, strict=True)]
        section.add(key, title, ratios, "times", bar=bar, aim=aim)
    direct = runs["direct", calls]
    for point in ("p50", "p99"):
        title = f"Delay with nothing between, {point}, {calls} calls"
        section.add(f"direct_{point}_{calls}", title, [one.load[f"{point}_ms"] for one in direct], "ms")


def _cpu_plot(runs: dict[tuple[str, int], list[Run]]) -> Figure:
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    names = [kind.name for kind in _KINDS if any(key[0] == kind.name for key in runs)]
    for place, name in enumerate(names):
        values = [[one.cpu_ms_per_call_s for one in runs[name, calls]] for calls in CALLS]
        middle = [statistics.median(one) for one in values]
        reach = [[m - min(v) for m, v in zip(middle, values, strict=True)],
                 [max(v) - m for m, v in zip(middle, values, strict=True)]]  # fmt: skip
        at = [group + 0.25 * place for group in range(len(CALLS))]
        axes.bar(at, middle, 0.22, yerr=reach, capsize=4, label=name, color=_COLOURS[name])
    axes.set_xticks([group + 0.125 * (len(names) - 1) for group in range(len(CALLS))], [f"{n} calls" for n in CALLS])
    axes.set_ylabel("ms of a processor for a second of one call")
    axes.set_title("PCMU passed through, page ↔ phone: CPU (median and spread)")
    axes.legend()
    return figure


def _delay_plot(runs: dict[tuple[str, int], list[Run]]) -> Figure:
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    calls = max(CALLS)
    for name, colour in _COLOURS.items():
        if (name, calls) in runs:
            delays = np.concatenate([one.delay_ms.ravel() for one in runs[name, calls]])
            ordered = np.sort(delays[~np.isnan(delays)])
            share = np.arange(1, ordered.size + 1) / ordered.size
            kept = np.unique(np.concatenate([np.linspace(0, ordered.size - 1, 2000).astype(int),
                                             np.arange(max(0, ordered.size - 200), ordered.size)]))  # fmt: skip
            axes.plot(ordered[kept], 1 - share[kept] + 1e-6, label=name, color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("ms from one end to the other")
    axes.set_ylabel("share of packets that take longer")
    axes.set_title(f"PCMU passed through, {calls} calls: delay")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
