"""What a script tells of its page, and a call of that page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from gateway.domain import termination as t
from gateway.domain.ids import PageCallId
from gateway.domain.page_call import PageActive, PageCallEvent, PageEnded, PageRinging
from gateway.domain.termination import Termination
from gateway.page.driver import Peer

REASONS: Final = {
    "hangup": t.HANGUP,
    "busy": t.BUSY,
    "declined": t.DECLINED,
    "no_answer": t.NO_ANSWER,
    "unreachable": t.UNREACHABLE,
    "not_found": t.NOT_ON_WHATSAPP,
    "elsewhere": t.ELSEWHERE,
}
"""The words by which a script says why a call ended."""

_EVENTS_PER_CALL: Final = 4  # ringing, active and ended, each once


class ScriptCall:
    """One call of the page; see `gateway.page.driver.PageCall`."""

    def __init__(
        self, page_call_id: PageCallId, peer: Peer, *, outgoing: bool, run: Callable[[str], Awaitable[None]]
    ) -> None:
        self.page_call_id = page_call_id
        self.peer = peer
        self.outgoing = outgoing
        self.termination: Termination | None = None
        self._run = run
        self._told: set[type[PageCallEvent]] = set()
        self._events: asyncio.Queue[PageCallEvent] = asyncio.Queue(_EVENTS_PER_CALL)

    @property
    def ended(self) -> bool:
        """Whether the call is over."""
        return self.termination is not None

    async def next_event(self) -> PageCallEvent:
        """Wait for the next event; `PageEnded` is the last one."""
        return await self._events.get()

    async def accept(self) -> None:
        """Answer by the script's `answer`; the call is active when that returns."""
        await self._run("answer")
        self.tell(PageActive())

    async def reject(self) -> None:
        """Decline by the script's `reject`."""
        await self._end("reject")

    async def hangup(self) -> None:
        """End the call by the script's `hangup`; harmless when it is over."""
        await self._end("hangup")

    def tell(self, event: PageCallEvent) -> None:
        """Pass an event on; what was told before, or comes after the end, is dropped."""
        if self.ended or type(event) in self._told:
            return
        if isinstance(event, PageRinging) and PageActive in self._told:
            return
        self._told.add(type(event))
        if isinstance(event, PageEnded):
            self.termination = event.termination
        self._events.put_nowait(event)

    async def _end(self, function: str) -> None:
        if self.ended:
            return
        try:
            await self._run(function)
        finally:
            self.tell(PageEnded(t.HANGUP))


class EventsListener(Protocol):
    """Who hears what a script tells."""

    def script_ready(self, ready: bool, why: str) -> None:
        """Take whether calls can be made."""

    def script_incoming(self, peer: Peer) -> None:
        """Take a call that rings."""

    def script_event(self, event: PageCallEvent) -> None:
        """Take an event of the call there is."""


class ScriptEvents:
    """What `watch(page, events)` is given. Each method may be called any number of times."""

    def __init__(self, listener: EventsListener) -> None:
        self._listener = listener

    def ready(self) -> None:
        """Calls can be made and taken; it is so until `not_ready` says otherwise."""
        self._listener.script_ready(True, "")

    def not_ready(self, why: str) -> None:
        """No calls can be made now; *why* is shown to the operator, for example that somebody has to sign in."""
        self._listener.script_ready(False, str(why)[:1000])

    def incoming(self, number: str | None = None, name: str | None = None) -> None:
        """Somebody calls.

        Args:
            number: the caller's, in any form; None where the page shows none.
            name: the caller's, where the page shows one.
        """
        digits = re.sub(r"\D", "", number or "") or None
        self._listener.script_incoming(Peer(digits, name))

    def ringing(self) -> None:
        """The called person's phone really rings."""
        self._listener.script_event(PageRinging())

    def active(self) -> None:
        """The call is answered and carries audio."""
        self._listener.script_event(PageActive())

    def ended(self, reason: str = "hangup") -> None:
        """The call is over.

        Args:
            reason: one of `REASONS`.

        Raises:
            ValueError: it is none of them.
        """
        if reason not in REASONS:
            raise ValueError(f"the reason of a call's end is one of {', '.join(REASONS)}")
        self._listener.script_event(PageEnded(REASONS[reason]))
