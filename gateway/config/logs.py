"""Settings of logs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class LogSettings(BaseModel):
    """What is logged and traced, and how."""

    log_format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="auto: pretty on a terminal, else JSON"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severity logged")
    log_drop_pii: bool = Field(
        default=False, description="Drop keys that begin with pii. (numbers, names, SDP) from logs"
    )
    traces: Literal["off", "otlp"] = Field(
        default="off",
        description="otlp: send each call as an OpenTelemetry trace, by OTLP over HTTP. Needs the extra ponte[otel]; "
        "where to, and all else, is said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT ...)",
    )
