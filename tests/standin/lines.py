"""What the far end is made of: a call, and the two lines to a page. Their bookkeeping only, no decisions."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

CallState = Literal["calling", "ringing", "accepted", "active", "ended"]
Message = dict[str, Any]


class NotNow(Exception):
    """What was asked for does not fit the present state; the message is a sentence for the caller."""


def lid_of(phone: str) -> str:
    """Return the LID of a number: always the same one, and it does not show the number."""
    return str(10**14 + int.from_bytes(hashlib.sha256(phone.encode()).digest()[:6], "big") % 10**14)


@dataclass(slots=True)
class Call:
    """One call, as the far end sees it. ``incoming`` and ``outgoing`` are the page's directions."""

    id: str
    direction: Literal["incoming", "outgoing"]
    phone: str
    lid: str | None
    name: str | None
    video: bool
    state: CallState
    began_at: float
    accepted_at: float | None = None
    active_at: float | None = None
    ended_at: float | None = None
    ended_by: str | None = None
    reason: str | None = None
    offered: bool = False
    group: bool = False

    @property
    def jid(self) -> str:
        """The peer as the page is to know it."""
        if self.group:
            return f"{self.phone}-1700000000@g.us"
        return f"{self.lid}@lid" if self.lid else f"{self.phone}@c.us"

    @property
    def audible(self) -> bool:
        """Whether both sides have taken the call, so that audio flows."""
        return self.state in ("accepted", "active")

    def describe(self) -> Message:
        """Return what ``GET /state`` says of the call."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "offered"} | {"jid": self.jid}


@dataclass(slots=True, eq=False)
class PageLine:
    """One connected page: what is sent to it, and what it last said of itself."""

    outbox: asyncio.Queue[Message | None] = field(default_factory=lambda: asyncio.Queue(256))
    device: str = ""
    stack_ready: bool = False
    report: Message = field(default_factory=dict)

    def send(self, message: Message) -> None:
        """Queue a message. A page that takes none for 256 messages is as good as gone."""
        if not self.outbox.full():
            self.outbox.put_nowait(message)

    def close(self) -> None:
        """Close the line once everything was sent."""
        if self.outbox.full():
            self.outbox.get_nowait()
        self.outbox.put_nowait(None)


@dataclass(slots=True, eq=False)
class MediaLine:
    """The audio line of one call. A full box drops its oldest frame and counts it."""

    call_id: str
    outbox: asyncio.Queue[bytes | str | None] = field(default_factory=lambda: asyncio.Queue(50))  # 1 s of frames
    said: int = 0
    heard: int = 0
    gaps: int = 0
    dropped: int = 0
    counts: Message = field(default_factory=dict)

    def describe(self) -> Message:
        """Return what ``GET /state`` says of the line; the page's worker counts its own troubles."""
        return {
            "call": self.call_id, "frames_said": self.said, "frames_heard": self.heard, "heard_gaps": self.gaps,
            "frames_dropped": self.dropped, "page": self.counts,
        }  # fmt: skip

    def send(self, data: bytes | str) -> None:
        """Queue a frame or a text."""
        if self.outbox.full():
            self.outbox.get_nowait()
            self.dropped += 1
        self.outbox.put_nowait(data)
