"""The user agent core: what comes from the network goes in here, what is to be sent and told comes out."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sipmessage import Headers, Request

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.content import contacts_hold, takes_sdp, unknown_tags, unreadable
from gateway.protocol.sip.dialog import DialogKey
from gateway.protocol.sip.dialog_info import EVENT, DialogView
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.digest_server import AuthLimits
from gateway.protocol.sip.engine import (
    ALLOW,
    AuthenticatedRequest,
    CoreLimits,
    Engine,
    FinalCallback,
    NewCall,
    Output,
    PhonesChanged,
    ReplacingCall,
)
from gateway.protocol.sip.events import Reason
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.guard import CoreEndpoint, Guard, KeptChallenges, Refusal, Strangers
from gateway.protocol.sip.message import (
    SDP,
    AnswerableError,
    IncomingRequest,
    IncomingResponse,
    make_response,
    new_request,
    parse_message,
    reply_flow,
    to_bytes,
)
from gateway.protocol.sip.refer import NO_REFER_SUB, REPLACES, Replaces, parse_replaces
from gateway.protocol.sip.registrar import Binding, Registrar, RegistrarLimits
from gateway.protocol.sip.registration import Registration, RegistrationConfig
from gateway.protocol.sip.reliable import RELIABLE
from gateway.protocol.sip.session_timer import TIMER, too_brief
from gateway.protocol.sip.sources import SourceLimits
from gateway.protocol.sip.subscriptions import Subscriptions
from gateway.protocol.sip.text import Via, parse_int, parse_uri
from gateway.protocol.sip.timers import Timers
from gateway.protocol.sip.transactions import KNOWN_METHODS, ServerTransaction
from gateway.protocol.sip.uac import ClientSession, InviteSpec
from gateway.protocol.sip.uas import ServerSession
from gateway.protocol.sip.usage import InviteUsage, SessionState

__all__ = ["Agent", "AgentSettings", "CoreEndpoint"]

_NOT_IN_DIALOG = frozenset({"BYE", "INFO", "UPDATE", "PRACK", "NOTIFY"})


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Settings of the core; every one may be changed by a test."""

    timers: Timers = field(default_factory=Timers)
    limits: CoreLimits = field(default_factory=CoreLimits)
    auth: AuthLimits = field(default_factory=AuthLimits)
    sources: SourceLimits = field(default_factory=SourceLimits)
    strangers: Strangers = Strangers.DROP_SCANNERS
    registrar: RegistrarLimits = field(default_factory=RegistrarLimits)
    user_agent: str = "Ponte"
    supported: frozenset[str] = frozenset({RELIABLE, TIMER, REPLACES, NO_REFER_SUB})


class Agent:
    """A SIP user agent without sockets and without a clock.

    Feed one input (`receive`, a command, `handle_timeout`), then drain `poll`, then the next.

    Args:
        settings: timers and limits.
        token: gives unguessable random text.
        jitter: gives a random number from 0 to 1.
        secret: random key of nonces and stateless tags.
    """

    def __init__(
        self, settings: AgentSettings, *, token: Callable[[], str], jitter: Callable[[], float], secret: bytes
    ) -> None:
        self._engine = Engine(settings.timers, settings.limits, token, jitter, settings.user_agent, settings.supported)
        self._secret = secret
        self._endpoints: dict[int, CoreEndpoint] = {}
        self._registrations: list[Registration] = []
        self._watchers = Subscriptions(self._engine)
        self._kept = KeptChallenges(self._engine.layer, settings.limits.max_challenges)
        self.counts: Counter[str] = Counter()
        self._guard = Guard(secret, token, settings.auth, settings.sources, settings.strangers, self.counts)
        self._registrar = Registrar(
            self._engine.heap, settings.registrar, lambda endpoint: self._engine.emit(PhonesChanged(endpoint))
        )

    # input and output

    @property
    def answers(self) -> Counter[tuple[str, int]]:
        """Final answers that were given, by method and status."""
        return self._engine.layer.answers

    def poll(self) -> list[Output]:
        """Take what is to be sent and told."""
        outputs = self._engine.outputs[:]
        self._engine.outputs.clear()
        return outputs

    def next_timeout(self) -> float | None:
        """Return when `handle_timeout` wants to be called, in monotonic seconds."""
        return self._engine.heap.next_timeout()

    def handle_timeout(self, now: float) -> None:
        """Run the timers that are due."""
        while (callback := self._engine.heap.pop_due(now)) is not None:
            callback(now)

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """Take a datagram, or a message cut from a stream. Raises nothing, whatever *data* is."""
        try:
            message = parse_message(data)
        except AnswerableError as error:
            self.counts["malformed_answered"] += 1
            self._reply_raw(error.status, error.headers, error.via, flow, now)
            return
        except RemoteProtocolError:
            self.counts["malformed_dropped"] += 1
            return
        if isinstance(message, IncomingResponse):
            self.counts["responses"] += 1
            if not self._engine.layer.receive_response(message, now):
                self.counts["stray_responses"] += 1
            return
        self.counts["requests"] += 1
        if message.method == "ACK":
            self._on_ack(message, now)
            return
        try:
            self._on_request(message, flow, now)
        except RemoteProtocolError as error:
            self._reply(message, flow, error.status, now)

    def flow_failed(self, flow: Flow, now: float, detail: str = "") -> None:
        """Take the news that a flow cannot be sent on, or that its connection is gone.

        Args:
            flow: the flow.
            now: monotonic seconds.
            detail: a sentence for people that says why; may be empty.
        """
        for registration in self._registrations:
            registration.note_fault(flow, detail)
        self._registrar.flow_failed(flow, now)
        self._engine.layer.flow_failed(flow, now)
        for registration in self._registrations:
            registration.flow_failed(flow, now)

    # endpoints

    def set_endpoint(self, endpoint: CoreEndpoint) -> None:
        """Add an endpoint or replace the one of that id; another password forgets its phones. Calls go on."""
        old = self._endpoints.get(endpoint.id)
        if old is not None and (old.listen_user, old.listen_secret) != (endpoint.listen_user, endpoint.listen_secret):
            self._registrar.forget(endpoint.id)
        self._endpoints[endpoint.id] = endpoint
        self._guard.serve(self._endpoints.values())

    def remove_endpoint(self, endpoint_id: int, now: float) -> None:
        """Remove an endpoint; calls in progress go on."""
        self._endpoints.pop(endpoint_id, None)
        self._watchers.end(endpoint_id, now)
        self._watchers.forget(endpoint_id)
        self._registrar.forget(endpoint_id)
        self._guard.serve(self._endpoints.values())

    def endpoint(self, endpoint_id: int) -> CoreEndpoint | None:
        """Return an endpoint."""
        return self._endpoints.get(endpoint_id)

    def show_dialogs(self, endpoint_id: int, dialogs: tuple[DialogView, ...], now: float) -> None:
        """Tell those who watch an endpoint which calls it has (RFC 4235)."""
        self._watchers.show(endpoint_id, dialogs, now)

    def drop_watchers(self, endpoint_id: int, now: float) -> None:
        """End the subscriptions to an endpoint, for example because its password changed; they may try again."""
        self._watchers.end(endpoint_id, now)

    @property
    def watchers(self) -> int:
        """How many subscriptions there are."""
        return len(self._watchers)

    def phones(self, endpoint_id: int) -> list[Binding]:
        """Return the phones that are registered at an endpoint."""
        return self._registrar.bindings(endpoint_id)

    # what we start

    def invite(
        self, spec: InviteSpec, flow: Flow, auth: DigestClient, now: float, others: Sequence[Flow] = ()
    ) -> ClientSession:
        """Place a call.

        Args:
            spec: what the INVITE says.
            flow: where it goes.
            auth: our credentials there.
            now: monotonic seconds.
            others: where it goes when that fails (RFC 3263 section 4.3).

        Raises:
            RemoteProtocolError: the Request-URI is malformed.
        """
        parse_uri(spec.uri)
        session = ClientSession(self._engine, spec, flow, auth)
        session.try_also(others)
        session.start(now)
        return session

    def registration(
        self, config: RegistrationConfig, auth: DigestClient, flow_of: Callable[[int], Flow | None]
    ) -> Registration:
        """Make a registration; it does nothing until it is started."""
        registration = Registration(self._engine, config, auth, flow_of)
        self._registrations.append(registration)
        return registration

    def forget_registration(self, registration: Registration) -> None:
        """Drop a registration that is idle."""
        if registration in self._registrations:
            self._registrations.remove(registration)

    def options(self, uri: str, from_: str, flow: Flow, auth: DigestClient, done: FinalCallback, now: float) -> None:
        """Ask a server whether it is alive."""
        engine = self._engine
        call_id, tag = engine.token(), engine.token()
        number = 0

        def make() -> Request:
            nonlocal number
            number += 1
            request = new_request("OPTIONS", parse_uri(uri))
            headers = request.headers
            headers.set("From", f"{from_};tag={tag}")
            headers.set("To", f"<{uri}>")
            headers.set("Call-ID", call_id)
            headers.set("CSeq", f"{number} OPTIONS")
            headers.set("Accept", SDP)
            return request

        AuthenticatedRequest(engine, make, flow, auth, done).send(now)

    # what comes in

    def _on_ack(self, request: IncomingRequest, now: float) -> None:
        """Take an ACK: to a failure it belongs to the INVITE's transaction, to a 2xx to the dialog."""
        transaction = self._engine.layer.find_server(request)
        if transaction is not None and transaction.receive(request, now):
            return
        if (session := self._engine.dialogs.get(_dialog_key(request))) is not None:
            session.on_ack(request, now)

    def _on_request(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        layer = self._engine.layer
        if request.method == "CANCEL":
            self._on_cancel(request, flow, now)
            return
        if (transaction := layer.find_server(request)) is not None:
            transaction.receive(request, now)
            return
        session = self._engine.dialogs.get(_dialog_key(request))
        if request.to.tag:
            if session is None and not (request.method == "SUBSCRIBE" and self._watchers.has(_dialog_key(request))):
                self._reply(request, flow, 481, now)
            elif layer.full:
                self._reply_busy(request, flow, now)
            elif session is None:
                self._serve_watcher(request, flow, now, self._watchers.refresh)
            else:
                self._on_request_in_dialog(session, layer.serve(request, flow, now), now)
            return
        self._on_new_request(request, flow, now)

    def _on_request_in_dialog(self, session: InviteUsage, transaction: ServerTransaction, now: float) -> None:
        try:
            session.on_request(transaction, now)
        except RemoteProtocolError as error:
            transaction.respond(transaction.make(error.status), now)

    def _on_cancel(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        """Answer a CANCEL (RFC 3261 section 9.2); it is never challenged, its branch is its proof."""
        invite = self._engine.layer.find_server(request)
        if invite is None:
            self._reply(request, flow, 481, now)
            return
        # section 9.2: with the tag that the INVITE's answers have
        self._reply_raw(200, request.headers, request.via, flow, now, to_tag=invite.to_tag)
        if not invite.answered and invite.on_cancel is not None:
            invite.on_cancel(request, now)

    def _on_new_request(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        method = request.method
        if not self._guard.hears(request, flow.remote[0], now):
            return
        if method not in KNOWN_METHODS:
            self._reply(request, flow, 501, now, [("Allow", ALLOW)])
        elif method in _NOT_IN_DIALOG:
            self._reply(request, flow, 481, now)
        elif method == "REFER":
            self._reply(request, flow, 403, now)  # a transfer belongs to a call; nobody has us call out of the blue
        elif method == "REGISTER" and not contacts_hold(request):
            self._reply(request, flow, 400, now)
        elif method not in {"INVITE", "OPTIONS", "SUBSCRIBE", "REGISTER"}:
            self._reply(request, flow, 405, now, [("Allow", ALLOW)])
        elif unsupported := unknown_tags(request, self._engine.supported):
            self._reply(request, flow, 420, now, [("Unsupported", ", ".join(unsupported))])
        elif method == "OPTIONS":
            self._on_options(request, flow, now)
        elif method == "SUBSCRIBE":
            self._on_subscribe(request, flow, now)
        elif method == "REGISTER":
            self._on_register(request, flow, now)
        else:
            self._on_invite(request, flow, now)

    def _at(self, flow: Flow) -> list[CoreEndpoint]:
        key = flow.listener
        return [one for one in self._endpoints.values() if one.listener and (one.listener == key or key in one.shared)]

    def _on_options(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        """Say whether calls are taken; nothing about who we are (the asker is not authenticated)."""
        asked = self._at(flow)
        if known := [one for one in asked if flow.remote[0] in one.sources]:
            # only a PBX that we know may ask about one account
            user = request.uri.user
            asked = [one for one in known if user and user == one.contact_user] or known
        if asked and not any(one.available for one in asked):
            self._reply(request, flow, 503, now, [("Retry-After", str(asked[0].retry_after_s))])
        else:
            supported = ", ".join(sorted(self._engine.supported))
            told = [("Allow", ALLOW), ("Accept", SDP), ("Supported", supported), ("Allow-Events", EVENT)]
            self._reply(request, flow, 200, now, told)

    def _on_subscribe(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        """Let those who may call an account watch it."""
        if (endpoint := self._authenticate(request, flow, now)) is None:
            return
        if self._engine.layer.full:
            self._reply_busy(request, flow, now)
            return
        auth, user = endpoint.auth, endpoint.contact_user
        self._serve_watcher(
            request, flow, now, lambda transaction, now: self._watchers.take(transaction, endpoint.id, auth, user, now)
        )

    def _serve_watcher(
        self, request: IncomingRequest, flow: Flow, now: float, take: Callable[[ServerTransaction, float], None]
    ) -> None:
        transaction = self._engine.layer.serve(request, flow, now)
        try:
            take(transaction, now)
        except RemoteProtocolError as error:
            transaction.respond(transaction.make(error.status, to_tag=self._stateless_tag(request.headers)), now)

    def _on_register(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        """Take a phone's REGISTER (RFC 3261 section 10.3); an address alone lets nobody register."""
        if (endpoint := self._authenticate(request, flow, now)) is None:
            return
        if not endpoint.listen_user:
            self._reply(request, flow, 405, now, [("Allow", ALLOW)])
        elif self._engine.layer.full:
            self._reply_busy(request, flow, now)
        else:
            answer = self._registrar.register(endpoint.id, endpoint.listen_user, request, flow, now)
            transaction, tag = self._engine.layer.serve(request, flow, now), self._stateless_tag(request.headers)
            transaction.respond(transaction.make(answer.status, to_tag=tag, extra=list(answer.headers)), now)

    def _on_invite(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        if (hops := request.header("Max-Forwards")) is not None and parse_int(hops, "Max-Forwards", 255) == 0:
            # RFC 7332 section 4: a B2BUA ends loops as a proxy does
            self._reply(request, flow, 483, now)
            return
        if self._engine.layer.is_merged(request):
            self._reply(request, flow, 482, now)
            return
        endpoint = self._authenticate(request, flow, now)
        if endpoint is None:
            return
        if not endpoint.available:
            reason = Reason("Q.850", 41, endpoint.unavailable_text)
            self._reply(
                request, flow, 503, now, [("Retry-After", str(endpoint.retry_after_s)), ("Reason", str(reason))]
            )
        elif unreadable(request):
            self._reply(request, flow, 415, now, [("Accept", SDP), ("Accept-Encoding", "identity")])
        elif not takes_sdp(request):
            self._reply(request, flow, 406, now)
        elif self._engine.layer.full or len(self._engine.sessions) >= self._engine.limits.max_sessions:
            self._reply_busy(request, flow, now)
        elif brief := too_brief(request, self._engine.limits.min_se_s):
            self._reply(request, flow, 422, now, brief)
        else:
            replaces = parse_replaces(request.headers.getlist("Replaces"))
            replaced = self._replaced(replaces, endpoint) if replaces else None
            if isinstance(replaced, int):
                self._reply(request, flow, replaced, now)
                return
            transaction = self._engine.layer.serve(request, flow, now)
            try:
                session = ServerSession(
                    self._engine, transaction, endpoint.auth, endpoint.contact_user, now, endpoint.id
                )
            except RemoteProtocolError as error:
                transaction.respond(transaction.make(error.status, to_tag=self._stateless_tag(request.headers)), now)
                return
            if flow.remote[0] in endpoint.sources:
                session.gruu = endpoint.gruu
            self.counts["calls"] += 1
            self._engine.emit(ReplacingCall(session, replaced) if replaced else NewCall(session, endpoint.id))

    def _replaced(self, replaces: Replaces, endpoint: CoreEndpoint) -> InviteUsage | int:
        """Return the call that an INVITE with Replaces takes the place of, or the status that refuses it.

        Only a call of the endpoint that the caller was let in to (RFC 3891 section 4: authorized as its own peer is),
        and only one that is up: replacing a ringing one is pickup, which the PBX does itself.
        """
        session = self._engine.dialogs.get(replaces.key)
        if session is None or session.endpoint != endpoint.id or session.state is SessionState.EARLY:
            return 481
        if session.state is SessionState.ENDING:
            return 603
        return 486 if replaces.early_only else session

    def _authenticate(self, request: IncomingRequest, flow: Flow, now: float) -> CoreEndpoint | None:
        """Return the endpoint that the caller may call, or answer and return None."""
        found = self._guard.admit(request, self._at(flow), flow.remote[0], now)
        if isinstance(found, CoreEndpoint):
            return found
        self._refuse(request, flow, found, now)
        return None

    def _refuse(self, request: IncomingRequest, flow: Flow, refusal: Refusal, now: float) -> None:
        """Answer without state (RFC 3261 section 8.2.7), so that strangers cannot fill the tables."""
        kept = self._kept.serve(request, flow, now) if refusal.repeat else None
        if kept is not None:
            tag = self._stateless_tag(request.headers)
            kept.respond(kept.make(refusal.status, to_tag=tag, extra=list(refusal.headers)), now)
        elif refusal.status:
            self._reply(request, flow, refusal.status, now, refusal.headers)

    # answers without state

    def _reply_busy(self, request: IncomingRequest, flow: Flow, now: float) -> None:
        self.counts["refused_full"] += 1
        self._reply(request, flow, 503, now, [("Retry-After", str(self._engine.limits.retry_after_s))])

    def _reply(
        self, request: IncomingRequest, flow: Flow, status: int, now: float, extra: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._reply_raw(status, request.headers, request.via, flow, now, extra)

    def _reply_raw(
        self, status: int, headers: Headers, via: Via, flow: Flow, now: float, extra: Sequence[tuple[str, str]] = (),
        *, to_tag: str = "",
    ) -> None:  # fmt: skip
        if not self._guard.may_answer(status, flow.remote[0], now):
            return
        response = make_response(status, headers, via, flow, to_tag=to_tag or self._stateless_tag(headers), extra=extra)
        self._engine.layer.count_answer((headers.get("CSeq") or "").rpartition(" ")[2], status)
        # a stranger who closed its connection is not called back
        self._engine.emit(Transmit(flow if flow.reliable else reply_flow(via, flow), to_bytes(response)))

    def _stateless_tag(self, headers: Headers) -> str:
        """Return a To tag that is the same for each retransmission (RFC 3261 section 8.2.7)."""
        text = "\0".join(headers.get(name) or "" for name in ("Via", "From", "Call-ID", "CSeq"))
        return hmac.new(self._secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]


def _dialog_key(request: IncomingRequest) -> DialogKey:
    return (request.call_id, request.to.tag, request.from_.tag)
