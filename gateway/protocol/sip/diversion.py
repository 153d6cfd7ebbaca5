"""Who a call was meant for before it was sent on: Diversion (RFC 5806) and History-Info (RFC 7044)."""

from __future__ import annotations

import itertools
import re
import urllib.parse
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.text import NameAddr, clean, is_token, parse_name_addrs, parse_uri

_MOST: Final = 20
_CAUSE: Final = re.compile(r"cause=([0-9]{3})")

# RFC 4458 section 2 and RFC 6044 section 6, as Diversion calls them
_REASONS: Final = {
    "404": "unknown", "302": "unconditional", "486": "user-busy", "408": "no-answer", "480": "deflection",
    "487": "deflection", "503": "unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Diverted:
    """One place that a call was sent on from.

    Attributes:
        user: user part of its URI.
        reason: as RFC 5806 calls it, for example ``user-busy``; empty where none is told.
    """

    user: str
    reason: str = ""


def diversions(request: IncomingRequest) -> tuple[Diverted, ...]:
    """Return where a call was sent on from, last first: by Diversion, else by History-Info.

    What is malformed counts as absent, and so does what its sender wants kept private: it is for records only.
    """
    for name, read in (("Diversion", _by_diversion), ("History-Info", _by_history)):
        try:
            found = read(parse_name_addrs(request.headers.getlist(name), _MOST))
        except RemoteProtocolError:
            continue
        if found:
            return tuple(found)
    return ()


def _by_diversion(entries: list[NameAddr]) -> list[Diverted]:
    found = []
    for entry in entries:
        reason = (entry.params.get("reason") or "").lower()
        if (entry.params.get("privacy") or "off").lower() in {"off", "no"}:
            found.append(Diverted(_user(entry.uri), reason if is_token(reason) else ""))
    return found


def _by_history(entries: list[NameAddr]) -> list[Diverted]:
    """Read History-Info: an entry was sent on from where the next one says why (RFC 7044 section 9.1, RFC 4458)."""
    found = []
    for entry, following in itertools.pairwise(entries):
        uri, _, headers = entry.uri.partition("?")
        told = urllib.parse.unquote(headers)
        if re.search(r"privacy=(?!none)", told, re.IGNORECASE):
            continue
        cause = _CAUSE.search(told) or _CAUSE.search(following.uri.partition("?")[0])
        reason = _REASONS.get(cause[1], "unknown") if cause else ""
        if reason or "mp" in following.params:  # else it was routed, not sent on
            found.append(Diverted(_user(uri), reason))
    return found[::-1]


def _user(uri: str) -> str:
    return clean(parse_uri(uri.partition("?")[0]).user or "")
