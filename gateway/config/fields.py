"""Kinds of values that settings of several concerns have."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import NoDecode

from gateway.domain.call_tones import parse_cadence
from gateway.domain.hosts import check_host

Port = Annotated[int, Field(ge=1, le=65535)]
SharedPort = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Names = Annotated[tuple[str, ...], NoDecode]


def checked_cadence(value: str) -> str:
    """Return *value*, which is the rhythm of a tone, or empty.

    Raises:
        ValueError: it is neither.
    """
    if value:
        parse_cadence(value)
    return value


Cadence = Annotated[str, AfterValidator(checked_cadence)]


def split_names(value: object) -> object:
    """Return the parts of a list that is written with commas; what is no text as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def checked_host(value: str) -> str:
    """Return *value*, which is a host or empty.

    Raises:
        ValueError: it is neither.
    """
    return check_host(value) if value else value


def checked_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return *value*, each entry of which is a host, an address or a network.

    Raises:
        ValueError: one is none of these.
    """
    for entry in value:
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            if "/" in entry:
                raise ValueError(f"{entry!r} is not a network like 10.0.0.0/8") from None
            check_host(entry)
    return value
