"""Transactions: RFC 3261 section 17 with the Accepted states of RFC 6026. Time comes in as an argument."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from sipmessage import Request, Response

from gateway.protocol.sip.flow import Flow, HostPort, Transmit
from gateway.protocol.sip.message import (
    IncomingRequest,
    IncomingResponse,
    make_response,
    new_request,
    new_via,
    reply_flow,
    to_bytes,
)
from gateway.protocol.sip.timers import Timer, TimerHeap, Timers

COOKIE = "z9hG4bK"
KNOWN_METHODS: Final = frozenset(
    ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "PRACK", "REFER", "REGISTER", "SUBSCRIBE",
     "NOTIFY", "MESSAGE", "PUBLISH")
)  # fmt: skip
ServerKey = tuple[str, ...]
_MOST_REFUSING = 256


class State(enum.StrEnum):
    """State names of RFC 3261 section 17 and RFC 6026."""

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    ACCEPTED = "Accepted"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"


class ClientUser(Protocol):
    """Who sent a request and wants to know what comes of it."""

    def on_response(self, transaction: ClientTransaction, response: IncomingResponse, now: float) -> None:
        """Take a response; for INVITE several 2xx may come."""

    def on_failure(self, transaction: ClientTransaction, cause: str, now: float) -> None:
        """Take the end without a final response; *cause* is ``timeout`` or ``transport``."""


class TransactionLayer:
    """All transactions of a core.

    Args:
        timers: timer values.
        heap: where the timers live.
        out: where transmissions are appended.
        token: gives random text that nobody can guess.
        max_server: most server transactions; `full` says when they are reached.
        stream_above_bytes: longer requests go by TCP instead of UDP (RFC 3261 section 18.1.1).
        stream_retry_s: how long a peer whose TCP could not be reached gets them by UDP at once.

    Attributes:
        answers: final answers that were given, by method (``other`` for those we do not know) and status.
    """

    def __init__(
        self,
        timers: Timers,
        heap: TimerHeap,
        out: Callable[[Transmit], None],
        token: Callable[[], str],
        max_server: int,
        stream_above_bytes: int = 1300,
        stream_retry_s: float = 300.0,
    ) -> None:
        self.timers = timers
        self.heap = heap
        self.out = out
        self._token = token
        self._max_server = max_server
        self._stream_above_bytes = stream_above_bytes
        self._stream_retry_s = stream_retry_s
        self._without_stream: dict[HostPort, float] = {}
        self.clients: dict[tuple[str, str], ClientTransaction] = {}
        self.servers: dict[ServerKey, ServerTransaction] = {}
        self._merged: dict[ServerKey, ServerKey] = {}
        self.answers: Counter[tuple[str, int]] = Counter()

    def count_answer(self, method: str, status: int) -> None:
        """Count a final answer of ours."""
        self.answers[method if method in KNOWN_METHODS else "other", status] += 1

    @property
    def full(self) -> bool:
        """Whether no more server transactions are taken."""
        return len(self.servers) >= self._max_server

    def request(self, request: Request, flow: Flow, user: ClientUser, now: float) -> ClientTransaction:
        """Send a request in a new client transaction; Via is put on top here.

        One that is too long for a datagram goes by TCP, and by UDP after all when TCP cannot be reached.
        """
        branch = COOKIE + self._token()
        request.headers.set("Via", new_via(flow, branch))
        transaction = ClientTransaction(self, request, branch, flow, user)
        too_long = flow.transport == "udp" and transaction.size_bytes > self._stream_above_bytes
        if too_long and self._without_stream.get(flow.remote, now) <= now:
            transaction.go_by_stream()
        return self._start(transaction, now)

    def stream_failed(self, remote: HostPort, now: float) -> None:
        """Remember that a peer cannot be reached by TCP."""
        if len(self._without_stream) >= _MOST_REFUSING:
            self._without_stream.clear()
        self._without_stream[remote] = now + self._stream_retry_s

    def cancel(self, invite: ClientTransaction, headers: list[tuple[str, str]], user: ClientUser, now: float) -> None:
        """Send the CANCEL of an INVITE (RFC 3261 section 9.1); the caller has seen a provisional response."""
        request = self._from_invite(invite, "CANCEL")
        for name, value in headers:
            request.headers.add(name, value)
        self._start(ClientTransaction(self, request, invite.branch, invite.flow, user), now)

    def _start(self, transaction: ClientTransaction, now: float) -> ClientTransaction:
        self.clients[transaction.branch, transaction.request.method] = transaction
        transaction.start(now)
        return transaction

    def _from_invite(self, invite: ClientTransaction, method: str) -> Request:
        source = invite.request
        request = new_request(method, source.uri)
        request.headers.set("Via", source.headers["Via"])
        for name in ("Route", "From", "To", "Call-ID"):
            if values := source.headers.getlist(name):
                request.headers.setlist(name, list(values))
        request.headers.set("CSeq", f"{source.headers['CSeq'].split()[0]} {method}")
        return request

    def ack_failure(self, invite: ClientTransaction, response: IncomingResponse) -> bytes:
        """Return the ACK to a non-2xx answer (RFC 3261 section 17.1.1.3): the INVITE's branch and route."""
        ack = self._from_invite(invite, "ACK")
        ack.headers.set("To", response.to.raw)
        return to_bytes(ack)

    def receive_response(self, response: IncomingResponse, now: float) -> bool:
        """Give a response to its transaction; False when there is none (RFC 3261 section 17.1.3)."""
        transaction = self.clients.get((response.via.branch, response.method))
        if transaction is None:
            return False
        transaction.receive(response, now)
        return True

    def flow_failed(self, flow: Flow, now: float) -> None:
        """Tell the client transactions of a flow that it cannot be used (RFC 3261 section 8.1.3.1).

        An INVITE that was answered provisionally is spared: its answer comes by a new connection (section 18.2.2).
        """
        waiting = {State.CALLING, State.TRYING}
        for transaction in [one for one in self.clients.values() if one.flow == flow and one.state in waiting]:
            transaction.fail("transport", now)

    def find_server(self, request: IncomingRequest) -> ServerTransaction | None:
        """Return the transaction that a request, an ACK or a CANCEL belongs to (RFC 3261 section 17.2.3)."""
        return self.servers.get(server_key(request))

    def is_merged(self, request: IncomingRequest) -> bool:
        """Return whether the same request came by another way (RFC 3261 section 8.2.2.2)."""
        known = self._merged.get(_merge_key(request))
        return known is not None and not request.to.tag and known != server_key(request)

    def serve(self, request: IncomingRequest, flow: Flow, now: float, *, merges: bool = True) -> ServerTransaction:
        """Make the server transaction of a new request; with *merges* the same one by another way is known."""
        key = server_key(request)
        transaction = ServerTransaction(self, key, request, flow)
        self.servers[key] = transaction
        if merges and not request.to.tag:
            self._merged[_merge_key(request)] = key
        return transaction

    def forget_server(self, transaction: ServerTransaction) -> None:
        """Drop a terminated server transaction."""
        self.servers.pop(transaction.key, None)
        merge_key = _merge_key(transaction.request)
        if self._merged.get(merge_key) == transaction.key:
            del self._merged[merge_key]


def _merge_key(request: IncomingRequest) -> ServerKey:
    return (request.call_id, request.from_.tag, str(request.cseq), request.method)


def server_key(request: IncomingRequest) -> ServerKey:
    """Return what identifies the transaction of *request*, for ACK and CANCEL the INVITE's (RFC 3261 17.2.3)."""
    via = request.via
    method = "INVITE" if request.method in {"ACK", "CANCEL"} else request.method
    if via.branch.startswith(COOKIE) and len(via.branch) > len(COOKIE):
        return (via.branch, via.host.lower(), str(via.port or 0), method)
    # RFC 2543 peers; To's tag is left out because an ACK has one and its INVITE has not
    return ("rfc2543", via.raw, request.uri.raw, request.call_id, request.from_.tag, str(request.cseq), method)


class ClientTransaction:
    """One client transaction (RFC 3261 sections 17.1.1 and 17.1.2)."""

    __slots__ = (
        "_ack", "_data", "_datagrams", "_interval", "_layer", "_retransmit", "_timeout", "branch", "flow", "request",
        "state", "user",
    )  # fmt: skip

    def __init__(self, layer: TransactionLayer, request: Request, branch: str, flow: Flow, user: ClientUser) -> None:
        self._layer = layer
        self.request = request
        self.branch = branch
        self.flow = flow
        self.user = user
        self.state = State.CALLING if request.method == "INVITE" else State.TRYING
        self._data = to_bytes(request)
        self._ack = b""
        self._datagrams: Flow | None = None
        self._interval = layer.timers.t1_s
        self._retransmit: Timer | None = None
        self._timeout: Timer | None = None

    @property
    def size_bytes(self) -> int:
        """Length of the request."""
        return len(self._data)

    def go_by_stream(self) -> None:
        """Take TCP instead of UDP; to be called before `start`."""
        self._datagrams = self.flow
        self._change_flow(replace(self.flow, transport="tcp", spare=True))

    def _change_flow(self, flow: Flow) -> None:
        self.flow = flow
        self.request.headers.set("Via", new_via(flow, self.branch))
        self._data = to_bytes(self.request)

    def start(self, now: float) -> None:
        """Send the request and start timers A and B, or E and F."""
        self._send(self._data)
        if not self.flow.reliable:
            self._retransmit = self._layer.heap.at(now + self._interval, self._again)
        self._timeout = self._layer.heap.at(now + self._layer.timers.give_up_s, self._timed_out)

    def _send(self, data: bytes) -> None:
        self._layer.out(Transmit(self.flow, data))

    def _again(self, now: float) -> None:
        """Timer A (doubles without end) or E (doubles up to T2, is T2 once Proceeding)."""
        self._send(self._data)
        self._interval *= 2
        if self.request.method != "INVITE":
            most = self._layer.timers.t2_s
            self._interval = most if self.state is State.PROCEEDING else min(self._interval, most)
        self._retransmit = self._layer.heap.at(now + self._interval, self._again)

    def _timed_out(self, now: float) -> None:
        """Timer B or F."""
        self.fail("timeout", now)

    def expire(self, now: float) -> None:
        """End unless there was a final response; an INVITE in Proceeding has no timer of its own."""
        if self.state in {State.CALLING, State.TRYING, State.PROCEEDING}:
            self.fail("timeout", now)

    def fail(self, cause: str, now: float) -> None:
        """End without a final response; not to be called when there was one."""
        if cause == "transport" and self._datagrams is not None and self.state in {State.CALLING, State.TRYING}:
            # RFC 3261 section 18.1.1: a peer without TCP gets it by UDP, as long as it is
            self._stop()
            self._layer.stream_failed(self._datagrams.remote, now)
            self._change_flow(self._datagrams)
            self._datagrams = None
            self.start(now)
            return
        self._terminate(now)
        self.user.on_failure(self, cause, now)

    def _stop(self) -> None:
        for timer in (self._retransmit, self._timeout):
            if timer is not None:
                timer.cancel()
        self._retransmit = self._timeout = None

    def _terminate(self, now: float) -> None:
        self._stop()
        self.state = State.TERMINATED
        self._layer.clients.pop((self.branch, self.request.method), None)

    def _linger(self, state: State, seconds: float, now: float) -> None:
        """Timer D, K or M."""
        self._stop()
        self.state = state
        if seconds > 0:
            self._timeout = self._layer.heap.at(now + seconds, self._terminate)
        else:
            self._terminate(now)

    def receive(self, response: IncomingResponse, now: float) -> None:
        """Take a response that belongs to this transaction."""
        if self.request.method == "INVITE":
            self._receive_invite(response, now)
        elif self.state in {State.TRYING, State.PROCEEDING}:
            if response.status < 200:
                self.state = State.PROCEEDING
            else:
                self._linger(State.COMPLETED, 0 if self.flow.reliable else self._layer.timers.t4_s, now)
            self.user.on_response(self, response, now)

    def _receive_invite(self, response: IncomingResponse, now: float) -> None:
        if self.state in {State.CALLING, State.PROCEEDING}:
            if response.status < 200:
                self._stop()  # no timer runs in Proceeding: the far end may ring for long
                self.state = State.PROCEEDING
            elif response.status < 300:
                self._linger(State.ACCEPTED, self._layer.timers.give_up_s, now)
            else:
                self._ack = self._layer.ack_failure(self, response)
                self._send(self._ack)
                self._linger(State.COMPLETED, 0 if self.flow.reliable else self._layer.timers.give_up_s, now)
            self.user.on_response(self, response, now)
        elif self.state is State.COMPLETED and response.status >= 300:
            self._send(self._ack)
        elif self.state is State.ACCEPTED and 200 <= response.status < 300:
            self.user.on_response(self, response, now)


class ServerTransaction:
    """One server transaction (RFC 3261 sections 17.2.1 and 17.2.2)."""

    __slots__ = (
        "_interval", "_last", "_layer", "_reply_flow", "_retransmit", "_timeout", "flow", "key", "on_cancel",
        "request", "state", "to_tag",
    )  # fmt: skip

    def __init__(self, layer: TransactionLayer, key: ServerKey, request: IncomingRequest, flow: Flow) -> None:
        self._layer = layer
        self.key = key
        self.request = request
        self.flow = flow
        self._reply_flow = reply_flow(request.via, flow)
        self.state = State.PROCEEDING if request.method == "INVITE" else State.TRYING
        self._last = b""
        self._interval = layer.timers.t1_s
        self._retransmit: Timer | None = None
        self._timeout: Timer | None = None
        self.on_cancel: Callable[[IncomingRequest, float], None] | None = None
        self.to_tag = ""

    @property
    def answered(self) -> bool:
        """Whether a final response was given."""
        return self.state not in {State.TRYING, State.PROCEEDING}

    def make(self, status: int, *, to_tag: str = "", extra: list[tuple[str, str]] | None = None) -> Response:
        """Build a response to this transaction's request."""
        request = self.request
        self.to_tag = to_tag or self.to_tag
        return make_response(status, request.headers, request.via, self.flow, to_tag=to_tag, extra=extra or [])

    def transmit(self, data: bytes) -> None:
        """Send bytes where the responses go; for a 2xx that the UAS core repeats (RFC 3261 section 13.3.1.4)."""
        self._layer.out(Transmit(self._reply_flow, data))

    def respond(self, response: Response, now: float) -> bytes:
        """Send a response and return its bytes; after a final one nothing more is sent."""
        data = to_bytes(response)
        if self.answered:
            return data
        self._last = data
        self.transmit(data)
        timers = self._layer.timers
        if response.code >= 200:
            self._layer.count_answer(self.request.method, response.code)
        if response.code < 200:
            self.state = State.PROCEEDING
        elif self.request.method != "INVITE":
            self._linger(State.COMPLETED, 0 if self.flow.reliable else timers.give_up_s, now)  # timer J
        elif response.code < 300:
            self._linger(State.ACCEPTED, timers.give_up_s, now)  # timer L
        else:
            self._linger(State.COMPLETED, timers.give_up_s, now)  # timer H
            if not self.flow.reliable:
                self._retransmit = self._layer.heap.at(now + self._interval, self._again)
        return data

    def _again(self, now: float) -> None:
        """Timer G."""
        self.transmit(self._last)
        self._interval = min(2 * self._interval, self._layer.timers.t2_s)
        self._retransmit = self._layer.heap.at(now + self._interval, self._again)

    def receive(self, request: IncomingRequest, now: float) -> bool:
        """Take a retransmission or an ACK; False when it is an ACK for the 2xx, which the core wants."""
        if request.method == "ACK":
            if self.state is State.ACCEPTED:
                return False
            if self.state is State.COMPLETED:
                self._linger(State.CONFIRMED, 0 if self.flow.reliable else self._layer.timers.t4_s, now)  # timer I
        elif self._last and self.state in {State.PROCEEDING, State.COMPLETED}:
            self.transmit(self._last)
        return True

    def _linger(self, state: State, seconds: float, now: float) -> None:
        for timer in (self._retransmit, self._timeout):
            if timer is not None:
                timer.cancel()
        self._retransmit = None
        self.state = state
        if seconds > 0:
            self._timeout = self._layer.heap.at(now + seconds, self._terminate)
        else:
            self._terminate(now)

    def _terminate(self, now: float) -> None:
        if self._retransmit is not None:
            self._retransmit.cancel()
        self.state = State.TERMINATED
        self._layer.forget_server(self)
