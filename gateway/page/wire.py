"""The page's events as they come over the wire (docs/ARCHITECTURE.md, section 8.3), checked at the edge."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.domain.errors import RemoteProtocolError
from gateway.domain.page_audio import PageAudio, PageTest
from gateway.domain.states import PageState

_Id = Annotated[str, Field(min_length=1, max_length=256)]


class _Wire(BaseModel):
    # A newer bundle may say more than we know; what we know must be right.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Can(_Wire):
    """Which calls can be had of the page, whatever else is missing."""

    incoming: bool
    outgoing: bool


class PageStateEvent(_Wire):
    """The page's own view of its state."""

    type: Literal["page.state"]
    state: Annotated[PageState, Field(strict=False)]
    detail: Annotated[str, Field(max_length=1000)] = ""
    can: Can | None = None


class CallIncomingEvent(_Wire):
    """Somebody calls."""

    type: Literal["call.incoming"]
    id: _Id
    peer: Annotated[str, Field(max_length=256)] = ""
    phone: Annotated[str, Field(pattern=r"^[0-9]{3,20}$")] | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    video: bool = False


class CallStateEvent(_Wire):
    """A call changed its state (WhatsApp's numbers)."""

    type: Literal["call.state"]
    id: _Id
    state: int
    end_reason: int | None = None
    outgoing: bool = False


class CallGoneEvent(_Wire):
    """A call is over."""

    type: Literal["call.gone"]
    id: _Id
    end_reason: int | None = None
    elsewhere: bool = False


class MediaStateEvent(_Wire):
    """The page's end of the media leg changed its state."""

    type: Literal["media.state"]
    state: Annotated[str, Field(max_length=32)]


_QrText = Annotated[str, Field(min_length=1, max_length=2048)]
_LinkCode = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{4,16}$")]


class QrEvent(_Wire):
    """The QR code on the login page changed; None: there is none any more."""

    type: Literal["session.qr"]
    code: _QrText | None


class LinkCodeEvent(_Wire):
    """The code for linking by phone number was made anew."""

    type: Literal["session.code"]
    code: _LinkCode


class LogEvent(_Wire):
    """Something the page wants an operator to know."""

    type: Literal["log"]
    level: Annotated[str, Field(max_length=16)] = "info"
    message: Annotated[str, Field(max_length=4000)]


_Answer = TypeVar("_Answer", bound=_Wire)

PageEvent = (
    PageStateEvent
    | CallIncomingEvent
    | CallStateEvent
    | CallGoneEvent
    | MediaStateEvent
    | QrEvent
    | LinkCodeEvent
    | LogEvent
)

_EVENTS: TypeAdapter[PageEvent] = TypeAdapter(Annotated[PageEvent, Field(discriminator="type")])


class Check(_Wire):
    """One thing that is needed of the page."""

    name: Annotated[str, Field(max_length=100)]
    found: bool
    use: Annotated[str, Field(max_length=16)]


_Version = Annotated[str, Field(max_length=64)]


class Probe(_Wire):
    """What the bundle found in the page."""

    abi: int = 0
    state: Annotated[PageState, Field(strict=False)]
    detail: str = ""
    can: Can | None = None
    ownNumber: Annotated[str, Field(pattern=r"^[0-9]{3,20}$")] | None = None
    loggedIn: bool = False
    callingEnabled: bool = True
    crossOriginIsolated: bool = True
    waVersion: _Version | None = None
    wajsVersion: _Version | None = None
    needsUpdate: bool = False
    missing: list[str] = []
    checks: Annotated[list[Check], Field(max_length=100)] = []


class Qr(_Wire):
    """The QR code on the login page."""

    code: _QrText | None


class LinkCode(_Wire):
    """What a person types into the phone."""

    code: _LinkCode


class Placed(_Wire):
    """A call that the page placed."""

    id: _Id


class Listing(_Wire):
    """A call that the page has now, whoever placed or took it.

    Attributes:
        ours: a gateway placed or took it, this one or another before it.
    """

    id: _Id
    ours: bool = False


_LISTINGS: TypeAdapter[list[Listing]] = TypeAdapter(list[Listing])


def parse_event(data: dict[str, Any]) -> PageEvent:
    """Check one event of the page.

    Raises:
        RemoteProtocolError: it is not one of ours, or a field of it is wrong.
    """
    try:
        return _EVENTS.validate_python(data)
    except ValidationError as error:
        raise RemoteProtocolError(f"bad page event: {_summary(error)}") from None


def parse_probe(data: object) -> Probe:
    """Check the answer of ``probe()``.

    Raises:
        RemoteProtocolError: it has not the agreed shape.
    """
    return _checked(Probe, data, "the probe")


def parse_placed(data: object) -> Placed:
    """Check the answer of ``dial()``.

    Raises:
        RemoteProtocolError: it has not the agreed shape.
    """
    return _checked(Placed, data, "dial")


def parse_calls(data: object) -> list[Listing]:
    """Check the answer of ``calls()``.

    Raises:
        RemoteProtocolError: it has not the agreed shape.
    """
    try:
        return _LISTINGS.validate_python(data)
    except ValidationError as error:
        raise RemoteProtocolError(f"bad answer of calls: {_summary(error)}") from None


def parse_qr(data: object) -> Qr:
    """Check the answer of ``qr()``.

    Raises:
        RemoteProtocolError: it has not the agreed shape.
    """
    return _checked(Qr, data, "qr")


def parse_link_code(data: object) -> LinkCode:
    """Check the answer of ``linkCode()``.

    Raises:
        RemoteProtocolError: it has not the agreed shape.
    """
    return _checked(LinkCode, data, "linkCode")


class _Level(_Wire):
    rms_dbfs: Annotated[float, Field(strict=False)] | None = None
    frames: int | None = None


class _Buffer(_Wire):
    wait_ms: Annotated[float, Field(strict=False)]
    concealed_ms: Annotated[float, Field(strict=False)]
    packets: int | None = None


class _Stats(_Wire):
    mic: _Level | None = None
    speaker: _Level | None = None
    jitter_buffer_ms: Annotated[float, Field(strict=False)] | None = None
    mic_buffer: _Buffer | None = None
    worklet: str = "plain"
    speaker_taken: bool | None = None


def parse_audio(data: object) -> PageAudio:
    """Check the answer of ``stats()``, and give what it says of the sound.

    Raises:
        RemoteProtocolError: it has not the agreed shape.
    """
    stats = _checked(_Stats, data, "stats")
    buffer = stats.mic_buffer
    return PageAudio(
        mic_dbfs=stats.mic.rms_dbfs if stats.mic is not None else None,
        speaker_dbfs=stats.speaker.rms_dbfs if stats.speaker is not None else None,
        wait_ms=buffer.wait_ms if buffer is not None else stats.jitter_buffer_ms,
        concealed_ms=buffer.concealed_ms if buffer is not None else None,
        mic_packets=buffer.packets if buffer is not None else None,
        speaker_frames=stats.speaker.frames if stats.speaker is not None and stats.worklet == "wasm" else None,
        speaker_taken=stats.speaker_taken,
        mic_frames=stats.mic.frames if stats.mic is not None and stats.worklet == "wasm" else None,
    )


class _Test(_Wire):
    aborted: bool
    played: bool
    packets: int | None
    heard_dbfs: Annotated[float, Field(strict=False)] | None
    took_ms: Annotated[float, Field(strict=False)] | None


def parse_test(data: object) -> PageTest:
    """Check the answer of ``selfTest()``.

    Raises:
        RemoteProtocolError: it has not the agreed shape.
    """
    test = _checked(_Test, data, "selfTest")
    return PageTest(test.aborted, test.played, test.packets, test.heard_dbfs, test.took_ms)


def _checked(model: type[_Answer], data: object, command: str) -> _Answer:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise RemoteProtocolError(f"bad answer of {command}: {_summary(error)}") from None


def _summary(error: ValidationError) -> str:
    """Name the faulty fields only: their values may be personal data."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in error.errors()[:3])
