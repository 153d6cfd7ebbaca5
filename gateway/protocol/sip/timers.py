"""The timers of RFC 3261 section 17 and one heap that holds them all."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

TimerCallback = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Timers:
    """Timer values (RFC 3261 table 4), in seconds.

    Attributes:
        t1_s: estimate of the round trip.
        t2_s: longest interval between two retransmissions.
        t4_s: longest time that a message stays in the network.
    """

    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0

    @property
    def give_up_s(self) -> float:
        """Timers B, D, F, H, J, L and M: 64*T1 (D is "at least 32 s", which is the same at the default T1)."""
        return 64 * self.t1_s


class Timer:
    """One pending timer; `cancel` makes it never fire."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: TimerCallback) -> None:
        self.when = when
        self.callback: TimerCallback | None = callback

    def cancel(self) -> None:
        """Forget the timer; cancelling twice is harmless."""
        self.callback = None


class TimerHeap:
    """All timers of a core. Cancelled ones stay until they surface or outnumber the live ones."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._sweep_at = 1024

    def at(self, when: float, callback: TimerCallback) -> Timer:
        """Call *callback* with the time then, at monotonic second *when*."""
        timer = Timer(when, callback)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        if len(self._heap) > self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._sweep_at = max(1024, 2 * len(self._heap))
        return timer

    def next_timeout(self) -> float | None:
        """Return when the next live timer is due, in monotonic seconds."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> TimerCallback | None:
        """Take the next timer that is due at *now*, or None."""
        due = self.next_timeout()
        if due is None or due > now:
            return None
        timer = heapq.heappop(self._heap)[2]
        callback, timer.callback = timer.callback, None
        return callback

    def __len__(self) -> int:
        return sum(entry[2].callback is not None for entry in self._heap)
