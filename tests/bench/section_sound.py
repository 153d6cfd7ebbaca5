"""How calls sound: recorded speech through Ponte's packet path, judged by PESQ (ITU-T P.862, P.862.2) and STOI.

On a virtual clock, so that the machine's load is not in it: speaker → network that loses packets → packet path →
whoever listens. The packet path is the one of calls (`PacketPath`, `Conversion`), fed packet by packet. Listeners are
the page's own jitter buffer, by its Python twin, for G.711 towards the page; else a receiver that waits 60 ms and
conceals what is missing by libopus, or by G.711 Appendix I in idea. Opus is made as Chrome makes it (32 kbit/s,
complexity 9), with copies (FEC) where packets are lost, as Chrome does when reports tell of loss. Both directions of a
call have the same packet path: what differs is who speaks and who listens, and that is what is named here.

- `clean_*`: nothing lost. G.711 by PESQ at 8 kHz (best value 4.55), the others at 16 kHz (4.64).
- `loss_*`: the curve, random losses and runs of two on the average.
- `delay_*`: how late sound leaves Ponte under the same loss, behind a network without faults.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from gateway.protocol.rtp import parse_header, payload_of
from tests.bench.results import Section
from tests.bench.sound.heard import heard
from tests.bench.sound.line import START_S, Carried, Loss, carry, speak, speaking_hz
from tests.bench.sound.scorer import NoScorer, Score, Scorer, scorer
from tests.support.audio import Samples, find_offset
from tests.support.recorded_speech import Speech, recorded
from wasm_server.media.twin_jitter import Jitter

_SECONDS, _QUICK_SECONDS = 16, 8
_SEEDS, _QUICK_SEEDS = (1, 2, 3), (1,)
_RATES, _QUICK_RATES = (1, 3, 5, 10), (5,)
_RUNS: Final = {"random": 1.0, "bursts": 2.0}
_WAIT_S: Final = 0.06
_NARROW_HZ, _WIDE_HZ = 8000, 16_000
_AT_PERCENT: Final = 5
_BAR, _LOSSY_BAR = 4.0, 3.0


@dataclass(frozen=True, slots=True)
class Way:
    """From whom to whom.

    Attributes:
        name: key of its figures.
        title: for people.
        source: codec that comes.
        target: codec that leaves.
        wide: judged at 16 kHz.
        to_page: the page's jitter buffer listens.
    """

    name: str
    title: str
    source: str
    target: str
    wide: bool = False
    to_page: bool = False


_CLEAN: Final = (
    Way("pcmu_to_phone", "PCMU passed, page to phone", "PCMU", "PCMU"),
    Way("pcmu_to_page", "PCMU passed, phone to page", "PCMU", "PCMU", to_page=True),
    Way("pcma_to_phone", "PCMA passed, page to phone", "PCMA", "PCMA"),
    Way("pcma_to_page", "PCMA passed, phone to page", "PCMA", "PCMA", to_page=True),
    Way("g722", "G.722 passed, either way", "G722", "G722", wide=True),
    Way("opus", "Opus passed, either way", "opus", "opus", wide=True),
    Way("opus_to_pcmu", "Opus of a page for a phone with PCMU", "opus", "PCMU"),
    Way("pcmu_to_opus", "PCMU of a phone for a page with Opus", "PCMU", "opus"),
    Way("opus_to_g722", "Opus of a page for a phone with G.722", "opus", "G722", wide=True),
    Way("g722_to_opus", "G.722 of a phone for a page with Opus", "G722", "opus", wide=True),
)
_LOSSY: Final = tuple(way for way in _CLEAN if way.name in {"pcmu_to_page", "opus", "opus_to_pcmu", "pcmu_to_opus"})
_AT_LEAST_4: Final = frozenset({"pcmu_to_phone", "pcmu_to_page", "pcma_to_phone", "pcma_to_page", "opus"})


def run(section: Section, *, quick: bool) -> None:
    """Measure all ways."""
    speech = recorded()
    seconds = _QUICK_SECONDS if quick else _SECONDS
    section.conditions.update(speech=speech.source, seconds=seconds)
    spoken = Speech(speech.samples[: seconds * speech.rate_hz], speech.rate_hz, speech.source)
    try:
        with scorer() as judge:
            _measure(section, judge, spoken, quick=quick)
    except NoScorer as why:
        section.skip("pesq", "PESQ and STOI of every way", str(why))


def _measure(section: Section, judge: Scorer, speech: Speech, *, quick: bool) -> None:
    for way in _CLEAN:
        score, _ = _one(judge, speech, way, Loss(), 1)
        bar = _BAR if way.name in _AT_LEAST_4 else None
        section.add(f"clean_{way.name}", f"PESQ, {way.title}", [score.pesq], "MOS", bar=bar, at_least=True)
        section.add(f"clean_stoi_{way.name}", f"STOI, {way.title}", [score.stoi], "", at_least=True)
    rates, seeds = (_QUICK_RATES, _QUICK_SEEDS) if quick else (_RATES, _SEEDS)
    curve: dict[tuple[str, str, int], list[float]] = {}
    delay: dict[tuple[str, str, int], tuple[float, float]] = {}
    for way in _LOSSY:
        for kind, length in _RUNS.items():
            for percent in rates:
                found = [_one(judge, speech, way, Loss(percent, length), seed) for seed in seeds]
                key = f"{way.name}_{kind}_{percent}"
                what = f"{percent} % lost ({kind}), {way.title}"
                scores = [score.pesq for score, _ in found]
                bar = _LOSSY_BAR if percent == _AT_PERCENT else None
                section.add(f"loss_{key}", f"PESQ, {what}", scores, "MOS", bar=bar, at_least=True)
                late = np.concatenate([np.array(carried.delays_ms) for _, carried in found])
                middle, most = float(np.median(late)), float(np.percentile(late, 95))
                section.add(f"delay_p50_{key}", f"Delay by Ponte, median, {what}", [middle], "ms")
                section.add(f"delay_p95_{key}", f"Delay by Ponte, 95 of 100, {what}", [most], "ms")
                curve[way.name, kind, percent], delay[way.name, kind, percent] = scores, (middle, most)
    clean = {way.name: section.entries[f"clean_{way.name}"].median for way in _LOSSY}
    section.plot(_plot(curve, clean, statistics.median, "PESQ"), "loss")
    late_ms = {key: [most] for key, (_, most) in delay.items()}
    section.plot(_plot(late_ms, {}, max, "ms behind a network without faults, 95 of 100"), "delay")


def _one(judge: Scorer, speech: Speech, way: Way, loss: Loss, seed: int) -> tuple[Score, Carried]:
    rate_hz = _WIDE_HZ if way.wide else _NARROW_HZ
    payloads = speak(speech.at(speaking_hz(way.source)), way.source, loss)
    carried = carry(payloads, way.source, way.target, loss, seed)
    if way.to_page:
        sound = _page(carried, 0 if way.source == "PCMU" else 8)
    else:
        sound = heard(carried.packets, way.target, rate_hz, wait_s=_WAIT_S)
    reference = speech.at(rate_hz)
    piece = reference[rate_hz : 5 * rate_hz]  # STOI wants both at the same instants
    sound = sound[max(0, find_offset(piece, sound)[0] - rate_hz) :]
    size = min(len(sound), len(reference))
    return judge.score(reference[:size], sound[:size], rate_hz, wide=way.wide), carried


def _page(carried: Carried, law: int) -> Samples:
    """Return what the page's jitter buffer makes of G.711: one sample at a time, as its worklet asks for them."""
    buffer = Jitter()
    waiting = [(at_s, parse_header(packet).timestamp, payload_of(packet)) for at_s, packet in carried.packets]
    waiting.sort(key=lambda one: one[0], reverse=True)
    out = []
    for n in range(round((waiting[0][0] - START_S) * _NARROW_HZ) + 1600):
        while waiting and waiting[-1][0] <= START_S + n / _NARROW_HZ:
            _, timestamp, payload = waiting.pop()
            buffer.push(payload, law, timestamp, 1)
        out.append(buffer.next())
    return np.array(out)


def _plot(
    values: dict[tuple[str, str, int], list[float]],
    clean: dict[str, float],
    middle: Callable[[list[float]], float],
    label: str,
) -> Figure:
    figure = Figure(figsize=(9, 4))
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), _RUNS, strict=True):
        for way in _LOSSY:
            points = sorted(
                (percent, middle(found)) for (name, other, percent), found in values.items()
                if (name, other) == (way.name, kind)
            )  # fmt: skip
            if way.name in clean:
                points.insert(0, (0, clean[way.name]))
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=way.title)
        axes.set_title("each by itself" if kind == "random" else "runs of two on the average")
        axes.set_xlabel("% of the packets lost")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(label)
    figure.axes[0].legend(fontsize=7)
    return figure
