"""Questions about what a request carries."""

from __future__ import annotations

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.message import SDP, IncomingRequest
from gateway.protocol.sip.text import parse_name_addrs


def contacts_hold(request: IncomingRequest) -> bool:
    """Return whether every Contact is well formed."""
    try:
        parse_name_addrs([value for value in request.headers.getlist("Contact") if value != "*"])
    except RemoteProtocolError:
        return False
    return True


def takes_sdp(request: IncomingRequest) -> bool:
    """Return whether the caller understands the answers that we can give (RFC 3261 section 21.4.7)."""
    accepted = {item.partition(";")[0].strip().lower() for item in request.list_header("Accept")}
    return not accepted or not accepted.isdisjoint({SDP, "application/*", "*/*"})


def encoded(request: IncomingRequest) -> bool:
    """Return whether the body is compressed or otherwise encoded."""
    return bool(request.body) and (request.header("Content-Encoding") or "identity").strip().lower() != "identity"
