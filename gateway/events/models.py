"""The events: one pydantic model a type, from which they are written and documented."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from gateway.domain.hops import Hop
from gateway.domain.states import CallState, Direction, Origin
from gateway.domain.termination import Result
from gateway.events.quality import Quality


def utc_text(value: datetime) -> str:
    """Return an instant as the API writes it: UTC, milliseconds."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[AwareDatetime, PlainSerializer(utc_text, return_type=str, when_used="json")]


class Event(BaseModel):
    """What one event says; its type is the name that people know it by."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: ClassVar[str]

    @property
    def number(self) -> str | None:
        """Whose data it is, so that it can be deleted for one person: digits of the WhatsApp number."""
        return None


class _CallEvent(Event):
    call_id: str
    direction: Direction
    origin: Origin = Field(description="Who asked for the call")
    whatsapp_number: str | None = Field(description="Digits of the E.164 number; null where WhatsApp does not tell it")
    whatsapp_name: str | None
    sip_user: str | None = Field(description="The extension that is rung, or that dialled")

    @property
    def number(self) -> str | None:
        """The WhatsApp party's number."""
        return self.whatsapp_number


class CallIncoming(_CallEvent):
    """Somebody calls by WhatsApp, and the phone is about to be rung."""

    type: ClassVar[str] = "call.incoming"


class CallStateChanged(_CallEvent):
    """A call came into another state."""

    type: ClassVar[str] = "call.state"
    state: CallState


class CallEnded(_CallEvent):
    """A call is over. The last event of a call; its record is in the database by then."""

    type: ClassVar[str] = "call.ended"
    created_at: Instant
    answered_at: Instant | None
    ended_at: Instant | None
    duration_s: float | None = Field(description="From the answer to the end; null where it was never answered")
    result: Result = Field(description="Whose doing the end was")
    reason: str = Field(description="Stable slug, for example busy")
    sip_status: int | None
    q850_cause: int | None
    quality: Quality | None = Field(default=None, description="Figures of the audio; null where none was set up")


class CallRecording(_CallEvent):
    """A call's recording began, stopped or failed. One that was stopped may begin again, in the same file."""

    type: ClassVar[str] = "call.recording"
    state: Literal["started", "stopped", "failed"] = Field(
        description="`stopped` also at the call's end; `failed`: it ended before, and the call goes on"
    )
    file: str = Field(description="Name of the file; GET /calls/{id}/recording gives it")
    format: Literal["opus", "wav"]
    duration_s: float = Field(description="Of the sound in the file")
    bytes: int
    reason: str = Field(description="Why it failed: disk_full, file_too_big, not_allowed, disk_error, …; else empty")
    detail: str = Field(description="The same for people")


class PageStateChanged(Event):
    """WhatsApp Web came into another state."""

    type: ClassVar[str] = "page.state"
    state: str = Field(
        description="DETACHED, ATTACHING, LOADING, LOGIN_REQUIRED, INJECTING, READY, DEGRADED or LOST (docs/api.md); "
        "`disabled` where the bridge is off"
    )
    detail: str = Field(description="A sentence for people: why, and what mends it")


class SessionQr(Event):
    """WhatsApp Web shows a code. Whoever scans it has the session: only the account's owner may see it."""

    type: ClassVar[str] = "session.qr"
    code: str = Field(description="The text of the QR code")
    expires_at: Instant | None = Field(default=None, description="When another code takes its place, where known")


class RegistrationStateChanged(Event):
    """The registration with the SIP server came into another state."""

    type: ClassVar[str] = "registration.state"
    state: str = Field(description="disabled, trying, registered, refused, failed")
    detail: str


class AudioOneWay(_CallEvent):
    """In a call that is up, neither held nor muted, one side is not heard for two seconds; or it is heard again."""

    type: ClassVar[str] = "audio.one_way"
    silent: Literal["wa_to_sip", "sip_to_wa"] | None = Field(
        description="The direction that is not heard; null: both flow"
    )
    hop: Hop | None = Field(description="Where its sound gets lost")
    why: str | None = Field(description="The same as a sentence")


class AccountStateChanged(Event):
    """The account's bridge was switched on or off, or stops with the gateway."""

    type: ClassVar[str] = "account.state"
    state: Literal["enabled", "disabled", "draining"]


EVENTS: Final[dict[str, type[Event]]] = {
    model.type: model
    for model in (
        CallIncoming, CallStateChanged, CallEnded, CallRecording, PageStateChanged, SessionQr,
        RegistrationStateChanged, AudioOneWay, AccountStateChanged,
    )
}  # fmt: skip
"""Every type, in the order of the documentation."""


class Envelope(BaseModel):
    """An event as everybody gets it: subscribers and webhooks alike."""

    id: str = Field(description="Grows from event to event; resume after it. Webhooks carry it as webhook-id")
    type: str = Field(examples=list(EVENTS))
    timestamp: Instant = Field(description="When it happened")
    data: dict[str, object] = Field(description="By the type; see docs/events.md")
