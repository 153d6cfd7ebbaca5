"""What crosses the boundary between gateway and media worker, and how it is framed. Pure.

A message is JSON behind its length. Values keep their types: tuples, mappings with keys of any kind, bytes, and the
dataclasses of `TYPES`, field by field. Nothing else can be named in a message, so that a worker whose peers got the
better of it has no more power over the gateway than the verbs give it, which pickles would.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from gateway.codecs.sound import OpusSettings
from gateway.domain.errors import (
    ConfigError,
    LocalProtocolError,
    PeerTimeout,
    PonteError,
    RemoteProtocolError,
    Unavailable,
)
from gateway.domain.recording import RecordingSpec, RecordingStatus, RecordingUnavailable
from gateway.media.built_in import ClientSettings, PlaneSettings
from gateway.media.echo import EchoFigures
from gateway.media.page_side import LegStats
from gateway.media.plane import DirectionStats, MediaStats, Negotiated, NoCommonCodec
from gateway.protocol.dtmf import KeyPress
from gateway.protocol.sdp.crypto import Crypto, CryptoPair
from gateway.worker.figures import Family

MAX_BYTES: Final = 1_048_576  # of one message: an SDP has 4 kB, and what is longer is no message of ours
_LENGTH_BYTES: Final = 4

TYPES: Final[Mapping[str, type[Any]]] = {
    one.__name__: one
    for one in (
        ClientSettings, Crypto, CryptoPair, DirectionStats, EchoFigures, Family, KeyPress, LegStats, MediaStats,
        Negotiated, OpusSettings, PlaneSettings, RecordingSpec, RecordingStatus,
    )
}  # fmt: skip
"""Dataclasses that a message may hold."""

_FIELDS_OF: Final[Mapping[type[Any], Callable[[Any], tuple[Any, ...]]]] = {
    one: attrgetter(*(field.name for field in fields(one))) for one in TYPES.values()
}  # each has more than one, or this would give no tuple
_PLAIN: Final = frozenset({type(None), bool, int, float, str})
_ENCODE: Final = json.JSONEncoder(separators=(",", ":")).encode


def pack(value: object) -> Any:
    """Return *value* as JSON has it.

    Raises:
        TypeError: it holds something else than plain values and `TYPES`.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in _FIELDS_OF:
        values = _FIELDS_OF[kind](value)
        return {"o": kind.__name__, "v": [one if type(one) in _PLAIN else pack(one) for one in values]}
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple | list):
        return [pack(one) for one in value]
    if isinstance(value, Mapping):
        return {"d": [[pack(key), pack(one)] for key, one in value.items()]}
    if isinstance(value, bytes):
        return {"b": base64.b64encode(value).decode()}
    raise TypeError(f"{kind.__name__} cannot be sent to or by a media worker")


def unpack(value: Any) -> Any:
    """Return what `pack` was given; lists have become tuples.

    Raises:
        ValueError: it is not what `pack` gives.
    """
    if isinstance(value, list):
        return tuple(unpack(one) for one in value)
    if not isinstance(value, dict):
        return value
    try:
        match value:
            case {"o": str(name), "v": list(values)}:
                return TYPES[name](*(unpack(one) for one in values))
            case {"d": list(pairs)}:
                return {unpack(key): unpack(one) for key, one in pairs}
            case {"b": str(text)}:
                return base64.b64decode(text, validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError("a message holds what cannot be") from error
    raise ValueError("a message holds what cannot be")


def frame(message: object) -> bytes:
    """Return *message*, JSON's values only, as it is sent.

    Raises:
        ValueError: it is too long.
    """
    body = _ENCODE(message).encode()
    if len(body) > MAX_BYTES:
        raise ValueError("a message is too long")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class Deframer:
    """Takes bytes as they come and gives whole messages."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield each message that is whole with *data*.

        Raises:
            ValueError: this is no message; nothing that follows can be one.
        """
        held = self._held
        held += data
        while len(held) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(held[:_LENGTH_BYTES], "big")
            if end > MAX_BYTES + _LENGTH_BYTES:
                raise ValueError("a message is too long")
            if len(held) < end:
                return
            body = bytes(held[_LENGTH_BYTES:end])
            del held[:end]
            yield json.loads(body)


# Errors that a worker may answer with. One that is not here becomes the nearest of its bases that is.
_ERRORS: Final[Mapping[str, type[PonteError]]] = {
    one.__name__: one
    for one in (
        ConfigError,
        LocalProtocolError,
        NoCommonCodec,
        PeerTimeout,
        PonteError,
        RecordingUnavailable,
        RemoteProtocolError,
        Unavailable,
    )
}


def pack_error(error: Exception) -> dict[str, Any]:
    """Return *error* as a message has it. What is no `PonteError` is not told: the worker's log has it."""
    if not isinstance(error, PonteError):
        return {"n": PonteError.__name__, "m": "The media worker failed; the log says more"}
    name = next(base.__name__ for base in type(error).__mro__ if _ERRORS.get(base.__name__) is base)
    return {
        "n": name,
        "m": str(error),
        "s": getattr(error, "status", None),
        "f": getattr(error, "field", None),
    }


def unpack_error(packed: Mapping[str, Any]) -> PonteError:
    """Return the error that `pack_error` was given.

    Raises:
        ValueError: it is not what `pack_error` gives.
    """
    kind, message = _ERRORS.get(packed.get("n", "")), packed.get("m")
    if kind is None or not isinstance(message, str):
        raise ValueError("a message holds what cannot be")
    status, field = packed.get("s"), packed.get("f")
    if kind is RemoteProtocolError and isinstance(status, int):
        return RemoteProtocolError(message, status)
    if kind is ConfigError:
        return ConfigError(message, field if isinstance(field, str) else None)
    return kind(message)
