"""What rtpengine says of a call (``query``), as figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.protocol.ng.requests import Answer

_VERIFIED: Final = "DTLS fingerprint verified"


@dataclass(frozen=True, slots=True)
class TagFigures:
    """What came from one side of a call.

    Attributes:
        packets: on the port of RTP; RTCP as well where both share it.
        bytes: of them.
        errors: packets that were not taken.
        rtcp_packets: on a port of their own.
        ssrc: of its stream, None before the first packet.
        secured: DTLS is up and its certificate the right one.
    """

    packets: int = 0
    bytes: int = 0
    errors: int = 0
    rtcp_packets: int = 0
    ssrc: int | None = None
    secured: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What the receivers of a stream reported of it by RTCP, on average.

    Attributes:
        round_trip_ms: between rtpengine and them.
        jitter_ms: of arrival.
        loss_percent: of packets.
    """

    round_trip_ms: float | None = None
    jitter_ms: float = 0.0
    loss_percent: float = 0.0


def read_tag(answer: Answer, tag: str) -> TagFigures | None:
    """Return the figures of *tag*; None where it has no media (any more)."""
    medias = _sequence(_mapping(_mapping(answer.get("tags")).get(tag)).get("medias"))
    streams = [_mapping(one) for one in _sequence(_mapping(medias[0]).get("streams"))] if medias else []
    if not streams:
        return None
    rtp = streams[0]
    stats = _mapping(rtp.get("stats"))
    rtcp = _mapping(streams[1].get("stats")) if len(streams) > 1 else {}
    ssrc = rtp.get("SSRC")
    return TagFigures(
        packets=_integer(stats.get("packets")),
        bytes=_integer(stats.get("bytes")),
        errors=_integer(stats.get("errors")),
        rtcp_packets=_integer(rtcp.get("packets")),
        ssrc=ssrc if isinstance(ssrc, int) else None,
        secured=_VERIFIED in _sequence(rtp.get("flags")),
    )


def read_heard(answer: Answer, ssrc: int | None) -> Heard:
    """Return what was reported of the stream *ssrc*."""
    average = _mapping(_mapping(_mapping(answer.get("SSRC")).get(str(ssrc))).get("average MOS"))
    if not _integer(average.get("samples")):
        return Heard()
    return Heard(
        round_trip_ms=_integer(average.get("round-trip time")) / 1000,  # it counts microseconds
        jitter_ms=float(_integer(average.get("jitter"))),
        loss_percent=float(_integer(average.get("packet loss"))),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _integer(value: Any) -> int:
    return value if isinstance(value, int) else 0
