"""What inbound and outbound calls share once there is a dialog: BYE, re-INVITE, UPDATE, INFO, ACK."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from sipmessage import Request, Response

from gateway.domain.errors import LocalProtocolError
from gateway.protocol.sip.dialog import Dialog, contact_uri
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import (
    ALLOW,
    Acked,
    AuthenticatedRequest,
    Engine,
    ReinviteDone,
    SessionClosed,
    SessionEvent,
)
from gateway.protocol.sip.events import Ended, Info, Reason, ReInvite, SipEvent, parse_reason
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.message import SDP, IncomingRequest, IncomingResponse, set_sdp
from gateway.protocol.sip.timers import Timer
from gateway.protocol.sip.transactions import ServerTransaction


class SessionState(enum.StrEnum):
    """Where a call is, as SIP sees it."""

    EARLY = "EARLY"
    CONFIRMED = "CONFIRMED"
    ENDING = "ENDING"
    TERMINATED = "TERMINATED"


SESSION_TRANSITIONS: Final[dict[SessionState, frozenset[SessionState]]] = {
    SessionState.EARLY: frozenset({SessionState.CONFIRMED, SessionState.TERMINATED}),
    SessionState.CONFIRMED: frozenset({SessionState.ENDING, SessionState.TERMINATED}),
    SessionState.ENDING: frozenset({SessionState.TERMINATED}),
    SessionState.TERMINATED: frozenset(),
}


@dataclass(slots=True)
class _Unacked:
    """A 2xx of ours that is repeated until its ACK comes (RFC 3261 section 13.3.1.4)."""

    transaction: ServerTransaction
    interval: float
    repeat: Timer
    give_up: Timer


class Session:
    """A call. Subclasses set the dialog up; this class runs it.

    Args:
        engine: the core's shared state.
        flow: how the peer is reached.
        auth: our credentials for it.
        contact_user: user part of our Contact.
    """

    def __init__(self, engine: Engine, flow: Flow, auth: DigestClient, contact_user: str) -> None:
        self.id = next(engine.ids)
        self.flow = flow
        self.state = SessionState.EARLY
        self.call_id = ""
        self._engine = engine
        self._auth = auth
        self._contact_user = contact_user
        self._dialog: Dialog | None = None
        self._unacked: _Unacked | None = None
        self._bye_waits: list[Reason | None] = []
        self._pending: tuple[int, ServerTransaction] | None = None
        self._reinvite: AuthenticatedRequest | None = None
        self._reinvite_sdp = ""
        self._reinvite_tries = 0
        self._reinvite_timer = Timer(0.0, self._send_reinvite)  # not in the heap: there is always one to cancel
        self._ack: tuple[int, Transmit] | None = None
        self._owns_call_id = False
        engine.sessions.add(self)

    # state

    def _move(self, state: SessionState) -> None:
        if state not in SESSION_TRANSITIONS[self.state]:
            raise LocalProtocolError(f"a call cannot go from {self.state} to {state}")
        self.state = state

    def _set_dialog(self, dialog: Dialog) -> None:
        self._dialog = dialog
        self._engine.dialogs[dialog.key] = self

    def _tell(self, event: SipEvent) -> None:
        self._engine.emit(SessionEvent(self, event))

    def _terminate(self, event: SipEvent | None, now: float) -> None:
        """End the call for good; *event* tells the owner why, None when it knows."""
        if self.state is SessionState.TERMINATED:
            return
        self._move(SessionState.TERMINATED)
        self._stop_unacked()
        if self._pending is not None:
            _, transaction = self._pending
            self._pending = None
            transaction.respond(self._response(transaction, 487), now)
        if self._reinvite_sdp:
            if self._reinvite is not None:
                self._reinvite.drop(now)
            self._finish_reinvite(487, None)
        if self._dialog is not None:
            self._engine.dialogs.pop(self._dialog.key, None)
        self._engine.sessions.discard(self)
        if event is not None:
            self._tell(event)
        self._engine.emit(SessionClosed(self))

    @property
    def dialog(self) -> Dialog:
        """The dialog.

        Raises:
            LocalProtocolError: there is none yet.
        """
        if self._dialog is None:
            raise LocalProtocolError("the call has no dialog yet")
        return self._dialog

    # messages

    def _response(self, transaction: ServerTransaction, status: int) -> Response:
        tag = self._dialog.local_tag if self._dialog else ""
        return transaction.make(status, to_tag=tag)

    def _describe(self, message: Request | Response, flow: Flow) -> None:
        """Add Contact, Allow and Supported, as INVITE, UPDATE and their 2xx carry them."""
        message.headers.set("Contact", f"<{contact_uri(flow, self._contact_user)}>")
        message.headers.set("Allow", ALLOW)
        if self._engine.supported:
            message.headers.set("Supported", ", ".join(sorted(self._engine.supported)))

    # requests of the peer

    def on_request(self, transaction: ServerTransaction, now: float) -> None:
        """Take a new request in the dialog."""
        request = transaction.request
        dialog = self.dialog
        if request.cseq <= dialog.remote_cseq:
            # RFC 3261 section 12.2.2; a retransmission never comes here
            transaction.respond(self._response(transaction, 500), now)
            return
        dialog.remote_cseq = request.cseq
        if unsupported := [tag for tag in request.list_header("Require") if tag not in self._engine.supported]:
            response = self._response(transaction, 420)
            response.headers.set("Unsupported", ", ".join(unsupported))
            transaction.respond(response, now)
            return
        if request.method == "BYE":
            self._on_bye(transaction, now)
        elif request.method in {"INVITE", "UPDATE"}:
            self._on_offer(transaction, now)
        elif request.method == "INFO":
            self._on_info(transaction, now)
        else:
            response = self._response(transaction, 200 if request.method == "OPTIONS" else 405)
            response.headers.set("Allow", ALLOW)
            response.headers.set("Accept", SDP)
            transaction.respond(response, now)

    def _on_bye(self, transaction: ServerTransaction, now: float) -> None:
        transaction.respond(self._response(transaction, 200), now)
        self._terminate(Ended(parse_reason(transaction.request.headers.getlist("Reason"))), now)

    def _on_info(self, transaction: ServerTransaction, now: float) -> None:
        request = transaction.request
        transaction.respond(self._response(transaction, 200), now)
        if request.body:
            kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
            self._tell(Info(kind, request.body))

    def _on_offer(self, transaction: ServerTransaction, now: float) -> None:
        request = transaction.request
        if self.state is not SessionState.CONFIRMED:
            self._refuse_offer(transaction, 500 if request.method == "INVITE" or request.body else 0, now)
        elif self._pending is not None or (self._unacked is not None and request.method == "INVITE"):
            self._refuse_offer(transaction, 500, now)
        elif self._reinvite is not None:
            self._refuse_offer(transaction, 491, now)
        elif request.body and request.sdp is None:
            response = self._response(transaction, 415)
            response.headers.set("Accept", SDP)
            transaction.respond(response, now)
        elif request.method == "UPDATE" and request.sdp is None:
            self.dialog.refresh_target(request, transaction.flow)
            self._refuse_offer(transaction, 0, now)
        else:
            self._pending = (next(self._engine.ids), transaction)
            transaction.on_cancel = lambda _, now: self._on_reinvite_cancel(transaction, now)
            if request.method == "INVITE":
                transaction.respond(transaction.make(100), now)
            self._tell(ReInvite(request.sdp, self._pending[0]))

    def _refuse_offer(self, transaction: ServerTransaction, status: int, now: float) -> None:
        response = self._response(transaction, status or 200)
        if status == 500:
            # RFC 3261 section 14.2: a random 0 to 10 s
            response.headers.set("Retry-After", str(int(self._engine.jitter() * 10)))
        if not status:
            self._describe(response, transaction.flow)
        transaction.respond(response, now)

    def _on_reinvite_cancel(self, transaction: ServerTransaction, now: float) -> None:
        self._pending = None
        transaction.respond(self._response(transaction, 487), now)

    def answer_reinvite(self, request_id: int, sdp: str, now: float) -> None:
        """Accept the peer's re-INVITE or UPDATE; *sdp* answers its offer, or is ours when it made none.

        Raises:
            LocalProtocolError: that request is not waiting any more.
        """
        transaction = self._take_pending(request_id)
        response = self._response(transaction, 200)
        self._describe(response, transaction.flow)
        set_sdp(response, sdp)
        self.dialog.refresh_target(transaction.request, transaction.flow)
        if transaction.request.method == "INVITE":
            self._send_2xx(transaction, response, now)
        else:
            transaction.respond(response, now)
            self._engine.emit(Acked(self, None))

    def refuse_reinvite(self, request_id: int, status: int, now: float) -> None:
        """Refuse the peer's re-INVITE or UPDATE; the session stays as it was (RFC 3261 section 14.2)."""
        transaction = self._take_pending(request_id)
        transaction.respond(self._response(transaction, status), now)

    def _take_pending(self, request_id: int) -> ServerTransaction:
        if self._pending is None or self._pending[0] != request_id:
            raise LocalProtocolError("that re-INVITE is not waiting for an answer")
        transaction = self._pending[1]
        self._pending = None
        return transaction

    # 2xx and ACK

    def _send_2xx(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        data = transaction.respond(response, now)
        timers, heap = self._engine.timers, self._engine.heap

        def repeat(now: float) -> None:
            """Repeat the 2xx, over reliable transports too: a proxy further on may lose it."""
            transaction.transmit(data)
            unacked.interval = min(2 * unacked.interval, timers.t2_s)
            unacked.repeat = heap.at(now + unacked.interval, repeat)

        unacked = self._unacked = _Unacked(
            transaction, timers.t1_s, heap.at(now + timers.t1_s, repeat),
            heap.at(now + timers.give_up_s, self._never_acked),
        )  # fmt: skip

    def _never_acked(self, now: float) -> None:
        """No ACK within 64*T1: the dialog is confirmed but the session ends (RFC 3261 section 13.3.1.4)."""
        self._stop_unacked()
        self._send_bye(Reason("SIP", 408, "No ACK"), now, Ended(Reason("SIP", 408, "No ACK")))

    def _stop_unacked(self) -> None:
        if self._unacked is not None:
            self._unacked.repeat.cancel()
            self._unacked.give_up.cancel()
            self._unacked = None

    def on_ack(self, request: IncomingRequest, now: float) -> None:
        """Take the ACK to a 2xx of ours."""
        if self._unacked is None or request.cseq != self._unacked.transaction.request.cseq:
            return
        self._stop_unacked()
        self._engine.emit(Acked(self, request.sdp))
        if self._bye_waits:
            self._send_bye(self._bye_waits.pop(), now, Ended())

    def _acknowledge(self, dialog: Dialog, response: IncomingResponse, credentials: list[tuple[str, str]]) -> Transmit:
        """Send the ACK to a 2xx of the peer: in the dialog, with the INVITE's CSeq and credentials."""
        ack = dialog.request("ACK", response.cseq)
        for name, value in credentials:
            ack.headers.add(name, value)
        return self._engine.send_ack(ack, dialog.next_flow())

    # requests of ours

    def bye(self, reason: Reason | None, now: float) -> None:
        """Hang up a confirmed call; before the ACK to our 2xx the BYE waits for it (RFC 3261 section 15)."""
        if self.state is not SessionState.CONFIRMED:
            return
        if self._unacked is not None:
            self._bye_waits = [reason]
        else:
            self._send_bye(reason, now, Ended())

    def _send_bye(self, reason: Reason | None, now: float, event: Ended) -> None:
        self._move(SessionState.ENDING)

        def make() -> Request:
            request = self.dialog.request("BYE")
            if reason is not None:
                request.headers.set("Reason", str(reason))
            return request

        def done(response: IncomingResponse | None, cause: str, now: float) -> None:
            self._terminate(event, now)

        AuthenticatedRequest(self._engine, make, self.dialog.next_flow(), self._auth, done).send(now)

    def reinvite(self, sdp: str, now: float) -> None:
        """Offer a changed session; the outcome is a `ReinviteDone`.

        Raises:
            LocalProtocolError: the call is not up, or another offer is open.
        """
        if self.state is not SessionState.CONFIRMED:
            raise LocalProtocolError("the call is not up")
        if self._reinvite_sdp or self._pending is not None or self._unacked is not None:
            raise LocalProtocolError("another offer is open")
        self._reinvite_sdp = sdp
        self._reinvite_tries = 0
        self._send_reinvite(now)

    def _send_reinvite(self, now: float) -> None:
        if self._pending is not None or self._unacked is not None:
            # the peer's offer came first while we waited out a glare
            self._retry_reinvite(now)
            return
        flow = self.dialog.next_flow()

        def make() -> Request:
            request = self.dialog.request("INVITE")
            self._describe(request, flow)
            set_sdp(request, self._reinvite_sdp)
            return request

        self._reinvite = AuthenticatedRequest(self._engine, make, flow, self._auth, self._on_reinvite_final)
        self._reinvite.send(now)
        # in Proceeding no timer of the transaction runs, but here nobody's phone rings
        limit = 2 * self._engine.timers.give_up_s
        self._reinvite_timer = self._engine.heap.at(now + limit, self._reinvite.expire)

    def _retry_reinvite(self, now: float) -> None:
        """Wait after glare (RFC 3261 section 14.1): 2.1 to 4 s for the owner of the Call-ID, else up to 2 s."""
        self._reinvite_timer.cancel()
        self._reinvite = None
        self._reinvite_tries += 1
        if self._reinvite_tries > self._engine.limits.reinvite_tries:
            self._finish_reinvite(491, None)
            return
        units = self._engine.timers.t1_s / 0.5  # the RFC's figures belong to the default T1
        wait = 2.1 + 1.9 * self._engine.jitter() if self._owns_call_id else 2.0 * self._engine.jitter()
        self._reinvite_timer = self._engine.heap.at(now + wait * units, self._send_reinvite)

    def _finish_reinvite(self, status: int, sdp: str | None) -> None:
        self._reinvite_timer.cancel()
        self._reinvite = None
        self._reinvite_sdp = ""
        self._engine.emit(ReinviteDone(self, status, sdp))

    def _on_reinvite_final(self, response: IncomingResponse | None, cause: str, now: float) -> None:
        if response is None:
            # RFC 3261 section 14.1 with 12.2.1.2: no answer at all ends the dialog
            self._finish_reinvite(408 if cause == "timeout" else 503, None)
            self._end_dead_dialog(408, now)
        elif response.status < 300:
            if self._ack is not None and self._ack[0] == response.cseq:
                self._engine.emit(self._ack[1])
                return
            self.dialog.refresh_target(response, self.dialog.flow)
            credentials = list(self._reinvite.credentials()) if self._reinvite else []
            self._ack = (response.cseq, self._acknowledge(self.dialog, response, credentials))
            self._finish_reinvite(response.status, response.sdp)
        elif response.status == 491:
            self._retry_reinvite(now)
        else:
            self._finish_reinvite(response.status, None)
            if response.status in {408, 481}:
                self._end_dead_dialog(response.status, now)

    def _end_dead_dialog(self, status: int, now: float) -> None:
        if self.state is SessionState.CONFIRMED:
            self._send_bye(Reason("SIP", status), now, Ended(Reason("SIP", status, "The peer lost the call")))
