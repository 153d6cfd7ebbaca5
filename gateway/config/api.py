"""Settings of the HTTP API."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, field_validator

from gateway.config.fields import Seconds, checked_host


class ApiSettings(BaseModel):
    """Who may ask the API, and how much."""

    api_host: str = Field(
        default="127.0.0.1", description="Address the HTTP API listens on; loopback until told otherwise"
    )
    api_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8080, description="Port of the HTTP API; 0 takes a free one, which the ready line names"
    )
    body_timeout_s: Seconds = Field(
        default=10.0, description="Seconds for a request body to arrive; 64 KiB fit any line"
    )
    api_rate_per_s: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000,
        description="Requests a second of one account that the HTTP API answers; more get a 429. A dashboard makes "
        "ten, so this only stops a client that went wild",
    )
    offer_rate_per_min: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=30,
        description="Calls a minute that one account may begin by POST /call/offer; more get a 429. An account has one "
        "line, and WhatsApp bans who dials like a machine",
    )

    @field_validator("api_host")
    @classmethod
    def _api_host(cls, value: str) -> str:
        return checked_host(value)
