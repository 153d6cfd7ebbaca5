"""What the parts of the user agent core share: timers, transactions, dialogs, outputs, authenticated requests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sipmessage import Request

from gateway.protocol.sip.dialog import DialogKey
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.events import SipEvent
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.message import IncomingResponse, new_via, to_bytes
from gateway.protocol.sip.timers import TimerHeap, Timers
from gateway.protocol.sip.transactions import COOKIE, ClientTransaction, State, TransactionLayer

if TYPE_CHECKING:
    from gateway.protocol.sip.registration import Registration
    from gateway.protocol.sip.uas import ServerSession
    from gateway.protocol.sip.usage import InviteUsage

ALLOW: Final = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, SUBSCRIBE"


@dataclass(frozen=True, slots=True)
class CoreLimits:
    """Limits of the core.

    Attributes:
        max_server_transactions: requests in work; more are answered 503.
        max_sessions: calls; more are answered 503.
        retry_after_s: seconds told with those.
        max_challenges: challenges that are kept until their ACK comes; further ones are sent once.
        failover_s: silence of one address of the server after which an INVITE goes to the next; three
            retransmissions over UDP. Timer B, 32 s, is longer than callers wait.
        stream_above_bytes: longer requests go by TCP instead of UDP (RFC 3261 section 18.1.1: path MTU less 200).
        stream_retry_s: how long a peer whose TCP could not be reached gets those by UDP at once.
        ring_refresh_s: how often the last provisional answer is repeated, so that proxies keep the call
            (RFC 3261 section 13.3.1.1: every minute, because timer C is three).
        max_redirects: other URIs that a call is tried at when it is answered 3xx; 0: none.
        reinvite_tries: how often a re-INVITE that met glare is sent again.
        session_expires_s: session interval that we ask for (RFC 4028); 0: none. A third of the RFC's recommendation: a
            dead call holds the account's only line.
        min_se_s: shortest session interval that we take; the RFC has no less than 90.
        refer_expires_s: how long the new call of a transfer may take to be answered.
        subscription_s: how long a subscription lives without a refresh, where less was not asked for.
        min_subscription_s: less is answered 423: every refresh costs a password check.
        max_watchers: subscriptions to one account; more are answered 503.
        max_subscriptions: and to all accounts.
    """

    max_server_transactions: int = 4096
    max_sessions: int = 512
    retry_after_s: int = 5
    max_challenges: int = 256
    failover_s: float = 4.0
    stream_above_bytes: int = 1300
    stream_retry_s: float = 300.0
    ring_refresh_s: float = 60.0
    max_redirects: int = 3
    reinvite_tries: int = 4
    session_expires_s: int = 600
    min_se_s: int = 90
    refer_expires_s: int = 180
    subscription_s: int = 3600
    min_subscription_s: int = 60
    max_watchers: int = 64
    max_subscriptions: int = 512


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """An event of a call."""

    session: InviteUsage
    event: SipEvent


@dataclass(frozen=True, slots=True)
class NewCall:
    """An inbound call whose caller was authenticated; *endpoint* is its endpoint's id."""

    session: ServerSession
    endpoint: int


@dataclass(frozen=True, slots=True)
class ReplacingCall:
    """An inbound call that takes the place of *replaced* (RFC 3891); its caller may call the same endpoint."""

    session: ServerSession
    replaced: InviteUsage


@dataclass(frozen=True, slots=True)
class Acked:
    """The ACK of a 2xx of ours came, with the answer to our offer if we made one."""

    session: InviteUsage
    sdp: str | None


@dataclass(frozen=True, slots=True)
class ReinviteDone:
    """Our re-INVITE was answered: 200 with the answer, or a failure."""

    session: InviteUsage
    status: int
    sdp: str | None


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A call is over and sends nothing more; its last event was given before."""

    session: InviteUsage


@dataclass(frozen=True, slots=True)
class RegistrationChanged:
    """The state of a registration changed."""

    registration: Registration


@dataclass(frozen=True, slots=True)
class PhonesChanged:
    """Other phones are registered at an endpoint than before; *endpoint* is its id."""

    endpoint: int


Output = (
    Transmit | SessionEvent | NewCall | ReplacingCall | Acked | ReinviteDone | SessionClosed | RegistrationChanged
    | PhonesChanged
)  # fmt: skip


class Engine:
    """Shared state of one core.

    Args:
        timers: timer values.
        limits: limits.
        token: gives random text of at least 64 bits; used for tags, branches and Call-IDs.
        jitter: gives a random number from 0 to 1.
        user_agent: value of the User-Agent header of our requests.
        supported: option tags that a peer may Require.
    """

    def __init__(
        self,
        timers: Timers,
        limits: CoreLimits,
        token: Callable[[], str],
        jitter: Callable[[], float],
        user_agent: str,
        supported: frozenset[str],
    ) -> None:
        self.timers = timers
        self.limits = limits
        self.token = token
        self.jitter = jitter
        self.user_agent = user_agent
        self.supported = supported
        self.heap = TimerHeap()
        self.outputs: list[Output] = []
        self.dialogs: dict[DialogKey, InviteUsage] = {}
        self.sessions: set[InviteUsage] = set()
        self.ids = itertools.count(1)
        self.layer = TransactionLayer(
            timers, self.heap, self.outputs.append, token, limits.max_server_transactions,
            limits.stream_above_bytes, limits.stream_retry_s,
        )  # fmt: skip

    def emit(self, output: Output) -> None:
        """Add an output for the shell."""
        self.outputs.append(output)

    def send_ack(self, ack: Request, flow: Flow) -> Transmit:
        """Send an ACK to a 2xx (its own branch, no transaction) and return what was sent."""
        ack.headers.setlist("Via", [new_via(flow, COOKIE + self.token())])
        transmit = Transmit(flow, to_bytes(ack))
        self.emit(transmit)
        return transmit


FinalCallback = Callable[[IncomingResponse | None, str, float], None]
ProvisionalCallback = Callable[[IncomingResponse, float], None]


class AuthenticatedRequest:
    """A request that is sent again when challenged: once per realm, once more when the nonce was stale.

    Args:
        engine: the core's shared state.
        make: builds the request with a fresh CSeq.
        flow: where it goes.
        auth: our credentials for this peer.
        on_final: gets the final response, or None and the cause (``timeout``, ``transport``). For INVITE it is
            called for each 2xx.
        on_provisional: gets provisional responses.

    Attributes:
        transaction: the last try's; there once it was sent.
        dropped: nobody wants to hear of it any more.
        unwanted: it was cancelled; a challenge is not answered any more.
        others: where to send it when *flow* fails, does not answer, or answers 503 (RFC 3263 section 4.3).
        on_moved: told the flow that it is sent to instead.
    """

    def __init__(
        self, engine: Engine, make: Callable[[], Request], flow: Flow, auth: DigestClient, on_final: FinalCallback,
        on_provisional: ProvisionalCallback | None = None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._make = make
        self.flow = flow
        self._auth = auth
        self._on_final = on_final
        self._on_provisional = on_provisional
        self._tried: set[tuple[bool, str]] = set()
        self.transaction: ClientTransaction
        self.dropped = False
        self.unwanted = False
        self.others: list[Flow] = []
        self.on_moved: Callable[[Flow], None] = lambda flow: None

    def send(self, now: float) -> None:
        """Send it, with what we know of credentials."""
        request = self._make()
        request.headers.set("User-Agent", self._engine.user_agent)
        for name, value in self._auth.headers(request.method, str(request.uri), request.body):
            request.headers.add(name, value)
        transaction = self.transaction = self._engine.layer.request(request, self.flow, self, now)
        if self.others:
            self._engine.heap.at(now + self._engine.limits.failover_s, lambda now: self._give_up(transaction, now))

    def send_elsewhere(self, now: float) -> None:
        """Send it to another Request-URI; challenges are answered anew."""
        self._tried.clear()
        self.send(now)

    def _give_up(self, transaction: ClientTransaction, now: float) -> None:
        """End a try that nothing was heard of, so that the next address gets its turn."""
        if transaction is self.transaction and transaction.state in {State.CALLING, State.TRYING}:
            transaction.fail("timeout", now)

    def _move(self, now: float) -> bool:
        """Send it to the next address; False when there is none or nobody wants it any more."""
        if not self.others or self.unwanted:
            return False
        self.flow = self.others.pop(0)
        self._tried.clear()
        self.on_moved(self.flow)
        self.send(now)
        return True

    def on_response(self, transaction: ClientTransaction, response: IncomingResponse, now: float) -> None:
        """Take a response (ClientUser)."""
        if transaction is not self.transaction or self.dropped:
            return
        if response.status < 200:
            if self._on_provisional is not None:
                self._on_provisional(response, now)
        elif not self.unwanted and response.status in {401, 407} and self._auth.learn(response, self._tried):
            self.send(now)
        elif response.status != 503 or not self._move(now):
            self._on_final(response, "", now)

    def on_failure(self, transaction: ClientTransaction, cause: str, now: float) -> None:
        """Take the end without a response (ClientUser)."""
        if transaction is self.transaction and not self.dropped and not self._move(now):
            self._on_final(None, cause, now)

    def expire(self, now: float) -> None:
        """End it as timed out, unless there was a final response."""
        self.transaction.expire(now)

    def drop(self, now: float) -> None:
        """Hear of it no more; the transaction has 64*T1 left to get its final response and acknowledge it."""
        self.dropped = True
        self._engine.heap.at(now + self._engine.timers.give_up_s, self.expire)

    def credentials(self) -> Sequence[tuple[str, str]]:
        """Return the credentials that the last try carried; the ACK of its 2xx repeats them (section 13.2.2.4)."""
        headers = self.transaction.request.headers
        names = ("Authorization", "Proxy-Authorization")
        return [(name, value) for name in names for value in headers.getlist(name)]


def ignore_final(response: IncomingResponse | None, cause: str, now: float) -> None:
    """Take the final response of a request on which nothing depends."""


class IgnoreResponses:
    """The user of a transaction whose outcome changes nothing, such as CANCEL's."""

    def on_response(self, transaction: ClientTransaction, response: IncomingResponse, now: float) -> None:
        """Do nothing."""

    def on_failure(self, transaction: ClientTransaction, cause: str, now: float) -> None:
        """Do nothing."""
