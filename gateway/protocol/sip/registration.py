"""Keeping one address of record registered (RFC 3261 section 10.2)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sipmessage import Request

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import ALLOW, AuthenticatedRequest, Engine, RegistrationChanged
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import PHRASES, IncomingResponse, new_request
from gateway.protocol.sip.outbound import Granted, Instance
from gateway.protocol.sip.text import parse_int, parse_name_addrs, parse_uri
from gateway.protocol.sip.timers import Timer


class RegistrationState(enum.StrEnum):
    """What a registration is doing."""

    DISABLED = "disabled"
    TRYING = "trying"
    REGISTERED = "registered"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RegistrationStatus:
    """Where a registration is.

    Attributes:
        state: what it is doing.
        detail: a sentence for people.
        expires_s: seconds that the registrar granted, 0 when not registered.
        next_try_s: seconds from the change of state to the next REGISTER, None when there will be none.
    """

    state: RegistrationState
    detail: str = ""
    expires_s: int = 0
    next_try_s: float | None = None


@dataclass(frozen=True, slots=True)
class RegistrationConfig:
    """What to register.

    Attributes:
        registrar: Request-URI, for example ``sip:pbx.example.com``.
        aor: address of record, for example ``sip:100@pbx.example.com``.
        contact_user: user part of Contact.
        expires_s: seconds asked for.
        refresh_share: part of the granted seconds after which it is refreshed.
        retry_base_s: pause after the first failure; it doubles.
        retry_cap_s: longest pause, also after a refusal.
        retry_after_cap_s: longest Retry-After that is obeyed.
        min_expires_cap_s: longest Min-Expires that is obeyed.
        instance: what tells this registration from others of the same address of record.
    """

    registrar: str
    aor: str
    contact_user: str
    expires_s: int = 300
    refresh_share: float = 0.7
    retry_base_s: float = 2.0
    retry_cap_s: float = 120.0
    retry_after_cap_s: int = 3600
    min_expires_cap_s: int = 86_400
    instance: Instance = field(default_factory=Instance)


class Registration:
    """Registers, refreshes, retries and unregisters.

    Args:
        engine: the core's shared state.
        config: what to register.
        auth: credentials.
        flow_of: gives the flow to the registrar for the n-th try, or None while its name is not resolved.
    """

    def __init__(
        self, engine: Engine, config: RegistrationConfig, auth: DigestClient, flow_of: Callable[[int], Flow | None]
    ) -> None:
        self._engine = engine
        self._config = config
        self._auth = auth
        self._flow_of = flow_of
        self._call_id = engine.token()
        self._tag = engine.token()
        self._cseq = 0
        self._expires_s = config.expires_s
        self._failures = 0
        self._timer: Timer | None = None
        self._request: AuthenticatedRequest | None = None
        self._bound: Flow | None = None
        self._fault = ""
        self._min_expires_seen = False
        self._instance = config.instance
        self.binding = Granted()  # what the registrar said last; it holds while there is a `bound` flow
        self.wanted = False
        self.status = RegistrationStatus(RegistrationState.TRYING, "Looking the SIP server up")

    @property
    def idle(self) -> bool:
        """Whether nothing is registered and nothing is on its way."""
        return not self.wanted and self._request is None and self._bound is None

    @property
    def bound(self) -> Flow | None:
        """The flow that the registrar knows us by; None when not registered."""
        return self._bound

    def _set(self, status: RegistrationStatus) -> None:
        self.status = status
        self._engine.emit(RegistrationChanged(self))

    def start(self, now: float) -> None:
        """Register now and keep it so."""
        if not self.wanted:
            self.wanted = True
            self._failures = 0
            self._set(RegistrationStatus(RegistrationState.TRYING, "Registering"))
            self._register(now)

    def stop(self, now: float, detail: str) -> None:
        """Unregister; `idle` becomes true when that is done or has failed."""
        self.wanted = False
        self._cancel_timer()
        pending, self._request = self._request, None
        if pending is not None:
            pending.dropped = True
            # the registrar may have taken it: take it back
            self._bound = self._bound or pending.flow
        if self._bound is not None:
            self._send(self._bound, 0, now)
        self._set(RegistrationStatus(RegistrationState.DISABLED, detail))

    def refresh(self, now: float) -> None:
        """Register again at once, for example because the connection was lost."""
        if self.wanted and self._request is None:
            self._register(now)

    def flow_failed(self, flow: Flow, now: float) -> None:
        """Register again when the connection that the registration came by is gone (RFC 5626 section 4.4)."""
        if self._bound == flow:
            self.refresh(now)

    def note_fault(self, flow: Flow, detail: str) -> None:
        """Keep the sentence that says why a flow could not be used, if the registration is on its way by it."""
        if self._request is not None and self._request.flow == flow:
            self._fault = detail

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _register(self, now: float) -> None:
        self._cancel_timer()
        flow = self._flow_of(self._failures)
        if flow is None:
            self._retry(RegistrationState.FAILED, "The SIP server's name cannot be resolved", now)
        else:
            self._send(flow, self._expires_s, now)

    def _send(self, flow: Flow, expires_s: int, now: float) -> None:
        contact = self._instance.contact(flow, self._config.contact_user, expires_s)

        def make() -> Request:
            self._cseq += 1
            request = new_request("REGISTER", parse_uri(self._config.registrar))
            headers = request.headers
            headers.set("From", f"<{self._config.aor}>;tag={self._tag}")
            headers.set("To", f"<{self._config.aor}>")
            headers.set("Call-ID", self._call_id)
            headers.set("CSeq", f"{self._cseq} REGISTER")
            headers.set("Contact", contact)
            headers.set("Expires", str(expires_s))
            headers.set("Allow", ALLOW)
            headers.set("Supported", self._instance.supported(flow))
            return request

        def done(response: IncomingResponse | None, cause: str, now: float) -> None:
            if expires_s:
                self._on_final(flow, response, cause, now)
            else:
                self._request = None
                self._bound = None
                self._engine.emit(RegistrationChanged(self))

        if self._request is not None:
            self._request.dropped = True  # an unregistration that is still open; its CSeq is older
        self._request = AuthenticatedRequest(self._engine, make, flow, self._auth, done)
        self._request.send(now)

    def _on_final(self, flow: Flow, response: IncomingResponse | None, cause: str, now: float) -> None:
        self._request = None
        fault, self._fault = self._fault, ""
        if response is None:
            detail = "The SIP server does not answer"
            if cause != "timeout":
                detail = fault or "The SIP server cannot be reached"
            self._retry(RegistrationState.FAILED, detail, now)
        elif response.status < 300:
            self._on_registered(flow, response, now)
        elif response.status == 439 and self._instance.outbound:
            # the first hop knows no flows (RFC 5626 section 6): registered without one it works
            self._instance = replace(self._instance, outbound=False)
            self._register(now)
        elif response.status == 423 and not self._min_expires_seen and self._take_min_expires(response):
            self._register(now)
        else:
            refused = response.status in {401, 403, 404, 407}
            detail = f"The SIP server answered {response.status} {PHRASES.get(response.status, '')}".rstrip()
            if response.status in {401, 407}:
                detail += "; check sipUser and sipPass"
            state = RegistrationState.REFUSED if refused else RegistrationState.FAILED
            self._retry(state, detail, now, self._retry_after(response))

    def _take_min_expires(self, response: IncomingResponse) -> bool:
        """Take the registrar's minimum (RFC 3261 section 10.2.8), once, and only a longer one than ours."""
        self._min_expires_seen = True
        try:
            least = parse_int(response.header("Min-Expires") or "", "Min-Expires", self._config.min_expires_cap_s)
        except RemoteProtocolError:
            return False
        if least <= self._expires_s:
            return False
        self._expires_s = least
        return True

    def _retry_after(self, response: IncomingResponse) -> int:
        text = (response.header("Retry-After") or "").partition(";")[0].partition("(")[0]
        try:
            return min(parse_int(text, "Retry-After"), self._config.retry_after_cap_s)
        except RemoteProtocolError:
            return 0

    def _on_registered(self, flow: Flow, response: IncomingResponse, now: float) -> None:
        granted = self._granted(flow, response)
        if granted <= 0:
            self._bound = None
            self._retry(RegistrationState.FAILED, "The SIP server took the registration and dropped it at once", now)
            return
        self._failures = 0
        self._min_expires_seen = False
        self._bound = flow
        self.binding = self._instance.binding(response, flow, self._config.contact_user)
        pause = granted * self._config.refresh_share
        self._timer = self._engine.heap.at(now + pause, self.refresh)
        self._set(RegistrationStatus(RegistrationState.REGISTERED, "Registered", granted, pause))

    def _granted(self, flow: Flow, response: IncomingResponse) -> int:
        """Return the seconds granted: our Contact's, else the Expires header's, else what we asked for."""
        most = 2**31 - 1
        try:
            own = self._instance.own(
                parse_name_addrs(response.headers.getlist("Contact")), flow, self._config.contact_user
            )
            if own is not None and own.params.get("expires"):
                return parse_int(own.params["expires"] or "", "expires", most)
            if (text := response.header("Expires")) is not None:
                return parse_int(text, "Expires", most)
        except RemoteProtocolError:
            return self._expires_s
        return self._expires_s

    def _retry(self, state: RegistrationState, detail: str, now: float, at_least_s: float = 0) -> None:
        config = self._config
        pause = config.retry_cap_s
        if state is not RegistrationState.REFUSED:
            pause = min(config.retry_cap_s, config.retry_base_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        pause = max(pause * (0.75 + 0.5 * self._engine.jitter()), at_least_s)
        self._timer = self._engine.heap.at(now + pause, self.refresh)
        self._set(RegistrationStatus(state, detail, 0, pause))
