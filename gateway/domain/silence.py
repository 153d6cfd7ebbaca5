"""When the silence of a peer is worth asking it whether it is still there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """What to do now.

    Attributes:
        silent: the peer has been silent for the whole time that it may be.
        wait_s: when to look again, in seconds.
    """

    silent: bool
    wait_s: float


class SilenceWatch:
    """Follows one peer. It is silent when it was heard before, has not been for *limit_s*, and nothing explains it.

    After a silence that was told the time begins anew, so that a peer that says "I am here" is left alone for a while.

    Args:
        limit_s: how long it may be silent.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since_s = float("-inf")

    def look(self, now: float, heard_s: float | None, *, explained: bool) -> Look:
        """Look at the peer.

        Args:
            now: monotonic seconds.
            heard_s: when it was heard last, None before the first time.
            explained: nothing is to be expected of it now, for example since it holds the call.
        """
        if heard_s is None or explained:
            self._since_s = now
            return Look(False, self._limit_s)
        due = max(heard_s, self._since_s) + self._limit_s
        if now < due:
            return Look(False, due - now)
        self._since_s = now
        return Look(True, self._limit_s)
