"""Settings of calls."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from gateway.config.fields import Seconds


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
    shutdown_grace_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0,
        description="Seconds that SIGTERM waits for calls in progress; below the 90 s after which systemd kills",
    )
