"""Which sockets wake a process up for packets, where many have some. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CYCLE_S: Final = 0.02  # nearly all audio comes in packets of 20 ms: what came last 20 ms ago comes now
_WORTH: Final = 32  # sockets (16 calls): with fewer, one that comes late finds no waker soon after it


def wakers(arrivals: Mapping[int, float], wait_s: float) -> set[int]:
    """Return the sockets to be woken up by: no packet that keeps its time waits longer than *wait_s* for one of them.

    Each is the last one to come within *wait_s* of the first one that waits, so that they are as few as can be.

    Args:
        arrivals: when a packet of each socket came, in seconds of any clock.
        wait_s: the longest wait.
    """
    if len(arrivals) < _WORTH:
        return set(arrivals)
    chosen: set[int] = set()
    first_s, last = -CYCLE_S, -1  # the first one that waits, and the last one so far
    for phase_s, opened in sorted((at_s % CYCLE_S, opened) for opened, at_s in arrivals.items()):
        if phase_s - first_s > wait_s:
            chosen.add(last)
            first_s = phase_s
        last = opened
    chosen.add(last)
    chosen.discard(-1)
    return chosen
