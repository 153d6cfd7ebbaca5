"""From what a phone kept and a page's worklets marked to delays, gaps and first words. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from gateway.codecs.g711 import encode_ulaw
from tests.bench.page.phone import RATE_HZ
from tests.support.audio import Samples, match_latencies, onsets
from tests.support.audio_g711 import decode_g711

BURST_S: Final = 0.1
_WINDOW: Final = RATE_HZ // 200  # 5 ms


@dataclass(frozen=True, slots=True)
class Kept:
    """What a phone sent and what it got.

    Attributes:
        sent_s: instant of each packet sent, and `sent_at` the first sample in it.
        came_s: instant of each packet that came, and `came_at` the first sample in it, by its timestamp.
        heard: what came, laid out by timestamps; what never came is silence.
        lost: packets that never came, by their numbers.
        late_s: how much later than the earliest each packet came.
    """

    sent_s: Samples
    sent_at: Samples
    came_s: Samples
    came_at: Samples
    heard: Samples
    lost: int
    late_s: Samples

    @classmethod
    def load(cls, path: Path, since_s: float = 0.0) -> Kept:
        """Read what a phone wrote, leaving out what had come before *since_s*: it may be of an earlier call."""
        with np.load(path) as loaded:
            found = dict(loaded)
            starts = np.concatenate(([0], np.cumsum(found["came_bytes"])))
            first = int(np.searchsorted(found["came_s"], since_s))
            found["came"] = found["came"][starts[first] :]
            for name in ("came_s", "came_sequence", "came_timestamp", "came_bytes"):
                found[name] = found[name][first:]
            stamps = found["came_timestamp"]
            base = stamps[0] if len(stamps) else 0
            at = (stamps - base + 2**31) % 2**32 - 2**31
            lengths = found["came_bytes"]
            starts = np.concatenate(([0], np.cumsum(lengths)))
            heard = np.zeros(int(np.max(at + lengths)) if len(at) else 0)
            sound = decode_g711(found["came"].tobytes(), 0)
            for n, place in enumerate(at):
                if place >= 0:
                    heard[place : place + lengths[n]] = sound[starts[n] : starts[n + 1]]
            numbers = np.unwrap(found["came_sequence"].astype(float), period=65536)
            lost = int(numbers.max() - numbers.min() + 1 - len(numbers)) if len(numbers) else 0
            lateness = found["came_s"] - at / RATE_HZ
            late = lateness - lateness.min() if len(at) else lateness
            return cls(found["sent_s"], found["sent_timestamp"], found["came_s"], at, heard, lost, late)

    def on_wire_s(self, sample: int) -> float:
        """When the packet with *sample* of what was heard was on the wire."""
        return float(self.came_s[np.flatnonzero(self.came_at <= sample)[-1]])

    def went_s(self, sample: int) -> tuple[float, float]:
        """When the packet with *sample* of what was said was on the wire, and how deep in it that sample stands."""
        n = int(np.searchsorted(self.sent_at, sample, side="right")) - 1
        return float(self.sent_s[n]), float(sample - self.sent_at[n]) / RATE_HZ


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays of bursts, in ms.

    Attributes:
        up: from the page's playback worklet emitting a burst to the packet with its first sample on the wire.
        down: from that packet on the wire to the page's capture worklet receiving the sample.
        down_path: the same less the sample's place in its packet: what every sample is delayed by.
        lost: bursts that were not matched, both directions.
    """

    up: tuple[float, ...]
    down: tuple[float, ...]
    down_path: tuple[float, ...]
    lost: int


def delays(kept: Kept, said_at: Sequence[int], emitted_s: Sequence[float], received_s: Sequence[float]) -> Delays:
    """Match what was emitted with what came.

    Args:
        kept: the phone's side.
        said_at: first sample of each burst that the phone said.
        emitted_s: instants at which the page emitted a burst.
        received_s: instants at which the page received one.
    """
    came = [kept.on_wire_s(at) for at in onsets(kept.heard, RATE_HZ)]
    up = match_latencies(emitted_s, came)
    went = [kept.went_s(at) for at in said_at if at < kept.sent_at[-1]]
    down, path = [], []
    for at_s, deep_s in went:
        # no two bursts are closer than this
        found = min((one for one in received_s if at_s <= one < at_s + 0.39), default=None)
        if found is not None:
            down.append(found - at_s)
            path.append(found - at_s - deep_s)
    lost = max(0, len(emitted_s) - len(up)) + len(went) - len(down)
    return Delays(_ms(up), _ms(down), _ms(path), lost)


def _ms(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(1000 * value for value in values)


def bursts(seconds: float, seed: int, *, rate_hz: int = RATE_HZ, hz: float = 1000.0) -> tuple[Samples, list[int]]:
    """Return bursts of a tone at irregular distances, and the first sample of each."""
    random = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * rate_hz))
    # a sine that begins at its peak: the first sample is the first that is heard
    tone = 0.3 * np.cos(2 * np.pi * hz * np.arange(round(BURST_S * rate_hz)) / rate_hz)
    starts = []
    at = round(0.5 * rate_hz)
    while at + len(tone) < len(sound):
        sound[at : at + len(tone)] = tone
        starts.append(at)
        at += round((0.4 + 0.12 * random.random()) * rate_hz)
    return sound, starts


def mulaw(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return *samples* as mu-law bytes."""
    return np.frombuffer(encode_ulaw(array("h", np.round(samples * 32767).astype(int).tolist())), dtype=np.uint8)


def longest_gap_ms(heard: Samples, rate_hz: int) -> float:
    """The longest time in which a steady tone was not heard, or hardly (10 dB down), leaving out both ends."""
    window = rate_hz // 200
    usable = heard[: len(heard) // window * window].reshape(-1, window)
    level = np.sqrt(np.mean(usable**2, axis=1))
    usual = float(np.median(level))
    if usual < 1e-3:
        return float("inf")
    quiet = level < usual * 10 ** (-10 / 20)
    inside = np.flatnonzero(~quiet)
    quiet = quiet[inside[0] : inside[-1] + 1]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.astype(np.int8), [0]))))
    return float((edges[1::2] - edges[::2]).max() * 5) if len(edges) else 0.0


def played_by_phone(kept: Kept, buffer_s: float = 0.06) -> Samples:
    """What a phone with a jitter buffer of this depth plays: a packet that comes later is silence."""
    heard = kept.heard.copy()
    # by the second in which it comes: a buffer follows the clocks, which drift
    for n in np.flatnonzero(kept.late_s > buffer_s):
        heard[max(0, kept.came_at[n]) : kept.came_at[n] + RATE_HZ // 50] = 0
    return heard
