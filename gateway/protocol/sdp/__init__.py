"""SDP (RFC 8866) and offer/answer (RFC 3264) for the SIP side."""

from gateway.protocol.sdp.description import Attribute, MediaDescription, Origin, SessionDescription, parse_sdp
from gateway.protocol.sdp.negotiation import (
    HoldDirection,
    LocalMedia,
    Negotiated,
    NoCommonCodec,
    SdpSession,
)

__all__ = [
    "Attribute",
    "HoldDirection",
    "LocalMedia",
    "MediaDescription",
    "Negotiated",
    "NoCommonCodec",
    "Origin",
    "SdpSession",
    "SessionDescription",
    "parse_sdp",
]
