"""structlog set-up: JSON off a terminal, pretty on one; personal data under ``pii.`` keys, secrets nowhere."""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET_WORDS = ("password", "secret", "token", "authorization", "api_key", "sip_pass")
"""A key that holds one of these is masked even where a caller forgot that secrets are not logged at all."""


def configure_logging(
    *,
    log_format: Literal["auto", "json", "pretty"] = "auto",
    level: str = "info",
    drop_pii: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        log_format: auto is pretty on a terminal, else JSON.
        level: least severity that is written.
        drop_pii: leave out the keys that begin with ``pii.``.
        stream: where lines go; default stderr, so that stdout stays for what a program reads.
    """
    stream = stream if stream is not None else sys.stderr
    pretty = log_format == "pretty" or (log_format == "auto" and stream.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        mask_secrets,
    ]
    if drop_pii:
        shared.append(drop_pii_keys)
    renderer: Processor
    if pretty:
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries at INFO say what the gateway says better itself (each request, each ICE check).
    root.setLevel(max(threshold, logging.WARNING))


def drop_pii_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor: drop every key that begins with ``pii.``."""
    return {key: value for key, value in event.items() if not key.startswith("pii.")}


def mask_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor: mask the values of keys that name a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "***"
    return event
