"""What is remembered, within bounds, of where requests come from: failures, pace, proved passwords."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Limits of what a source may do.

    Attributes:
        failures: wrong passwords within *failure_window_s* after which a source is refused unheard.
        failure_window_s: the window, seconds.
        block_s: how long it is refused; doubled each time that it happens again.
        block_cap_s: longest such time.
        forgive_s: quiet after which the doubling starts anew.
        answers_per_s: answers to a source that has not proved a password, on average. A trunk that starts with 50
            calls a second is challenged for each of the first.
        answer_burst: and at once.
        known_s: how long a source counts as known after a right password.
        most: most sources that are remembered, in each of the tables.
    """

    failures: int = 10
    failure_window_s: float = 60.0
    block_s: float = 60.0
    block_cap_s: float = 3600.0
    forgive_s: float = 7200.0
    answers_per_s: float = 50.0
    answer_burst: int = 500
    known_s: float = 3600.0
    most: int = 4096


def source_key(host: str) -> str:
    """Return what one sender cannot change at will: the address, of IPv6 the first 64 bits."""
    if ":" not in host:
        return host
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


@dataclass(slots=True)
class _Failures:
    count: int
    since_s: float
    blocks: int = 0
    until_s: float = 0.0


class FailureLimit:
    """Counts failures in a table whose least recently failed entry goes first, and blocks for ever longer times."""

    def __init__(self, limits: SourceLimits) -> None:
        self._limits = limits
        self._entries: OrderedDict[Hashable, _Failures] = OrderedDict()

    def blocked(self, key: Hashable, now: float) -> bool:
        """Return whether *key* failed too often lately."""
        entry = self._entries.get(key)
        return entry is not None and now < entry.until_s

    def failed(self, key: Hashable, now: float, *, grows: bool = True) -> None:
        """Count a failure; without *grows* each block is as short as the first."""
        limits = self._limits
        entry = self._entries.pop(key, None)
        if entry is None or now - max(entry.since_s, entry.until_s) >= limits.forgive_s:
            entry = _Failures(0, now)
        if now - entry.since_s >= limits.failure_window_s:
            entry.count, entry.since_s = 0, now
        entry.count += 1
        if entry.count >= limits.failures:
            # the exponent is kept small: 2.0 ** 2000 would overflow
            pause = min(limits.block_s * 2.0 ** (min(entry.blocks, 20) if grows else 0), limits.block_cap_s)
            entry.count, entry.since_s, entry.blocks, entry.until_s = 0, now, entry.blocks + 1, now + pause
        self._entries[key] = entry
        while len(self._entries) > limits.most:
            self._entries.popitem(last=False)

    def forgive(self) -> None:
        """Forget every failure, because the passwords changed."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)


class Pace:
    """A bucket of answers for each source; one that was dropped from the full table starts with a full bucket."""

    def __init__(self, limits: SourceLimits) -> None:
        self._limits = limits
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, source: str, now: float) -> bool:
        """Return whether *source* may be answered now, and count the answer."""
        limits = self._limits
        left, since = self._buckets.pop(source, (float(limits.answer_burst), now))
        left = min(float(limits.answer_burst), left + (now - since) * limits.answers_per_s)
        allowed = left >= 1
        self._buckets[source] = (left - 1 if allowed else left, now)
        while len(self._buckets) > limits.most:
            self._buckets.popitem(last=False)
        return allowed

    def __len__(self) -> int:
        return len(self._buckets)


class KnownSources:
    """Who proved a password lately: the network reached it, so what we send there it asked for itself."""

    def __init__(self, limits: SourceLimits) -> None:
        self._limits = limits
        self._until: OrderedDict[str, float] = OrderedDict()

    def add(self, source: str, now: float) -> None:
        """Note a right password."""
        self._until.pop(source, None)
        self._until[source] = now + self._limits.known_s
        while len(self._until) > self._limits.most:
            self._until.popitem(last=False)

    def has(self, source: str, now: float) -> bool:
        """Return whether *source* is known."""
        return self._until.get(source, now) > now

    def __len__(self) -> int:
        return len(self._until)
