"""The registrar for phones that register with us (RFC 3261 section 10.3): who is to be called, and by which way.

A binding belongs to the account whose password its phone proved. Calls go to it by the very way that the REGISTER came
by, an address behind a NAT or an open connection; the Contact is only what the Request-URI says. So nobody who knows a
password can have us call a third party, and a binding ends with its connection (RFC 7118 section 5.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.text import NameAddr, parse_int, parse_name_addrs, parse_uri
from gateway.protocol.sip.timers import Timer, TimerHeap

_MOST_SECONDS: Final = 2**32 - 1
_MOST_CONTACT: Final = 512  # characters of a URI that we keep


@dataclass(frozen=True, slots=True)
class RegistrarLimits:
    """Limits of the registrar.

    Attributes:
        max_contacts: of one account; all of them ring.
        min_expires_s: shorter ones are answered 423.
        max_expires_s: longer ones are cut to it.
        default_expires_s: where the phone asks for none.
    """

    max_contacts: int = 10
    min_expires_s: int = 60
    max_expires_s: int = 3600
    default_expires_s: int = 600


@dataclass(frozen=True, slots=True)
class Binding:
    """One phone.

    Attributes:
        uri: its Contact.
        flow: the way that it registered by.
        expires_at_s: monotonic instant.
        call_id: of its REGISTER.
        cseq: of its REGISTER.
        instance: ``+sip.instance`` and ``reg-id``, which stay the same when the phone comes by another connection
            (RFC 5626); empty where it says none.
    """

    uri: str
    flow: Flow
    expires_at_s: float
    call_id: str
    cseq: int
    instance: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How a REGISTER is answered."""

    status: int
    headers: Sequence[tuple[str, str]] = ()


class Registrar:
    """The bindings of all accounts.

    Args:
        heap: timers.
        limits: limits.
        on_change: told the account whose bindings changed.
    """

    def __init__(self, heap: TimerHeap, limits: RegistrarLimits, on_change: Callable[[int], None]) -> None:
        self._heap = heap
        self._limits = limits
        self._on_change = on_change
        self._bindings: dict[int, dict[str, Binding]] = {}
        self._timers: dict[int, Timer] = {}

    def bindings(self, account: int) -> list[Binding]:
        """Return the bindings of an account, the latest registered last."""
        return list(self._bindings.get(account, {}).values())

    def forget(self, account: int) -> None:
        """Drop the bindings of an account."""
        self._keep(account, {}, 0.0)

    def flow_failed(self, flow: Flow, now: float) -> None:
        """Drop the bindings whose connection is gone; over UDP nothing says so but a call that fails."""
        if not flow.reliable:
            return
        for account, known in list(self._bindings.items()):
            left = {key: binding for key, binding in known.items() if binding.flow != flow}
            if len(left) < len(known):
                self._keep(account, left, now)

    def register(self, account: int, user: str, request: IncomingRequest, flow: Flow, now: float) -> Answer:
        """Take a REGISTER whose sender proved the account's password.

        Args:
            account: the account.
            user: whose bindings it may change.
            request: the REGISTER.
            flow: the way that it came by.
            now: monotonic seconds.

        Raises:
            RemoteProtocolError: it is malformed (400), for another user (404) or of another scheme (416).
        """
        if (parse_uri(request.to.uri).user or "") != user:
            raise RemoteProtocolError("There is no such user here", 404)
        known = self._bindings.get(account, {})
        values = request.headers.getlist("Contact")
        if any(value.strip() == "*" for value in values):
            left = self._without_any(request, known, len(values))
        else:
            contacts = parse_name_addrs(values)
            asked = [self._expires(contact, request) for contact in contacts]
            if any(0 < seconds < self._limits.min_expires_s for seconds in asked):
                return Answer(423, [("Min-Expires", str(self._limits.min_expires_s))])
            left = dict(known)
            for contact, seconds in zip(contacts, asked, strict=True):
                self._bind(left, contact, seconds, request, flow, now)
            if len(left) > self._limits.max_contacts:
                return Answer(403)
        self._keep(account, left, now)
        return Answer(200, [("Contact", self._written(binding, now)) for binding in left.values()])

    @staticmethod
    def _without_any(request: IncomingRequest, known: dict[str, Binding], values: int) -> dict[str, Binding]:
        """Return what is left after ``Contact: *`` (section 10.3 step 6): nothing."""
        if values != 1 or (request.header("Expires") or "").strip() != "0":
            raise RemoteProtocolError("Contact: * is for Expires: 0 alone")
        if any(one.call_id == request.call_id and one.cseq >= request.cseq for one in known.values()):
            raise RemoteProtocolError("An older REGISTER came late", 500)
        return {}

    def _expires(self, contact: NameAddr, request: IncomingRequest) -> int:
        text = contact.params.get("expires") or request.header("Expires")
        try:
            seconds = parse_int(text, "expires", _MOST_SECONDS) if text else self._limits.default_expires_s
        except RemoteProtocolError:
            seconds = self._limits.default_expires_s  # section 20.19: malformed values are as if there were none
        return min(seconds, self._limits.max_expires_s)

    @staticmethod
    def _bind(
        left: dict[str, Binding], contact: NameAddr, seconds: int, request: IncomingRequest, flow: Flow, now: float
    ) -> None:
        key = _key(contact)
        old = left.get(key)
        if old is not None and old.call_id == request.call_id and old.cseq >= request.cseq:
            raise RemoteProtocolError("An older REGISTER came late", 500)
        left.pop(key, None)
        instance = contact.params.get("+sip.instance")
        identity = (instance, contact.params.get("reg-id") or "") if instance else None
        if identity is not None:
            for other in [one for one, binding in left.items() if binding.instance == identity]:
                del left[other]
        if seconds:
            left[key] = Binding(contact.uri, flow, now + seconds, request.call_id, request.cseq, identity)

    @staticmethod
    def _written(binding: Binding, now: float) -> str:
        return f"<{binding.uri}>;expires={max(0, round(binding.expires_at_s - now))}"

    def _keep(self, account: int, bindings: dict[str, Binding], now: float) -> None:
        old = self._bindings.pop(account, {})
        if (timer := self._timers.pop(account, None)) is not None:
            timer.cancel()
        if bindings:
            self._bindings[account] = bindings
            first = min(binding.expires_at_s for binding in bindings.values())
            self._timers[account] = self._heap.at(first, lambda now: self._expire(account, now))
        if old.keys() != bindings.keys() or any(bindings[key].flow != one.flow for key, one in old.items()):
            self._on_change(account)

    def _expire(self, account: int, now: float) -> None:
        known = self._bindings.get(account, {})
        self._keep(account, {key: one for key, one in known.items() if one.expires_at_s > now}, now)


def _key(contact: NameAddr) -> str:
    """Return what makes a Contact the same as another (section 19.1.4, as far as phones vary it)."""
    if len(contact.uri) > _MOST_CONTACT:
        raise RemoteProtocolError("a Contact is too long")
    uri = parse_uri(contact.uri)
    if uri.scheme == "tel":
        raise RemoteProtocolError("a Contact is no SIP URI")
    transport = (uri.parameters.get("transport") or "").lower()
    return "\0".join((uri.scheme, uri.user or "", uri.host.lower(), str(uri.port or ""), transport))
