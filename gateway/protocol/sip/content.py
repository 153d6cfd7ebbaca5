"""Questions about what a request carries."""

from __future__ import annotations

from collections.abc import Collection

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.message import SDP, IncomingRequest, IncomingResponse
from gateway.protocol.sip.text import parse_name_addrs


def option_tags(message: IncomingRequest | IncomingResponse, name: str) -> list[str]:
    """Return the option tags of Require or Supported in lower case: tokens know no case (RFC 3261 section 7.3.1)."""
    return [tag.lower() for tag in message.list_header(name)]


def unknown_tags(request: IncomingRequest, supported: Collection[str]) -> list[str]:
    """Return what a request requires beyond *supported*, as it was written."""
    return [tag for tag in request.list_header("Require") if tag.lower() not in supported]


def contacts_hold(request: IncomingRequest) -> bool:
    """Return whether every Contact is well formed."""
    try:
        parse_name_addrs([value for value in request.headers.getlist("Contact") if value != "*"])
    except RemoteProtocolError:
        return False
    return True


def unreadable(request: IncomingRequest) -> bool:
    """Return whether there is a body that we do not understand, and may not pass over (RFC 3261 section 8.2.3)."""
    if not request.body.strip() or (request.sdp is not None and not encoded(request)):
        return False
    disposition = (request.header("Content-Disposition") or "").lower()
    return "optional" not in (piece.partition("=")[2].strip(' "') for piece in disposition.split(";")[1:])


def takes_sdp(request: IncomingRequest) -> bool:
    """Return whether the caller understands the answers that we can give (RFC 3261 section 21.4.7)."""
    accepted = {item.partition(";")[0].strip().lower() for item in request.list_header("Accept")}
    return not accepted or not accepted.isdisjoint({SDP, "application/*", "*/*"})


def encoded(request: IncomingRequest) -> bool:
    """Return whether the body is compressed or otherwise encoded."""
    return bool(request.body) and (request.header("Content-Encoding") or "identity").strip().lower() != "identity"
