"""A call as the web client shows it: WhatsApp's numbers in, three events out.

The numbers are WhatsApp Web's own (docs/ARCHITECTURE.md, section 8.3); nothing outside this module reads them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from gateway.domain import termination as t
from gateway.domain.termination import Termination


class WaCallState(enum.IntEnum):
    """WhatsApp Web's call states."""

    NONE = 0
    CALLING = 1
    PREACCEPT_RECEIVED = 2
    RECEIVED_CALL = 3
    ACCEPT_SENT = 4
    ACCEPT_RECEIVED = 5
    CALL_ACTIVE = 6
    CALL_ACTIVE_ELSEWHERE = 7
    RECEIVED_CALL_WITHOUT_OFFER = 8
    REJOINING = 9
    LINK = 10
    CONNECTED_LONELY = 11
    PRE_CALLING = 12
    CALL_STATE_ENDING = 13
    CALL_B_CALL_STARTING = 14


class WaEndReason(enum.IntEnum):
    """WhatsApp Web's end reasons."""

    TIMEOUT = 1
    SELF = 2
    REJECT_DO_NOT_DISTURB = 3
    REJECT_BLOCKED = 4
    MIC_PERMISSION_DENIED = 5


@dataclass(frozen=True, slots=True)
class PageCallEvent:
    """Something that happened to a call in the page."""


@dataclass(frozen=True, slots=True)
class PageRinging(PageCallEvent):
    """The called person's phone really rings."""


@dataclass(frozen=True, slots=True)
class PageActive(PageCallEvent):
    """The call is answered and carries audio."""


@dataclass(frozen=True, slots=True)
class PageEnded(PageCallEvent):
    """The call is over.

    Attributes:
        termination: why, in the words that the PBX is told.
    """

    termination: Termination


_ACTIVE: Final = {
    True: frozenset({WaCallState.ACCEPT_RECEIVED, WaCallState.CALL_ACTIVE}),
    False: frozenset({WaCallState.CALL_ACTIVE}),
}
"""By `outgoing`: what says that both sides are connected. ACCEPT_SENT does not: the caller may be gone by then."""

_UNANSWERED: Final = {
    WaEndReason.TIMEOUT: t.NO_ANSWER,
    WaEndReason.REJECT_DO_NOT_DISTURB: t.BUSY,
    WaEndReason.REJECT_BLOCKED: t.UNREACHABLE,
    WaEndReason.MIC_PERMISSION_DENIED: t.MEDIA_FAILED,
}


class PageCallProgress:
    """Follows one call of the page.

    Repeated and unknown numbers give nothing; after the end nothing comes any more.

    Args:
        outgoing: the page placed the call.
    """

    def __init__(self, *, outgoing: bool) -> None:
        self.outgoing = outgoing
        self.ringing = False
        self.active = False
        self.ended = False

    def on_state(self, state: int, end_reason: int | None = None) -> PageCallEvent | None:
        """Take WhatsApp's number for the state; give what it means, if it is news."""
        if self.ended:
            return None
        if state == WaCallState.CALL_ACTIVE_ELSEWHERE:
            return self.on_gone(end_reason, elsewhere=True)
        if state == WaCallState.CALL_STATE_ENDING and (self.active or not self.outgoing):
            # An unanswered outgoing call goes on until `on_gone`, which has the reason that the PBX is told.
            return self.on_gone(end_reason)
        if state == WaCallState.PREACCEPT_RECEIVED and self.outgoing and not (self.ringing or self.active):
            self.ringing = True
            return PageRinging()
        if state in _ACTIVE[self.outgoing] and not self.active:
            self.active = True
            return PageActive()
        return None

    def on_gone(self, end_reason: int | None, *, elsewhere: bool = False) -> PageEnded | None:
        """Take the end of the call; give why it ended, once."""
        if self.ended:
            return None
        self.ended = True
        return PageEnded(self._termination(end_reason, elsewhere=elsewhere))

    def on_lost(self, termination: Termination) -> PageEnded | None:
        """Take the loss of the page; give the end, once."""
        if self.ended:
            return None
        self.ended = True
        return PageEnded(termination)

    def _termination(self, end_reason: int | None, *, elsewhere: bool) -> Termination:
        if self.active:
            return t.HANGUP
        if not self.outgoing:
            return t.ELSEWHERE if elsewhere else t.CANCELLED
        known = _UNANSWERED.get(WaEndReason(end_reason)) if end_reason in set(WaEndReason) else None
        if known is not None:
            return known
        # WhatsApp gives no reason of its own for a person's "no": it can only come from a phone that rang.
        return t.DECLINED if self.ringing else t.UNREACHABLE
