"""What an account says of its parts and calls; the answer of ``GET /call/bridge/status``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.domain.hops import CallPath
from gateway.domain.ids import CallId
from gateway.domain.states import CallState, Direction, Origin


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part.

    Attributes:
        state: the part's own word for where it is, for example ``READY`` or ``registered``.
        detail: one sentence for people: why, and what mends it. No secret; empty where there is nothing to say.
    """

    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CallSummary:
    """One call in progress, as its own account may see it.

    Attributes:
        peer: the WhatsApp party's number, digits only; empty where unknown. Personal data.
        created_at: aware, UTC.
        answered_at: None until both legs are up.
        ringing_at: None until the called phone rings.
        origin: who asked for the call.
        peer_name: the WhatsApp party's name, where WhatsApp knows one. Personal data.
        sip_user: the extension that is rung, or that dialled.
        sip_name: display name of who dialled, where the PBX gave one. Personal data.
        held: neither side hears the other.
        muted: the WhatsApp side does not hear the phone.
        transfer: where the SIP side is being moved to, or was, and how far that is;
            None where nobody asked for it.
        recording: where its recording is, as records keep it; None where there is none.
        quality: figures of the audio so far, as records keep them; None before there is any.
        path: every hop of the sound over the last second; None before people can hear each other.
    """

    id: CallId
    direction: Direction
    state: CallState
    peer: str
    created_at: datetime
    answered_at: datetime | None = None
    ringing_at: datetime | None = None
    origin: Origin = Origin.SIP
    peer_name: str | None = None
    sip_user: str | None = None
    sip_name: str | None = None
    held: bool = False
    muted: bool = False
    transfer: tuple[str, str] | None = None
    quality: Mapping[str, Any] | None = None
    path: CallPath | None = None
    recording: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BridgeStatus:
    """The state of every part of one account, and its calls.

    Attributes:
        page: WhatsApp Web.
        media: the WebRTC leg to it.
        registration: ours with the SIP server.
        listener: where calls come in.
        phones: those that registered with us.
        calls: in progress.
    """

    page: PartStatus
    media: PartStatus
    registration: PartStatus
    listener: PartStatus
    phones: PartStatus
    calls: tuple[CallSummary, ...] = ()
