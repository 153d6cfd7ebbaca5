"""Packets put in order for a decoder, with as little waiting as the line lets: none while it is clean.

On a line that loses or overtakes packets the buffer holds each one back for a while (its delay), so that what is
missing can be waited for, and a lost packet be made good by the next one in time. A loss is believed only when a later
packet is there: a sender that pauses looks like one whose packets are late.

Pure: instants come in as monotonic seconds, and `next_timeout` says when to come back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

MAX_DELAY_MS: Final = 60
_MARGIN_S: Final = 0.01  # of arrival that is not quite even
_LOSSES: Final = 3  # runs of them in _WATCHED_S: 1 packet of 80 of 20 ms; fewer are not worth a delay
_OVERTAKEN: Final = 2
_WATCHED_S: Final = 5.0
_CALM_S: Final = 10.0  # without any until nothing is held back any more
_WINDOW: Final = 50  # packets by whose quickest the due instant of others is told; 1 s
_LATE_S: Final = 0.1  # what waited longer somewhere is left out when more comes behind it at once
_BURST_S: Final = 0.005
_MAX_HELD: Final = 64
_MAX_MISSING: Final = 100  # more than that is another stream
_ENOUGH_S: Final = 1e-4  # timers are not more exact than that


@dataclass(frozen=True, slots=True)
class Came:
    """A packet, in its turn.

    Attributes:
        timestamp: of its first sample, without wraps.
        payload: empty for a packet that is no sound.
        units: how long it lasts, in timestamp units.
        tag: as it was given in.
    """

    timestamp: int
    payload: bytes
    units: int
    tag: object = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A packet that is missing.

    Attributes:
        timestamp: where it would have begun.
        units: how long it would have lasted.
        following: payload of the packet behind it, where that one is there.
        more: how many more are missing behind it.
    """

    timestamp: int
    units: int
    following: bytes | None = None
    more: int = 0


class ReorderBuffer:
    """One stream.

    Args:
        clock_rate_hz: of its timestamps.
    """

    __slots__ = (
        "_best", "_best_before", "_calm_at_s", "_clock", "_delay_s", "_end", "_events", "_expected",
        "_held", "_in_window", "_units", "late", "left_out", "lost",
    )  # fmt: skip

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock = clock_rate_hz
        self._held: dict[int, tuple[Came, float]] = {}  # by number, with the instant of arrival
        self._expected: int | None = None  # number, without wraps
        self._end = 0  # timestamp behind the last packet that left
        self._units = 0  # of that packet
        self._best: float | None = None  # arrival minus timestamp of the quickest packet of this window
        self._best_before: float | None = None
        self._in_window = 0
        self._events: deque[tuple[float, float, bool]] = deque(maxlen=64)  # instant, needed delay, overtaken
        self._delay_s = 0.0
        self._calm_at_s = 0.0
        self.lost = 0
        self.late = 0  # came when they had been made good
        self.left_out = 0  # of what waited during a stall

    @property
    def delay_ms(self) -> int:
        """How long packets are held back now: 0 to 60."""
        return round(self._delay_s * 1000)

    def restart(self) -> None:
        """Forget what is held: another stream begins."""
        self._held.clear()
        self._expected = None
        self._best = self._best_before = None
        self._in_window = 0

    def push(self, sequence: int, timestamp: int, payload: bytes, units: int, now_s: float, tag: object = None) -> None:
        """Take a packet in.

        Args:
            sequence: its number, 16 bits.
            timestamp: 32 bits.
            payload: its payload; empty for one that is no sound, whose timestamp does not count.
            units: how long it lasts.
            now_s: when it came.
            tag: given back with it.
        """
        expected = self._expected
        if expected is None:
            self._expected = number = sequence
            self._end = timestamp
        else:
            number = expected + _signed(sequence - expected, 16)
            timestamp = self._end + _signed(timestamp - self._end, 32)
            if not expected - _MAX_MISSING <= number <= expected + _MAX_MISSING:
                self.restart()
                self._expected, self._end = sequence, timestamp
                number = sequence
        if units:
            self._time(timestamp, now_s)
        assert self._expected is not None
        if number < self._expected:
            self.late += 1
            if units:
                # by how much it missed its turn, and it is not the last one to do so
                self._event(now_s, now_s - self.due_s(timestamp) + self._delay_s + _MARGIN_S, overtaken=True)
            return
        if len(self._held) < _MAX_HELD and number not in self._held:
            self._held[number] = (Came(timestamp, payload, units, tag), now_s)

    def pull(self, now_s: float) -> Came | Lost | None:
        """Return what leaves next, None where nothing does yet."""
        while self._held:
            assert self._expected is not None
            found = self._held.get(self._expected)
            if found is None:
                return self._missing(now_s)
            packet, came_s = found
            if packet.units:
                due = self.due_s(packet.timestamp)
                if self._delay_s and now_s < due - _ENOUGH_S:
                    return None
                if came_s - due + self._delay_s > _LATE_S:
                    if len(self._held) > 1:
                        self.left_out += 1
                        self._pass(packet)
                        continue
                    if now_s < came_s + _BURST_S - _ENOUGH_S:
                        return None
            self._pass(packet)
            return packet
        return None

    def next_timeout(self) -> float | None:
        """Return the instant at which `pull` has something that it has not now; None where only a packet gives it."""
        if not self._held:
            return None
        assert self._expected is not None
        found = self._held.get(self._expected)
        if found is None:
            return self.due_s(self._end)
        packet, came_s = found
        return (
            max(self.due_s(packet.timestamp), came_s + _BURST_S) if self._lag(found) else self.due_s(packet.timestamp)
        )

    def _lag(self, found: tuple[Came, float]) -> bool:
        return found[1] - self.due_s(found[0].timestamp) + self._delay_s > _LATE_S

    def _pass(self, packet: Came) -> None:
        assert self._expected is not None
        del self._held[self._expected]
        self._expected += 1
        if packet.units:
            self._end = packet.timestamp + packet.units
            self._units = packet.units

    def _missing(self, now_s: float) -> Lost | None:
        assert self._expected is not None
        first = min(self._held)
        if self._delay_s and now_s < self.due_s(self._end) - _ENOUGH_S:
            return None
        behind = self._held[first][0]
        count = first - self._expected
        # Where the packets behind do not say how much is missing (a pause began as well), as much as the last one had.
        units = min(self._units, max(0, behind.timestamp - self._end) // count) if behind.units else self._units
        lost = Lost(self._end, units, behind.payload if count == 1 and behind.units else None, count - 1)
        self._expected += 1
        self._end += units
        self.lost += 1
        if not lost.more:  # a run of losses is one
            self._event(now_s, (behind.units or self._units) / self._clock + _MARGIN_S, overtaken=False)
        return lost

    def _time(self, timestamp: int, now_s: float) -> None:
        """Learn from a packet's arrival how early packets can come, and whether the line has become calm."""
        transit = now_s - timestamp / self._clock
        if self._best is None or transit < self._best:
            self._best = transit
        self._in_window += 1
        if self._in_window >= _WINDOW:
            self._best_before, self._best, self._in_window = self._best, None, 0
        if self._delay_s and now_s > self._calm_at_s:
            self._delay_s = 0.0

    def due_s(self, timestamp: int) -> float:
        """Return when what begins at *timestamp* leaves, were it there."""
        best, before = self._best, self._best_before
        if best is None:
            best = before if before is not None else 0.0
        elif before is not None and before < best:
            best = before
        return best + timestamp / self._clock + self._delay_s

    def _event(self, now_s: float, needed_s: float, *, overtaken: bool) -> None:
        self._events.append((now_s, needed_s, overtaken))
        fresh = [event for event in self._events if event[0] > now_s - _WATCHED_S]
        self._calm_at_s = now_s + _CALM_S
        late = [event[1] for event in fresh if event[2]]
        wanted = 0.0
        if len(late) >= _OVERTAKEN:
            wanted = max(late)
        if len(fresh) - len(late) >= _LOSSES:
            wanted = max(wanted, *(event[1] for event in fresh if not event[2]))
        self._delay_s = max(self._delay_s, min(wanted, MAX_DELAY_MS / 1000))


def _signed(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half
