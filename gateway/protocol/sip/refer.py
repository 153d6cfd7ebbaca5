"""Call transfer: REFER (RFC 3515), its NOTIFYs of progress, and Replaces (RFC 3891)."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sipmessage import Request

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.dialog import Dialog, DialogKey
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import AuthenticatedRequest, Engine
from gateway.protocol.sip.message import PHRASES, IncomingResponse
from gateway.protocol.sip.text import clean, parse_name_addrs, parse_params, parse_uri, split_list

REPLACES: Final = "replaces"
NO_REFER_SUB: Final = "norefersub"
SIPFRAG: Final = "message/sipfrag;version=2.0"
_METHOD: Final = re.compile(r";method=[^;]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReferTo:
    """Where a REFER sends us.

    Attributes:
        uri: the Request-URI of the INVITE to place, without URI headers.
        replaces: value of its Replaces header; empty for a blind transfer.
    """

    uri: str
    replaces: str = ""


def parse_refer_to(values: list[str]) -> ReferTo:
    """Read Refer-To (RFC 3515 section 2.1). Of the URI's headers only Replaces is taken.

    Raises:
        RemoteProtocolError: there is not exactly one, or it is not for an INVITE to a SIP or tel URI.
    """
    addresses = parse_name_addrs(values, 1)
    if not addresses:
        raise RemoteProtocolError("Refer-To is missing")
    text, _, headers = addresses[0].uri.partition("?")
    uri = parse_uri(text)
    # several values of a parameter are one string here: the first holds
    if (uri.parameters.get("method") or "INVITE").upper() != "INVITE":
        raise RemoteProtocolError("only an INVITE can be asked for", 603)
    replaces = ""
    for header in headers.split("&"):
        name, _, value = header.partition("=")
        if name.lower() == REPLACES and value:
            replaces = clean(urllib.parse.unquote(value))
            parse_replaces([replaces])
    return ReferTo(_METHOD.sub("", text), replaces)


@dataclass(frozen=True, slots=True)
class Replaces:
    """A Replaces header (RFC 3891 section 6.1).

    Attributes:
        key: the dialog, as its own side names it.
        early_only: a confirmed dialog is not to be replaced.
    """

    key: DialogKey
    early_only: bool


def parse_replaces(values: list[str]) -> Replaces | None:
    """Read a Replaces header; None when there is none.

    Raises:
        RemoteProtocolError: there are several, or it is malformed.
    """
    if not values:
        return None
    if len(values) > 1:
        raise RemoteProtocolError("Replaces is there twice")
    call_id, *parts = split_list(values[0], ";")
    params = parse_params(parts)
    to_tag, from_tag = params.get("to-tag"), params.get("from-tag")
    if not call_id.strip() or not to_tag or not from_tag:
        raise RemoteProtocolError("Replaces is malformed")
    return Replaces((call_id.strip(), to_tag, from_tag), "early-only" in params)


class Referral:
    """The subscription that a REFER makes: it tells the peer by NOTIFY how the new call goes.

    One NOTIFY is under way at a time; of what happens meanwhile the newest is told, for a NOTIFY that overtakes another
    is refused by its CSeq. It goes on when the call itself is over, as a PBX hangs up right after a blind transfer
    (RFC 5589 section 6).

    Args:
        engine: the core's shared state.
        dialog: the call's.
        auth: our credentials.
        cseq: number of the REFER: the id of the subscription (RFC 3515 section 2.4.6).
        expires_s: how long the subscription lives at most.
        now: monotonic seconds.
        finished: called when nothing more will be told.
        quiet: nobody subscribed (RFC 4488): nothing is sent.
    """

    def __init__(
        self, engine: Engine, dialog: Dialog, auth: DigestClient, cseq: int, expires_s: int, now: float,
        finished: Callable[[], None], *, quiet: bool = False,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._dialog = dialog
        self._auth = auth
        self._cseq = cseq
        self._until = now + expires_s
        self._finished = finished
        self._quiet = quiet
        self._busy = False
        self._over = False
        self._next: int | None = None
        self._timer = engine.heap.at(self._until, lambda now: self.tell(408, now))

    def tell(self, status: int, now: float) -> None:
        """Say how far the new call is; a final *status* (from 200) is the last that is told."""
        if self._over:
            return
        if status >= 200:
            self._over = True
            self._timer.cancel()
            self._finished()
        if self._quiet:
            return
        if self._busy:
            self._next = status
        else:
            self._send(status, now)

    def _send(self, status: int, now: float) -> None:
        self._busy = True
        left = max(1, round(self._until - now))
        state = "terminated;reason=noresource" if status >= 200 else f"active;expires={left}"

        def make() -> Request:
            request = self._dialog.request("NOTIFY")
            headers = request.headers
            headers.set("Event", f"refer;id={self._cseq}")
            headers.set("Subscription-State", state)
            headers.set("Content-Type", SIPFRAG)
            request.body = f"SIP/2.0 {status} {PHRASES.get(status, 'Unknown')}\r\n".encode()
            return request

        AuthenticatedRequest(self._engine, make, self._dialog.next_flow(), self._auth, self._sent).send(now)

    def _sent(self, response: IncomingResponse | None, cause: str, now: float) -> None:
        self._busy = False
        if response is None or response.status == 481:
            # RFC 6665 section 4.2.2: the subscriber is gone
            self._next = None
            if not self._over:
                self._over = True
                self._timer.cancel()
                self._finished()
        elif self._next is not None:
            status, self._next = self._next, None
            self._send(status, now)
