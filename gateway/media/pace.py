"""When packets are taken: each as it comes, or several at fixed instants where they are many. No clock, no I/O."""

from __future__ import annotations

from typing import Final

_RATE_OVER_S: Final = 0.1  # how long packets are counted for
_WORTH: Final = 1.25  # packets in the longest period: with fewer, some instants would come for none


class Pace:
    """The pace of one process.

    A packet waits half a period on average and one at most. What is saved is a waking up for each packet, which costs
    as much as the work on it.

    Args:
        batch: packets that one instant is to find, where the bounds let it: the period is as long as they take to come.
        least_s: the shortest period, whatever comes.
        most_s: the longest period.

    Attributes:
        period_s: between two instants; 0: packets are taken as they come.
    """

    __slots__ = ("_batch", "_counted", "_counted_from_s", "_least_s", "_most_s", "period_s")

    def __init__(self, *, batch: float, least_s: float, most_s: float) -> None:
        self.period_s = 0.0
        self._batch = batch
        self._least_s = least_s
        self._most_s = most_s
        self._counted = 0
        self._counted_from_s = 0.0

    def count(self, packets: int, now_s: float) -> None:
        """Take note of *packets* that were found at the monotonic instant *now_s*."""
        self._counted += packets
        over_s = now_s - self._counted_from_s
        if over_s < _RATE_OVER_S:
            return
        rate = self._counted / over_s
        self._counted, self._counted_from_s = 0, now_s
        if rate * self._most_s < _WORTH:
            self.period_s = 0.0
        else:
            self.period_s = min(max(self._batch / rate, self._least_s), self._most_s)
