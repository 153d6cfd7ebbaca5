"""Settings of calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from gateway.config.fields import Cadence, Seconds


class CallSettings(BaseModel):
    """How long calls wait."""

    ring_timeout_s: Seconds = Field(
        default=60.0, description="Seconds a call may ring; WhatsApp itself gives up by then"
    )
    phone_silence_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0,
        description="Seconds without RTP and RTCP of a phone that sent some before, and holds nothing, after which it "
        "is asked in the dialog whether it is still there. Six RTCP reports are missing by then; 0: never",
    )
    tone_ringing: Cadence = Field(
        default="425/1000,0/4000",
        description="What a phone that POST /call/offer rang hears while the other's phone rings, by default Brazil's "
        "ringback: parts separated by commas, each one or two frequencies in Hz (`440+480`, 0 for a pause), a slash "
        "and milliseconds, as Asterisk's indications.conf has it; empty: silence",
    )
    tone_busy: Cadence = Field(
        default="425/250,0/250",
        description="What it hears where the other is busy or declines, before it is hung up; empty: nothing",
    )
    tone_congestion: Cadence = Field(
        default="425/250,0/250,425/750,0/250",
        description="The same where the call could not be had for another reason; empty: nothing",
    )
    tone_failure_s: Annotated[float, Field(ge=0, le=30)] = Field(
        default=3.0,
        description="Seconds of one of these two, before the phone is hung up; the account takes no other call "
        "meanwhile. 0: it is hung up at once",
    )
    shutdown_grace_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0,
        description="Seconds that SIGTERM waits for calls in progress; below the 90 s after which systemd kills",
    )
