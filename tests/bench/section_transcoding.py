"""What it costs to convert between a page's Opus (ICE, DTLS-SRTP) and a phone's PCMU (RTP), and how it sounds.

Ponte and Debian's rtpengine, each told to make Opus of the same bit rate, at complexity 10 (rtpengine has no other), in
frames of 20 ms without copies; the page sends Opus of 32 kbit/s in both. Ten calls that read recorded speech, both
ways, for ten seconds; the two take turns. `cpu` is user and system time of all threads of the candidate, by /proc, for
a second of one call. `pesq` judges what both ends of the first call heard, by ITU-T P.862 at 8 kHz: cheaper must not be
worse. `ponte_as_set` is Ponte with the complexity that it has unless it is told otherwise.
"""

from __future__ import annotations

import asyncio
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from tests.bench.load.candidates import Kind, Ponte
from tests.bench.load.lines import asked
from tests.bench.load.measure import PACKETS_PER_CALL_S, WARM_UP_S, cpu_s
from tests.bench.results import Section
from tests.bench.sound.heard import heard
from tests.bench.sound.scorer import NoScorer, Scorer, scorer
from tests.bench.transcode.kinds import RtpengineConverts
from tests.support.audio import Samples
from tests.support.recorded_speech import recorded

_BITRATE_BPS: Final = 24_000
_RATE_HZ: Final = 8000
_ROUNDS, _CALLS, _SECONDS = 3, 10, 10.0
_QUICK_CALLS, _QUICK_SECONDS = 5, 6.0
_SIDES: Final = {"phone": "PCMU", "page": "opus"}
_WORSE_PESQ: Final = -0.1  # less than anybody hears


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave."""

    cpu_ms: float
    lost: int
    first: int
    heard: dict[str, list[tuple[float, bytes]]]


def run(section: Section, *, quick: bool) -> None:
    """Measure both."""
    rounds, calls, seconds = (1, _QUICK_CALLS, _QUICK_SECONDS) if quick else (_ROUNDS, _CALLS, _SECONDS)
    matched = Ponte("ponte", "--complexity", "10", "--bitrate", str(_BITRATE_BPS))
    rtpengine = RtpengineConverts(_BITRATE_BPS)
    kinds: list[tuple[str, Kind]] = [("ponte", matched), ("rtpengine", rtpengine), ("ponte_as_set", Ponte())]
    speech = recorded()
    section.conditions.update(calls=calls, seconds=seconds, speech=speech.source, opus_bps=_BITRATE_BPS)
    present = [(name, kind) for name, kind in kinds if not kind.missing()]
    runs: dict[str, list[Run]] = {name: [] for name, _ in kinds}
    for number in range(rounds):
        turn = number % len(present)
        for name, kind in (*present[turn:], *present[:turn]):
            runs[name].append(asyncio.run(_measure(kind, calls, seconds)))
    for name, kind in kinds:
        title = f"CPU for a second of one call, Opus ↔ PCMU, {name}"
        if runs[name]:
            section.add(f"cpu_{name}", title, [one.cpu_ms for one in runs[name]], "ms")
            lost = [float(one.lost) for one in runs[name]]
            section.add(f"lost_{name}", f"Packets lost, {name}", lost, "packets")
        else:
            section.skip(f"cpu_{name}", title, kind.missing())
    title = "CPU of Ponte by that of rtpengine, Opus ↔ PCMU, settings matched"
    if runs["rtpengine"]:
        pairs = zip(runs["ponte"], runs["rtpengine"], strict=True)
        ratios = [one.cpu_ms / other.cpu_ms for one, other in pairs]
        section.add("cpu_ponte_to_rtpengine", title, ratios, "times", bar=0.7, aim=0.5)
    else:
        section.skip("cpu_ponte_to_rtpengine", title, rtpengine.missing())
    _judge(section, runs, speech.at(_RATE_HZ))
    section.plot(_plot(runs), "cpu")


def _judge(section: Section, runs: dict[str, list[Run]], speech: Samples) -> None:
    found: dict[tuple[str, str], list[float]] = {}
    try:
        with scorer() as judge:
            for name, own in runs.items():
                for side in _SIDES:
                    if own:
                        found[name, side] = [_pesq(judge, one, side, speech) for one in own]
    except NoScorer as why:
        section.skip("pesq", "PESQ of what both ends heard", str(why))
        return
    for (name, side), values in found.items():
        section.add(f"pesq_{side}_{name}", f"PESQ of what the {side} heard, {name}", values, "MOS", at_least=True)
    for side in _SIDES:
        if ("rtpengine", side) in found:
            pairs = zip(found["ponte", side], found["rtpengine", side], strict=True)
            section.add(
                f"pesq_{side}_ponte_less_rtpengine", f"PESQ of what the {side} heard, Ponte less rtpengine",
                [one - other for one, other in pairs], "MOS", bar=_WORSE_PESQ, at_least=True,
            )  # fmt: skip


def _pesq(judge: Scorer, one: Run, side: str, speech: Samples) -> float:
    sound = heard(one.heard[side], _SIDES[side], _RATE_HZ)
    at = one.first * _RATE_HZ // 50 % (len(speech) // 160 * 160)
    reference = np.roll(speech[: len(speech) // 160 * 160], -at)[: len(sound)]
    size = min(len(sound), len(reference))
    return judge.score(reference[:size], sound[:size], _RATE_HZ, wide=False).pesq


async def _measure(kind: Kind, calls: int, seconds: float) -> Run:
    with tempfile.TemporaryDirectory(prefix=f"bench-{kind.name}-") as folder:
        async with asked("tests.bench.transcode.talkers") as load, kind.started(Path(folder), calls) as candidate:
            for call in range(calls):
                await candidate.join(load, call)
            await load.ask("connected")
            await candidate.settle()
            await load.ask("run", seconds=WARM_UP_S)
            assert candidate.pid is not None
            before, kept = cpu_s(candidate.pid), Path(folder) / "heard"
            figures = await load.ask("run", seconds=seconds, keep=str(kept), timeout_s=3 * seconds + 30)
            spent = cpu_s(candidate.pid) - before
            said: dict[str, Any] = pickle.loads(kept.read_bytes())
            cpu_ms = 1000 * spent * PACKETS_PER_CALL_S / figures["heard"]
            return Run(cpu_ms, figures["sent"] - figures["heard"], said["first"], said["heard"])


def _plot(runs: dict[str, list[Run]]) -> Figure:
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    names = [name for name, own in runs.items() if own]
    middle = [float(np.median([one.cpu_ms for one in runs[name]])) for name in names]
    costs = [[one.cpu_ms for one in runs[name]] for name in names]
    reach = np.array([[m - min(own), max(own) - m] for own, m in zip(costs, middle, strict=True)]).T
    axes.bar(names, middle, 0.5, yerr=reach, capsize=4, color=["tab:green", "tab:blue", "tab:olive"][: len(names)])
    axes.set_ylabel("ms of a processor for a second of one call")
    axes.set_title("Opus ↔ PCMU on speech: CPU (median and spread)")
    return figure
