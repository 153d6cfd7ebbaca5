"""What the remote control takes. Everything unknown is refused."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

RejectReason = Literal["declined", "busy", "timeout", "unreachable", "blocked"]


def _digits(value: str) -> str:
    digits = re.sub(r"[\s()./+-]", "", value)
    if not re.fullmatch(r"[1-9]\d{4,14}", digits):
        raise ValueError("must be a phone number of 5 to 15 digits, with or without +")
    return digits


Phone = Annotated[str, AfterValidator(_digits)]
Milliseconds = Annotated[int, Field(ge=0, le=60_000)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, strict=True)


class RingRequest(_Closed):
    """Somebody calls the page's account.

    Attributes:
        waits_s: how long the call rings beside the one that the account is in; null: there is one at a time.
    """

    caller: Phone = Field(alias="from")
    name: Annotated[str, Field(max_length=100)] | None = None
    video: bool = False
    lid: bool | None = None
    group: bool = False
    waits_s: Annotated[float, Field(gt=0, le=60)] | None = None


class RejectRequest(_Closed):
    """The far end does not take the page's call."""

    reason: RejectReason = "declined"


class CodeRequest(_Closed):
    """A person holds the phone before a QR code, or types a code into it."""

    code: Annotated[str, Field(min_length=1, max_length=1000)]


class PhoneRequest(_Closed):
    """The phone that the page is linked to."""

    online: bool


class SayRequest(_Closed):
    """The far end speaks a tone."""

    tone_hz: Annotated[float, Field(gt=0, lt=8000)]
    seconds: Annotated[float, Field(gt=0, le=300)] = 1.0
    level_dbfs: Annotated[float, Field(ge=-90, le=0)] = -20.0


class Settings(_Closed):
    """How the stand-in behaves; ``POST /settings`` changes the fields that it names.

    Attributes:
        logged_in: whether the account is linked; the page follows without a reload.
        calling_enabled: the server property ``enable_web_calling``.
        late_state_ms: how long a new call is the active one before it has a state.
        late_result_ms: how long after a call's last state its ``callLogResult`` comes.
        lid: whether peers are known by a LID, where a request does not say.
        not_on_whatsapp: numbers that are not there.
        unreachable: numbers whose phone never rings.
        auto_answer_ms: how long after its ringing the far end answers by itself; null: never.
        auto_reject: the far end refuses every call at once.
        answered_elsewhere: when the page accepts a call, another device of the account was faster.
        ring_delay_ms: from the page's offer to the far end's ringing.
        ring_timeout_s: how long the far end lets the page ring.
        dial_timeout_s: how long the far end lets itself be rung.
        ring_tone_sticks: the page's ring tone goes on after a call that was never answered.
        message_sounds: messages come in during a call, and sound.
        qr_rotate_ms: how long a QR code is good.
        qr_codes: how many codes WhatsApp makes before it waits to be asked for more.
        link_by_profile: the phone is linked to the first profile that came, for good; else to whichever comes while no
            page of the linked one is there.
        offline: the server takes no connection.
        build: the version of WhatsApp Web that is served from now on; pages that run another one are told.
        renamed_modules: modules that have another name in pages that are loaded from now on, one that wa-js overlooks.
        media_element_output: the page plays the call through a media element instead of the context's destination.
    """

    logged_in: bool = True
    calling_enabled: bool = True
    late_state_ms: Milliseconds = 60
    late_result_ms: Milliseconds = 0
    lid: bool = False
    not_on_whatsapp: list[Phone] = []
    unreachable: list[Phone] = []
    auto_answer_ms: Milliseconds | None = None
    auto_reject: RejectReason | None = None
    answered_elsewhere: bool = False
    ring_delay_ms: Milliseconds = 150
    ring_timeout_s: Annotated[float, Field(gt=0, le=300)] = 60.0
    dial_timeout_s: Annotated[float, Field(gt=0, le=300)] = 90.0
    ring_tone_sticks: bool = True
    message_sounds: bool = True
    media_element_output: bool = False
    qr_rotate_ms: Milliseconds = 20_000
    qr_codes: Annotated[int, Field(ge=1, le=100)] = 6
    link_by_profile: bool = False
    offline: bool = False
    build: Annotated[str, Field(pattern=r"^[0-9.]{3,32}$")] = "2.3000.1031248123"
    renamed_modules: Annotated[list[Annotated[str, Field(pattern=r"^WA[A-Za-z0-9]{2,60}$")]], Field(max_length=20)] = []
