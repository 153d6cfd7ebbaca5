"""The time line of one call: what its two sides and Ponte told each other, as a ladder shows it. Pure.

Nothing here may be personal: no SDP, numbers, names, addresses, keys. Texts are words of ours and of the RFCs.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MOST_ENTRIES: Final = 300  # a long call with holds and a transfer has some 80


class Lane(enum.StrEnum):
    """Who speaks and who hears."""

    PBX = "pbx"
    PONTE = "ponte"
    PAGE = "page"


class TraceKind(enum.StrEnum):
    """What an entry is about."""

    SIP = "sip"
    PAGE = "page"
    MEDIA = "media"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One line of the ladder.

    Attributes:
        at_ms: since the time line began.
        source: who told it.
        target: whom; the same as *source* for a note at that lane.
        kind: what it is about.
        text: in a word or two: ``INVITE``, ``180 Ringing``, ``accept``.
        detail: more about it.
        leg: which SIP dialog of the call, counted from 1; empty where it is none's.
    """

    at_ms: int
    source: Lane
    target: Lane
    kind: TraceKind
    text: str
    detail: str = ""
    leg: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A call's time line.

    Attributes:
        started_at: when it begins, in UTC: with its first entry.
        truncated: entries between its beginning and its end were left out.
    """

    started_at: datetime
    entries: tuple[TraceEntry, ...] = ()
    truncated: bool = False


class HeadAndTail(Generic[T]):
    """A bounded list that keeps its first and its last items: how a call began and ended says most.

    Args:
        most: how many items it keeps.
    """

    def __init__(self, most: int) -> None:
        self._head_most = most - most // 3
        self._head: list[T] = []
        self._tail: deque[T] = deque(maxlen=most // 3)
        self.dropped = 0

    def add(self, item: T) -> None:
        """Add an item at the end."""
        if len(self._head) < self._head_most:
            self._head.append(item)
            return
        self.dropped += len(self._tail) == self._tail.maxlen
        self._tail.append(item)

    def __iter__(self) -> Iterator[T]:
        yield from self._head
        yield from self._tail


@dataclass(slots=True)
class SipLine:
    """One SIP message of a dialog, and how often it was seen.

    Attributes:
        at_s: monotonic instant of the first.
        sent: whether we sent it.
        key: the same for each retransmission.
        text: method, or status and phrase.
        detail: what else matters of it.
        times: how often it was sent or came.
    """

    at_s: float
    sent: bool
    key: tuple[str, ...]
    text: str
    detail: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class _Noted:
    at_s: float
    source: Lane
    target: Lane
    kind: TraceKind
    text: str
    detail: str


class TimeLine:
    """Collects a call's entries; the SIP messages of its dialogs are read where they are kept.

    Args:
        made_at: when the call was made, in UTC.
        made_s: the same as a monotonic instant.
        most: entries that are kept.
    """

    def __init__(self, made_at: datetime, made_s: float, most: int = MOST_ENTRIES) -> None:
        self._made_at, self._made_s = made_at, made_s
        self._most = most
        self._notes: HeadAndTail[_Noted] = HeadAndTail(most)
        self._dialogs: list[Iterable[SipLine]] = []

    def add(self, at_s: float, source: Lane, target: Lane, kind: TraceKind, text: str, detail: str = "") -> None:
        """Add an entry.

        Args:
            at_s: monotonic instant.
            source: who told it.
            target: whom; the same as *source* for a note.
            kind: what it is about.
            text: in a word or two.
            detail: more about it.
        """
        self._notes.add(_Noted(at_s, source, target, kind, text, detail))

    def follow(self, dialog: Iterable[SipLine]) -> None:
        """Have the messages of a SIP dialog among the entries; the first one is leg 1."""
        self._dialogs.append(dialog)

    def view(self) -> Trace:
        """Return the entries up to now, in the order of time."""
        found: list[tuple[float, _Noted | SipLine, str]] = [(one.at_s, one, "") for one in self._notes]
        for number, dialog in enumerate(self._dialogs, 1):
            found += [(line.at_s, line, str(number)) for line in dialog]
        found.sort(key=lambda one: one[0])
        kept: HeadAndTail[tuple[float, _Noted | SipLine, str]] = HeadAndTail(self._most)
        for one in found:
            kept.add(one)
        start_s = min(self._made_s, found[0][0]) if found else self._made_s  # an INVITE comes before its call is made
        entries = tuple(_entry(round((at_s - start_s) * 1000), one, leg) for at_s, one, leg in kept)
        truncated = kept.dropped + self._notes.dropped > 0
        return Trace(self._made_at - timedelta(seconds=self._made_s - start_s), entries, truncated)


def _entry(at_ms: int, one: _Noted | SipLine, leg: str) -> TraceEntry:
    if isinstance(one, _Noted):
        return TraceEntry(at_ms, one.source, one.target, one.kind, one.text, one.detail)
    source, target = (Lane.PONTE, Lane.PBX) if one.sent else (Lane.PBX, Lane.PONTE)
    again = f"{one.times} times" if one.times > 1 else ""
    detail = ", ".join(part for part in (one.detail, again) if part)
    return TraceEntry(at_ms, source, target, TraceKind.SIP, one.text, detail, leg)
