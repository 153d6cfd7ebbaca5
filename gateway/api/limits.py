"""How often somebody may ask. No clock, no sockets."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_MAX_NAMES: Final = 10_000  # who was not heard of for longest is forgotten first


class RateLimit:
    """One token bucket a name.

    Args:
        per_s: tokens that come back in a second.
        burst: tokens of a full bucket.
        max_names: buckets that are remembered.
    """

    def __init__(self, per_s: float, burst: float, *, max_names: int = _MAX_NAMES) -> None:
        self._per_s = per_s
        self._burst = burst
        self._max_names = max_names
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def take(self, name: str, now_s: float) -> float:
        """Take a token; give 0, or the seconds after which there will be one."""
        tokens, before_s = self._buckets.pop(name, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - before_s) * self._per_s)
        granted = tokens >= 1
        self._buckets[name] = (tokens - 1 if granted else tokens, now_s)
        if len(self._buckets) > self._max_names:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1 - tokens) / self._per_s


class Limits:
    """The limits of one API.

    Args:
        requests_per_s: of one account.
        offers_per_min: calls that one account begins.
    """

    def __init__(self, requests_per_s: float, offers_per_min: float) -> None:
        self.requests = RateLimit(requests_per_s, 2 * requests_per_s)
        self.offers = RateLimit(offers_per_min / 60, max(1.0, offers_per_min / 6))
        self.failures = RateLimit(1.0, 20)  # of one address: wrong keys
