"""What the API takes and gives, as pydantic models: what validates, what answers and what `/openapi.json` shows."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

from gateway.bridge.control import TransferState
from gateway.domain.hops import Hop
from gateway.domain.offer import EXTENSION_PATTERN
from gateway.domain.recording import RecordingFormat, RecordingState
from gateway.domain.states import CallState, Direction, Origin
from gateway.domain.termination import Result
from gateway.domain.trace import MOST_ENTRIES, Lane, TraceKind
from gateway.events.models import EVENTS, Envelope, Instant
from gateway.events.quality import Quality

_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:")  # pydantic would take a number of seconds as well
_NUMBER = re.compile(r"\+?[0-9]{5,15}")


def _whole(value: object) -> object:
    """To JSON Schema 160.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _rfc3339(value: object) -> object:
    if isinstance(value, str) and not _RFC3339.match(value):
        raise ValueError("must be an instant such as 2026-11-23T12:00:00Z")
    return value


When = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]


def _digits(value: str) -> str:
    return value.removeprefix("+")


Number = Annotated[
    StrictStr,
    Field(pattern=rf"^{_NUMBER.pattern}$", examples=["+5511987654321"], description="E.164, with or without the plus"),
    AfterValidator(_digits),
]


class Request(BaseModel):
    """Base of what is taken: an unknown field is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """Base of what is given."""

    model_config = ConfigDict(frozen=True)


class Party(Answer):
    """The WhatsApp side of a call."""

    number: str | None = Field(description="Digits of the E.164 number; null where WhatsApp does not tell it")
    name: str | None = Field(description="The contact's name, where WhatsApp Web knows one")


class Phone(Answer):
    """The SIP side of a call."""

    user: str | None = Field(description="The extension that was rung, or the user that dialled")
    name: str | None = Field(default=None, description="Display name of who dialled, where the PBX gave one")


class Ending(Answer):
    """Why a call ended (docs/ARCHITECTURE.md, section 4)."""

    result: Result = Field(description="Whose doing it was")
    reason: str = Field(description="Stable slug", examples=["hangup", "busy", "no_answer"])
    sip_status: int | None = Field(description="The SIP status that says it, where the call was not answered")
    q850_cause: int | None = Field(description="ITU-T Q.850 cause")


class Recording(Answer):
    """A call's recording."""

    file: str = Field(description="Name of the file; GET /calls/{id}/recording gives it")
    format: RecordingFormat = RecordingFormat.OPUS
    state: RecordingState | Literal["deleted"] = Field(
        default=RecordingState.DONE,
        description="`recording`; `stopped`, which may be begun again; `done`; `failed` before the call's end; "
        "`interrupted`: the gateway died in the call, and the file is whole up to the last second; `deleted`",
    )
    duration_s: float = Field(description="Of the sound in the file")
    bytes: int = 0
    started_at: Instant | None = None
    reason: str = Field(default="", description="Why it failed, for example disk_full")
    detail: str = Field(default="", description="The same for people")


class CallRecordView(Answer):
    """What is kept of a call."""

    id: str
    direction: Direction
    origin: Origin = Field(description="Who asked for the call")
    state: CallState
    whatsapp: Party
    sip: Phone
    created_at: Instant
    ringing_at: Instant | None
    answered_at: Instant | None
    ended_at: Instant | None
    duration_s: float | None = Field(description="From the answer to the end; null where one of them is missing")
    ending: Ending | None = Field(description="null while the call runs")
    quality: Quality | None = Field(description="null while the call runs, and where no audio was set up")
    recording: Recording | None


class TraceEntryView(Answer):
    """One line of a call's ladder."""

    at_ms: int = Field(ge=0, description="Since started_at")
    source: Lane = Field(serialization_alias="from", description="Who told it")
    target: Lane = Field(serialization_alias="to", description="Whom; the same as `from` for a note at that lane")
    kind: TraceKind
    text: str = Field(description="A SIP method or status, a command to the page, a state", examples=["180 Ringing"])
    detail: str = Field(description="More about it; may be empty", examples=["INVITE, SDP"])
    leg: str = Field(description="Which SIP dialog of the call, counted from 1; empty where it is none's")


class TraceView(Answer):
    """The time line of a call. Nothing in it is personal."""

    call_id: str
    started_at: Instant = Field(description="When it begins")
    truncated: bool = Field(description="Entries are missing: there were too many, or none was written down")
    entries: list[TraceEntryView] = Field(max_length=MOST_ENTRIES)


class TransferView(Answer):
    """A transfer of the SIP side."""

    extension: str = Field(description="Who is rung, or was")
    state: TransferState


class HopView(Answer):
    """One place that the sound of a call passes, over about the last second."""

    hop: Hop
    packets: int | None = Field(description="That passed; of the page's own hops, frames; null where nobody counts")
    level_dbfs: float | None = Field(description="How loud it was; null where nobody can tell")
    silent: bool | None = Field(description="Whether nothing was to be heard")
    delay_ms: float | None = Field(description="That it adds, or half of the round trip to its end")


class PathView(Answer):
    """The way of a call's sound."""

    wa_to_sip: list[HopView]
    sip_to_wa: list[HopView]
    broken: list[Hop] = Field(description="Hops that nothing comes to, or at which sound becomes silence")
    why: list[str] = Field(description="The same as sentences")


class CallView(Answer):
    """A call, in progress or over."""

    id: str
    direction: Direction
    origin: Origin = Field(description="Who asked for the call")
    state: CallState
    whatsapp: Party
    sip: Phone
    created_at: Instant
    ringing_at: Instant | None
    answered_at: Instant | None
    ended_at: Instant | None
    held: bool = Field(description="Neither side hears the other")
    muted: bool = Field(description="The WhatsApp side does not hear the phone")
    transfer: TransferView | None = Field(description="The latest transfer that this API was asked for")
    quality: Quality | None = Field(description="Figures of the audio so far; null where none was set up yet")
    path: PathView | None = Field(description="Every hop of the sound; null where people do not hear each other")
    recording: Recording | None
    ending: Ending | None = Field(description="null while the call runs")


class LiveCalls(Answer):
    """The calls in progress."""

    calls: list[CallView]


Extension = Annotated[
    StrictStr,
    Field(
        pattern=EXTENSION_PATTERN,
        examples=["6001"],
        description="An extension of sipServer, or a SIP address at its host: every call goes through it",
    ),
]


class CheckView(Answer):
    """What one check found."""

    check: str = Field(examples=["chrome", "helper", "assets", "page", "sip listener", "sip server"])
    ok: bool
    detail: str = Field(description="What was found, or what is wrong")
    fix: str = Field(description="The way to mend it; empty where it is well")


class BridgeTest(Answer):
    """What a configuration comes to."""

    ok: bool
    checks: list[CheckView]


class NoFields(Request):
    """An empty object, or no body at all."""


class OfferRequest(Request):
    """A call that is asked for."""

    number: Number = Field(description="Whom to call on WhatsApp: E.164, with or without the plus")
    extension: Extension | None = Field(
        default=None, description="The phone that is rung first; left out: the configuration's sipExtension"
    )


class MuteRequest(Request):
    """Whether the WhatsApp side is to hear the phone."""

    muted: StrictBool = True


class RecordRequest(Request):
    """Whether the call is to be recorded."""

    recording: StrictBool = True


class DtmfRequest(Request):
    """Telephone keys."""

    digits: StrictStr = Field(pattern=r"^[0-9*#A-Da-d]{1,64}$", examples=["12#"])
    duration_ms: Annotated[int, Field(strict=True, ge=50, le=2000), BeforeValidator(_whole)] = Field(
        default=160, description="Of each key"
    )


class KeysTaken(Answer):
    """What became of keys."""

    taken: int = Field(description="How many are played; the rest found no room behind those that wait")


class TransferRequest(Request):
    """Who is to take the phone's place."""

    extension: Extension


class CallList(Answer):
    """A page of call records, newest first."""

    calls: list[CallRecordView]
    next: str | None = Field(description="Give it as `cursor` for the next page; null on the last one")


class CallsFilter(Request):
    """Which records are wanted."""

    direction: Direction | None = None
    origin: Origin | None = None
    state: CallState | None = None
    result: Result | None = Field(default=None, description="Whose doing the end was")
    reason: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")] | None = Field(
        default=None, description="Why it ended, for example busy"
    )
    number: Number | None = Field(default=None, description="Of the WhatsApp party")
    since: When | None = Field(default=None, description="Calls that began then or later (RFC 3339)")
    until: When | None = Field(default=None, description="Calls that began before (RFC 3339)")
    answered: Literal["true", "false"] | None = None


class CallsQuery(CallsFilter):
    """Which records are wanted, and which page of them."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")] | None = Field(
        default=None, description="`next` of the page before"
    )


class EraseRequest(Request):
    """Whose data is to be deleted."""

    number: Number


class Erased(Answer):
    """What was deleted."""

    calls: int = Field(description="Call records")


EventId = Annotated[str, Field(pattern=r"^evt_[0-9]{1,18}$", examples=["evt_17"])]
EventType = Annotated[StrictStr, Field(json_schema_extra={"enum": list(EVENTS)})]


class EventsQuery(Request):
    """Which events are wanted."""

    after: EventId | None = Field(default=None, description="The id of the last event that you have")
    limit: Annotated[int, Field(ge=1, le=500)] = Field(default=100, description="Of a list; streams have no end")


class EventList(Answer):
    """Events of the log, oldest first."""

    events: list[Envelope]


def _known(types: list[str]) -> list[str]:
    for name in types:
        if name not in EVENTS:
            raise ValueError(f"must be event types: {', '.join(EVENTS)}")
    return list(dict.fromkeys(types))


EventTypes = Annotated[list[EventType], Field(max_length=20), AfterValidator(_known)]
WebhookUrl = Annotated[
    StrictStr,
    Field(
        min_length=8, max_length=2048, json_schema_extra={"format": "uri"}, examples=["https://crm.example.com/hook"]
    ),
]


class WebhookRequest(Request):
    """A webhook that is asked for."""

    url: WebhookUrl = Field(description="https, to a public address, without a password")
    events: EventTypes = Field(default=[], description="Types that are sent; empty: all")


class WebhookChange(Request):
    """What is to change of a webhook; what is left out stays."""

    url: WebhookUrl | None = None
    events: EventTypes | None = None
    enabled: StrictBool | None = Field(default=None, description="Switched on, it gets at once what waits for it")


class WebhookView(Answer):
    """A webhook."""

    id: str
    url: str
    events: list[str] = Field(description="Types that are sent; empty: all")
    enabled: bool
    disabled_reason: str = Field(description="Why it was switched off by itself; empty where it was not")
    created_at: Instant
    failures: int = Field(description="Tries in a row that failed")
    paused_until: Instant | None = Field(description="No try before; null: it works")
    old_secret_until: Instant | None = Field(description="How long the secret before the last rotation signs as well")


class WebhookSecret(WebhookView):
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(description="whsec_ and base64 (Standard Webhooks)")


class WebhookList(Answer):
    """The account's webhooks."""

    webhooks: list[WebhookView]


class AttemptView(Answer):
    """One try to deliver."""

    at: Instant
    status: int | None = Field(description="HTTP status; null where no answer came")
    error: str
    duration_ms: int


class DeliveryView(Answer):
    """One event for one webhook."""

    id: str
    event: Envelope
    state: Literal["pending", "delivered", "failed"]
    next_try_at: Instant | None
    attempts: list[AttemptView]


class DeliveriesQuery(Request):
    """Which page of a webhook's log."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] | None = Field(
        default=None, description="The last id of the page before"
    )


class DeliveryList(Answer):
    """A webhook's log, newest first."""

    deliveries: list[DeliveryView]
