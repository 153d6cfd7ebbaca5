"""What a call tells its owner, and the values that go with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.domain.numbers import CallerIdentity
from gateway.protocol.sip.text import is_token, parse_params, quote, sip_uri, split_list


@dataclass(frozen=True, slots=True)
class Reason:
    """A Reason header (RFC 3326): why a request or a final answer was sent.

    Attributes:
        protocol: ``SIP`` or ``Q.850``.
        cause: status or ITU-T Q.850 cause.
        text: for people.
    """

    protocol: str
    cause: int
    text: str = ""

    def __str__(self) -> str:
        text = f";text={quote(self.text)}" if self.text else ""
        return f"{self.protocol if is_token(self.protocol) else 'SIP'};cause={self.cause}{text}"


def q850_cause(reason: Reason | None) -> int | None:
    """Return the Q.850 cause that a Reason tells, None where it tells none."""
    known = reason is not None and reason.protocol.upper() == "Q.850" and 1 <= reason.cause <= 127
    return reason.cause if reason is not None and known else None


_CAUSE: Final = re.compile(r"[0-9]{1,3}")


def parse_reason(values: list[str]) -> Reason | None:
    """Read the first usable Reason value; the header is informative, so a malformed one counts as absent."""
    try:
        for item in (item for value in values for item in split_list(value, ",")):
            protocol, *parts = split_list(item, ";")
            params = parse_params(parts)
            cause = params.get("cause") or ""
            if is_token(protocol.strip()) and _CAUSE.fullmatch(cause):
                return Reason(protocol.strip(), int(cause), params.get("text") or "")
    except RemoteProtocolError:
        return None
    return None


ANONYMOUS: Final = "anonymous"
ANONYMOUS_URI: Final = "sip:anonymous@anonymous.invalid"
"""What From says when the caller is not to be known, or not known (RFC 3323 section 4.1.1.3)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as shown to the PBX.

    Attributes:
        user: user part of From and P-Asserted-Identity: a number or a name; empty for the account's own,
            ``anonymous`` where nobody knows it.
        name: display name.
        identity: which headers say it.
    """

    user: str = ""
    name: str = ""
    identity: CallerIdentity = CallerIdentity.ASSERTED

    def headers(self, own_user: str, domain: str) -> tuple[str, list[tuple[str, str]]]:
        """Return the From value without a tag, and the identity headers of an INVITE (RFC 3325 sections 6, 9.1).

        Args:
            own_user: who calls where *user* is empty.
            domain: host part of the URIs.
        """
        if self.user == ANONYMOUS:
            return self._shown(ANONYMOUS_URI), []
        uri = sip_uri(self.user or own_user or ANONYMOUS, domain)
        asserted = [("P-Asserted-Identity", self._shown(uri))] if self.user else []
        match self.identity:
            case CallerIdentity.PLAIN:
                return self._shown(uri), []
            case CallerIdentity.PRIVATE if self.user:
                return f'"Anonymous" <{ANONYMOUS_URI}>', [*asserted, ("Privacy", "id")]
            case _:
                return self._shown(uri), asserted

    def _shown(self, uri: str) -> str:
        return f"{quote(self.name)} <{uri}>" if self.name else f"<{uri}>"


@dataclass(frozen=True, slots=True)
class Ringing:
    """A provisional answer, 180 to 199 other than 100; with *sdp* there may be early media."""

    status: int
    sdp: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The far end answered; the ACK was sent."""

    sdp: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The far end did not answer the call: a final failure, a time-out (408), a dead transport (503)."""

    status: int
    phrase: str
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller gave up before we answered; 487 was sent."""

    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over: BYE came, or the peer is gone."""

    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class ReInvite:
    """The peer changes the session; answer it by `answer_reinvite` or `refuse_reinvite`.

    Attributes:
        sdp: its offer, or None when it wants one from us.
        request_id: which request this is.
    """

    sdp: str | None
    request_id: int


@dataclass(frozen=True, slots=True)
class Info:
    """An INFO with a body, for example a DTMF digit; it was answered 200."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Refer:
    """The peer asks us to call somebody else in its place (RFC 3515); it was answered 202. Say how it goes by
    `refer_progress`.

    Attributes:
        uri: whom to call.
        replaces: Replaces header of that INVITE (RFC 3891); empty for a blind transfer.
        referred_by: value of its Referred-By header (RFC 3892); may be empty.
        request_id: which request this is.
    """

    uri: str
    replaces: str
    referred_by: str
    request_id: int


SipEvent = Ringing | Answered | Failed | Cancelled | Ended | ReInvite | Info | Refer
