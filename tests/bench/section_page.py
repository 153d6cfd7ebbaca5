"""The page's audio path: page speaker to RTP on the wire, RTP to page microphone, beside the same by PulseAudio.

Real Chromium with the stand-in in a call, a phone in a process of its own; bursts of a tone at irregular distances in
both directions. Rounds of Ponte (packets of 20 ms), Ponte (10 ms) and PulseAudio are interleaved. After that the
longest gap in a steady tone, in one long call, the first words of short ones, and speech judged by PESQ (`speech.py`).

- up: from the page's playback worklet emitting the first sample of a burst to the packet with it on the wire, and so
  with the time that it takes to fill a packet.
- down: from a packet on the wire to its first sample in the page's capture worklet. Where a burst begins within a
  packet, its place in the packet is taken off; with it (raw) half a packet comes on top.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tests.bench.page import pulse, speech
from tests.bench.page.figures import Delays, bursts, delays, longest_gap_ms, played_by_phone
from tests.bench.page.phone import RATE_HZ as PHONE_HZ
from tests.bench.page.world import Bridged, Line, PhoneProcess, bridged, phone
from tests.bench.results import Section
from tests.support.audio import Samples, sine, wav_bytes

PAGE_HZ: Final = 16_000
SETTLE_S: Final = 10.0  # in which both jitter buffers come to rest
BARS: Final = {"up": (15.0, 25.0, 5.0, 12.0), "down": (25.0, 45.0, 10.0, 15.0)}


@dataclass(slots=True)
class Candidate:
    """One way of the sound, and what was measured of it, a tuple for each round."""

    name: str
    title: str
    open: Callable[[], contextlib.AbstractAsyncContextManager[Line]]
    ptime_ms: int = 20
    rounds: list[Delays] = field(default_factory=list)

    def values(self, name: str, percent: float) -> list[float]:
        """A percentile of each round."""
        return [float(np.percentile(getattr(one, name), percent)) for one in self.rounds]


def run(section: Section, *, quick: bool) -> None:
    """Measure."""
    asyncio.run(_measure(section, quick=quick))


async def _measure(section: Section, *, quick: bool) -> None:
    candidates = [
        Candidate("ponte", "Ponte, packets of 20 ms", bridged),
        Candidate("ponte_10ms", "Ponte, packets of 10 ms", bridged, 10),
    ]
    lacking = pulse.missing()
    if lacking:
        for key in ("pulse_up_p50", "pulse_down_p50"):
            section.skip(key, "PulseAudio null sinks", lacking)
    else:
        candidates.append(Candidate("pulse", "PulseAudio null sinks", pulse.pulsed))
    seconds = 15.0 if quick else 40.0
    async with phone() as peer:
        for turn in range(1 if quick else 3):
            for candidate in candidates:
                async with candidate.open() as line:
                    candidate.rounds.append(await _round(line, peer, candidate.ptime_ms, seconds, seed=turn))
        _tell_delays(section, candidates)
        async with bridged() as line:
            gaps = await _gaps(line, peer, 30.0 if quick else 600.0)
            words = [await _first_words(line, peer) for _ in range(2 if quick else 5)]
            await speech.measure(section, line, peer, rounds=1 if quick else 3, seconds=8.0 if quick else 16.0)
    section.add("gap_up", "longest gap at a phone with 60 ms of buffer, steady tone", [gaps["up"]], "ms", bar=60)
    section.add("gap_down", "longest gap at the far end, steady tone", [gaps["down"]], "ms", bar=60)
    section.add("lost_up", "packets that the phone never got", [gaps["lost"]], "packets", bar=0)
    section.add("concealed", "sound that the page's buffer made up, of each second", [gaps["concealed"]], "ms")
    for way, title in (
        ("up", "from the phone's answer to the first audible packet at the phone"),
        ("down", "from the later of answer and phone's first packet to the first sound in the page's microphone"),
    ):
        section.add(f"first_word_{way}", title, [one[way] for one in words], "ms", bar=300)
    section.conditions["gap_call_s"] = gaps["seconds"]


def _tell_delays(section: Section, candidates: list[Candidate]) -> None:
    medians: dict[tuple[str, str], float] = {}
    for one in candidates:
        for way, of in (("up", "up"), ("down", "down_path"), ("down_raw", "down")):
            p50, p95, aim50, aim95 = BARS.get(way, (None,) * 4) if one.name == "ponte" else (None,) * 4
            at_50, at_95 = one.values(of, 50), one.values(of, 95)
            medians[one.name, way] = float(np.median(at_50))
            section.add(f"{one.name}_{way}_p50", f"{one.title}: {way}, p50", at_50, "ms", bar=p50, aim=aim50)
            section.add(f"{one.name}_{way}_p95", f"{one.title}: {way}, p95", at_95, "ms", bar=p95, aim=aim95)
        section.add(f"{one.name}_missed", f"{one.title}: bursts not heard", [float(x.lost) for x in one.rounds], "")
    if ("pulse", "up") in medians:
        for way in ("up", "down"):
            share = medians["ponte", way] / medians["pulse", way]
            section.add(f"{way}_share", f"{way}, p50: Ponte's share of PulseAudio's", [share], "", bar=0.5)
    section.plot(_figure(candidates), "delay")


def _figure(candidates: list[Candidate]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    for place, (way, title) in enumerate((("up", "page speaker to wire"), ("down_path", "wire to page microphone"))):
        axes = figure.add_subplot(1, 2, place + 1)
        for one in candidates:
            values = np.sort([value for measured in one.rounds for value in getattr(measured, way)])
            axes.plot(values, np.linspace(0, 100, len(values)), label=one.title)
        axes.set(title=title, xlabel="ms", ylabel="% of bursts", xlim=(0, 150))
        axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    return figure


async def _round(line: Line, peer: PhoneProcess, ptime_ms: int, seconds: float, seed: int) -> Delays:
    async with _in_call(line, peer, ptime_ms) as to:
        await peer.talk(to, np.zeros(0), SETTLE_S, ptime_ms=ptime_ms)
        await line.stand_in.request("DELETE", "/marks")
        said_by_page, _ = bursts(seconds, 2 * seed, rate_hz=PAGE_HZ)
        said, at = bursts(seconds, 2 * seed + 1)
        await line.stand_in.say_wav(wav_bytes(said_by_page, PAGE_HZ))
        kept = await peer.talk(to, said, seconds, ptime_ms=ptime_ms)
        marks = await line.stand_in.marks()
        return delays(kept, at, _instants(marks["emitted"]), _instants(marks["received"]))


async def _gaps(line: Bridged, peer: PhoneProcess, seconds: float) -> dict[str, float]:
    async with _in_call(line, peer) as to:
        await peer.talk(to, sine(1000, -20, 3, PHONE_HZ), 3)
        tone = sine(700, -20, 60, PAGE_HZ)
        for _ in range(round(seconds + 5) // 60 + 1):
            await line.stand_in.say_wav(wav_bytes(tone, PAGE_HZ))
        before = (await line.figures())["mic_buffer"]["concealed_ms"]
        kept = await peer.talk(to, sine(1000, -20, seconds, PHONE_HZ), seconds)
        concealed = (await line.figures())["mic_buffer"]["concealed_ms"] - before
        heard = (await line.stand_in.heard(min(seconds, 590.0))).astype(np.float64) / 32768
        return {
            "seconds": seconds,
            "lost": float(kept.lost),
            "up": longest_gap_ms(_inner(played_by_phone(kept), PHONE_HZ), PHONE_HZ),
            "down": longest_gap_ms(_inner(heard, PAGE_HZ), PAGE_HZ),
            # less what is made up at its beginning and end: the phone speaks a little shorter than it is listened to
            "concealed": max(0.0, concealed - 160) / seconds,
        }


def _inner(sound: Samples, rate_hz: int) -> Samples:
    """Without the first and last two seconds: both sides begin and end at instants of their own."""
    return sound[2 * rate_hz : -2 * rate_hz]


async def _first_words(line: Bridged, peer: PhoneProcess) -> dict[str, float]:
    """Both sides speak already when the call is answered."""
    await line.stand_in.request("DELETE", "/marks")
    await line.stand_in.say_wav(wav_bytes(sine(700, -15, 6, PAGE_HZ), PAGE_HZ))
    async with _in_call(line, peer) as to:
        kept = await peer.talk(to, sine(1000, -15, 3, PHONE_HZ), 3, since_s=line.answered_s)
        marks = await line.stand_in.marks()
    audible = np.flatnonzero(np.abs(kept.heard) > 0.01)
    up_s = kept.on_wire_s(int(audible[0])) - line.answered_s if len(audible) else float("inf")
    first = min((at for at in _instants(marks["received"]) if at >= kept.sent_s[0]), default=float("inf"))
    # the phone speaks from its answer on, which is not before its first packet
    return {"up": 1000 * up_s, "down": 1000 * (first - max(line.answered_s, float(kept.sent_s[0])))}


def _instants(marks: list[dict[str, Any]]) -> list[float]:
    return [float(mark["at"]) for mark in marks]


@contextlib.asynccontextmanager
async def _in_call(line: Line, peer: PhoneProcess, ptime_ms: int = 20) -> AsyncIterator[tuple[str, int]]:
    to = await line.call(peer.port, ptime_ms=ptime_ms)
    try:
        yield to
    finally:
        await line.hang_up()
