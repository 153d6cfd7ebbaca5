"""Where a call is, and where a page is. Why a call ended is a `Termination`."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import IllegalTransition


class Direction(enum.StrEnum):
    """Who placed the call."""

    WHATSAPP_TO_SIP = "whatsapp_to_sip"
    SIP_TO_WHATSAPP = "sip_to_whatsapp"


class CallState(enum.StrEnum):
    """Where a bridged call is."""

    CREATED = "CREATED"
    CONNECTING = "CONNECTING"
    RINGING = "RINGING"
    EARLY_MEDIA = "EARLY_MEDIA"
    ACTIVE = "ACTIVE"
    ENDING = "ENDING"
    ENDED = "ENDED"


class Origin(enum.StrEnum):
    """Who asked for a call."""

    WHATSAPP = "whatsapp"
    SIP = "sip"
    API = "api"


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Something that moves a call from one state to the next."""


class Dialed(CallEvent):
    """The called leg was asked to ring."""


class RemoteRinging(CallEvent):
    """The called party's phone rings."""


class EarlyMedia(CallEvent):
    """The called side sends audio before it answers."""


class Answered(CallEvent):
    """Both legs are up."""


class Terminating(CallEvent):
    """One side ended the call or a part failed; the other side is being told."""


class Terminated(CallEvent):
    """Both legs are gone."""


CALL_TRANSITIONS: Final[dict[tuple[CallState, type[CallEvent]], CallState]] = {
    (CallState.CREATED, Dialed): CallState.CONNECTING,
    (CallState.CONNECTING, RemoteRinging): CallState.RINGING,
    (CallState.CONNECTING, EarlyMedia): CallState.EARLY_MEDIA,
    (CallState.CONNECTING, Answered): CallState.ACTIVE,
    (CallState.RINGING, RemoteRinging): CallState.RINGING,
    (CallState.RINGING, EarlyMedia): CallState.EARLY_MEDIA,
    (CallState.RINGING, Answered): CallState.ACTIVE,
    (CallState.EARLY_MEDIA, RemoteRinging): CallState.EARLY_MEDIA,
    (CallState.EARLY_MEDIA, EarlyMedia): CallState.EARLY_MEDIA,
    (CallState.EARLY_MEDIA, Answered): CallState.ACTIVE,
    **{(state, Terminating): CallState.ENDING for state in CallState if state not in {"ENDING", "ENDED"}},
    (CallState.ENDING, Terminated): CallState.ENDED,
}


def next_call_state(state: CallState, event: CallEvent) -> CallState:
    """Return the state after *event*.

    Raises:
        IllegalTransition: *event* is not allowed in *state*; nothing changed.
    """
    try:
        return CALL_TRANSITIONS[state, type(event)]
    except KeyError:
        raise IllegalTransition(state, event) from None


class PageState(enum.StrEnum):
    """Where the page of an account is."""

    DETACHED = "DETACHED"
    ATTACHING = "ATTACHING"
    LOADING = "LOADING"
    LOGIN_REQUIRED = "LOGIN_REQUIRED"
    INJECTING = "INJECTING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    LOST = "LOST"

    @property
    def healthy(self) -> bool:
        """Whether calls can be made and taken."""
        return self is PageState.READY
