"""Where a call goes that was answered 3xx (RFC 3261 sections 8.1.3.4 and 21.3).

Only the Request-URI changes: the INVITE still goes to the server, so that nobody can make us call another host.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.message import IncomingResponse
from gateway.protocol.sip.text import NameAddr, WireUri, parse_name_addrs, parse_uri

# 305 names a proxy and 380 another service: neither is a place where the callee may be found
FOLLOWED: Final = frozenset({300, 301, 302})
_METHOD: Final = re.compile(r";method=[^;]*", re.IGNORECASE)
_Q: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class Redirects:
    """The URIs that one call was sent to and may still be sent to.

    Args:
        first: the Request-URI that it began with.
        most: how many others are tried; 0: none.
        secure: whether it goes by TLS; else sips URIs are passed over, since they ask for it.
    """

    def __init__(self, first: str, most: int, *, secure: bool) -> None:
        self._left = most
        self._secure = secure
        self._seen = {_same(parse_uri(first))}
        self._waiting: list[str] = []

    def learn(self, response: IncomingResponse) -> None:
        """Take the Contacts of a 3xx, best first; what was tried or is known is passed over, so that no loop is run."""
        if response.status not in FOLLOWED:
            return
        try:
            contacts = parse_name_addrs(response.headers.getlist("Contact"))
        except RemoteProtocolError:
            return
        found: list[str] = []
        for contact in sorted(contacts, key=_preference, reverse=True):
            try:
                uri = parse_uri(contact.uri)
            except RemoteProtocolError:
                continue
            if (uri.scheme == "sips" and not self._secure) or _same(uri) in self._seen:
                continue
            self._seen.add(_same(uri))
            # headers in it would let a peer write ours, and the method is INVITE
            found.append(_METHOD.sub("", str(uri).partition("?")[0]))
        self._waiting = found + self._waiting

    def next(self) -> str | None:
        """Return the URI to try now, or None when there is no more or enough were tried."""
        if not self._waiting or self._left <= 0:
            return None
        self._left -= 1
        return self._waiting.pop(0)


def _same(uri: WireUri) -> tuple[str, str, str, int | None]:
    """Return what makes two URIs one to us; not their parameters (RFC 3261 section 19.1.4), which a loop may change."""
    return (uri.scheme, uri.user or "", uri.host.lower(), uri.port)


def _preference(contact: NameAddr) -> float:
    text = contact.params.get("q") or "1"
    return float(text) if _Q.fullmatch(text) else 0.0
