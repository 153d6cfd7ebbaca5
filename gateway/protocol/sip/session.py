"""What is said in a call: re-INVITE, UPDATE, REFER, INFO, BYE, and the refreshes of the session."""

from __future__ import annotations

from sipmessage import Request

from gateway.domain.errors import LocalProtocolError
from gateway.protocol.sip.content import unknown_tags, unreadable
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import ALLOW, Acked, AuthenticatedRequest, Engine, FinalCallback, ReinviteDone
from gateway.protocol.sip.events import Ended, Info, Reason, Refer, ReInvite, parse_reason
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.message import SDP, IncomingRequest, IncomingResponse, set_sdp
from gateway.protocol.sip.refer import Referral, parse_refer_to
from gateway.protocol.sip.session_timer import SessionTimer, too_brief
from gateway.protocol.sip.timers import Timer
from gateway.protocol.sip.transactions import KNOWN_METHODS, ServerTransaction
from gateway.protocol.sip.usage import InviteUsage, SessionState

__all__ = ["Session", "SessionState"]


class Session(InviteUsage):
    """A call: what is said in its dialog once there is one. Subclasses set the dialog up."""

    def __init__(self, engine: Engine, flow: Flow, auth: DigestClient, contact_user: str, endpoint: int) -> None:
        super().__init__(engine, flow, auth, contact_user, endpoint)
        self._pending: tuple[int, ServerTransaction] | None = None
        self._reinvite: AuthenticatedRequest | None = None
        self._reinvite_method = "INVITE"
        self._reinvite_sdp = ""
        self._reinvite_tries = 0
        self._refreshing = False  # the open re-INVITE or UPDATE is a refresh: nobody asked for it
        self._reinvite_timer = Timer(0.0, self._send_reinvite)  # not in the heap: there is always one to cancel
        self._ack: tuple[int, Transmit] | None = None
        self._owns_call_id = False
        self._local_sdp = ""  # what we said last and the peer agreed to
        self._peer_updates = False
        self._asking = False  # an UPDATE without an offer, or an OPTIONS, is under way
        self._referral: tuple[int, Referral] | None = None
        self._timer = SessionTimer(
            engine.heap, engine.limits.session_expires_s, engine.limits.min_se_s,
            refresh=self._refresh_session, probe=self._probe, expired=self._expired,
        )  # fmt: skip
        engine.sessions.add(self)

    def _drop_open(self, now: float) -> None:
        self._timer.stop()
        if self._pending is not None:
            _, transaction = self._pending
            self._pending = None
            transaction.respond(self._response(transaction, 487), now)
        if self._reinvite_sdp:
            if self._reinvite is not None:
                self._reinvite.drop(now)
            self._finish_reinvite(487, None, now)

    def _send_bye(self, reason: Reason | None, now: float, event: Ended) -> None:
        self._timer.stop()
        super()._send_bye(reason, now, event)

    def _note_allowed(self, message: IncomingRequest | IncomingResponse) -> None:
        """Note whether the peer takes UPDATE, when it says (RFC 3311 section 5.1)."""
        if values := message.headers.getlist("Allow"):
            self._peer_updates = "UPDATE" in {name.strip() for value in values for name in value.split(",")}

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
        if unsupported := unknown_tags(request, self._engine.supported):
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
        elif request.method == "REFER":
            self._on_refer(transaction, now)
        else:
            self._on_other(transaction, now)

    def _on_other(self, transaction: ServerTransaction, now: float) -> None:
        method = transaction.request.method
        # a REFER's subscription is its own, and we subscribe to nothing
        status = {"OPTIONS": 200, "SUBSCRIBE": 489, "NOTIFY": 481}.get(method, 405 if method in KNOWN_METHODS else 501)
        response = self._response(transaction, status)
        response.headers.set("Allow", ALLOW)
        response.headers.set("Accept", SDP)
        response.headers.set("Supported", ", ".join(sorted(self._engine.supported)))
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

    def _on_refer(self, transaction: ServerTransaction, now: float) -> None:
        """Take a REFER: 202, a first NOTIFY at once (RFC 3515 section 2.4.4), and the owner does the rest."""
        request = transaction.request
        target = parse_refer_to(request.headers.getlist("Refer-To"))
        if self.state is not SessionState.CONFIRMED or self._referral is not None:
            self._refuse_offer(transaction, 491, now)
            return
        number = next(self._engine.ids)
        quiet = (request.header("Refer-Sub") or "").partition(";")[0].strip().lower() == "false"
        response = self._response(transaction, 202)
        self._describe(response, transaction.flow)
        if quiet:
            response.headers.set("Refer-Sub", "false")
        transaction.respond(response, now)
        referral = Referral(
            self._engine, self.dialog, self._auth, request.cseq, self._engine.limits.refer_expires_s, now,
            self._referral_over, quiet=quiet,
        )  # fmt: skip
        self._referral = (number, referral)
        referral.tell(100, now)
        self._tell(Refer(target.uri, target.replaces, request.header("Referred-By") or "", number))

    def _referral_over(self) -> None:
        self._referral = None

    def refer_progress(self, request_id: int, status: int, now: float) -> None:
        """Tell the peer how far the call is that it asked for; works after the end of this one too.

        Args:
            request_id: which REFER.
            status: SIP status of the new call; from 200 on it is the last one told.
            now: monotonic seconds.
        """
        if self._referral is not None and self._referral[0] == request_id:
            self._referral[1].tell(status, now)

    def _on_offer(self, transaction: ServerTransaction, now: float) -> None:
        request = transaction.request
        self._note_allowed(request)
        if self.state is not SessionState.CONFIRMED:
            self._refuse_offer(transaction, 500 if request.method == "INVITE" or request.body else 0, now)
        elif brief := too_brief(request, self._engine.limits.min_se_s):
            transaction.respond(transaction.make(422, extra=brief), now)
        elif unreadable(request):
            response = self._response(transaction, 415)
            response.headers.set("Accept", SDP)
            response.headers.set("Accept-Encoding", "identity")
            transaction.respond(response, now)
        elif request.method == "UPDATE" and request.sdp is None:
            self.dialog.refresh_target(request, transaction.flow)
            response = self._response(transaction, 200)
            self._describe(response, transaction.flow)
            self._timer.accept(request, response.headers, now)
            transaction.respond(response, now)
        elif self._pending is not None or (self._unacked is not None and request.method == "INVITE"):
            self._refuse_offer(transaction, 500, now)
        elif self._reinvite is not None:
            self._refuse_offer(transaction, 491, now)
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
        self._local_sdp = sdp
        self._timer.accept(transaction.request, response.headers, now)
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

    # offers of ours

    def reinvite(self, sdp: str, now: float, *, method: str = "INVITE") -> None:
        """Offer a changed session by INVITE or UPDATE (RFC 3311); the outcome is a `ReinviteDone`.

        Raises:
            LocalProtocolError: the call is not up, or another offer is open, or the peer takes no UPDATE.
        """
        if self.state is not SessionState.CONFIRMED:
            raise LocalProtocolError("the call is not up")
        if self._offer_open:
            raise LocalProtocolError("another offer is open")
        if method == "UPDATE" and not self._peer_updates:
            raise LocalProtocolError("the peer does not allow UPDATE")
        self._refreshing = False
        self._offer(sdp, method, now)

    @property
    def _offer_open(self) -> bool:
        return bool(self._reinvite_sdp) or self._pending is not None or self._unacked is not None

    def _offer(self, sdp: str, method: str, now: float) -> None:
        self._reinvite_method, self._reinvite_sdp = method, sdp
        self._reinvite_tries = 0
        self._send_reinvite(now)

    def _send_reinvite(self, now: float) -> None:
        if self._pending is not None or self._unacked is not None:
            # the peer's offer came first while we waited out a glare
            self._retry_reinvite(now)
            return
        flow = self.dialog.next_flow()

        def make() -> Request:
            request = self._session_request(self._reinvite_method, flow)
            set_sdp(request, self._reinvite_sdp)
            return request

        self._reinvite = AuthenticatedRequest(self._engine, make, flow, self._auth, self._on_reinvite_final)
        self._reinvite.send(now)
        # in Proceeding no timer of the transaction runs, but here nobody's phone rings
        limit = 2 * self._engine.timers.give_up_s
        self._reinvite_timer = self._engine.heap.at(now + limit, self._reinvite.expire)

    def _session_request(self, method: str, flow: Flow) -> Request:
        request = self.dialog.request(method)
        self._describe(request, flow)
        self._timer.offer(request.headers)
        return request

    def _retry_reinvite(self, now: float) -> None:
        """Wait after glare (RFC 3261 section 14.1): 2.1 to 4 s for the owner of the Call-ID, else up to 2 s."""
        self._reinvite_timer.cancel()
        self._reinvite = None
        self._reinvite_tries += 1
        if self._reinvite_tries > self._engine.limits.reinvite_tries:
            self._finish_reinvite(491, None, now)
            return
        units = self._engine.timers.t1_s / 0.5  # the RFC's figures belong to the default T1
        wait = 2.1 + 1.9 * self._engine.jitter() if self._owns_call_id else 2.0 * self._engine.jitter()
        self._reinvite_timer = self._engine.heap.at(now + wait * units, self._send_reinvite)

    def _finish_reinvite(self, status: int, sdp: str | None, now: float) -> None:
        self._reinvite_timer.cancel()
        self._reinvite = None
        if status < 300:
            self._local_sdp = self._reinvite_sdp
        self._reinvite_sdp = ""
        if not self._refreshing:
            self._engine.emit(ReinviteDone(self, status, sdp))
        elif status >= 300 and self.state is SessionState.CONFIRMED:
            self._timer.again(now)

    def _on_reinvite_final(self, response: IncomingResponse | None, cause: str, now: float) -> None:
        if response is None:
            # RFC 3261 section 14.1 with 12.2.1.2: no answer at all ends the dialog
            self._finish_reinvite(408 if cause == "timeout" else 503, None, now)
            self._end_dead_dialog(408, now)
        elif response.status < 300:
            if self._ack is not None and self._ack[0] == response.cseq:
                self._engine.emit(self._ack[1])
                return
            self.dialog.refresh_target(response, self.dialog.flow)
            self._note_allowed(response)
            self._timer.agree(response, now)
            if response.method == "INVITE":
                credentials = list(self._reinvite.credentials()) if self._reinvite else []
                self._ack = (response.cseq, self._acknowledge(self.dialog, response, credentials))
            self._finish_reinvite(response.status, response.sdp, now)
        elif response.status == 491:
            self._retry_reinvite(now)
        elif response.status == 422 and self._timer.learn(response):
            self._reinvite_timer.cancel()
            self._send_reinvite(now)
        else:
            self._finish_reinvite(response.status, None, now)
            if response.status in {408, 481}:
                self._end_dead_dialog(response.status, now)

    # refreshes

    def _refresh_session(self, now: float) -> None:
        """Refresh the session without changing it (RFC 4028 section 10): by UPDATE where the peer takes it."""
        if self._peer_updates:
            self._ask("UPDATE", self._on_refreshed, now)
        elif self._offer_open:
            self._timer.again(now)
        else:
            self._refreshing = True
            self._offer(self._local_sdp, "INVITE", now)

    def _probe(self, now: float) -> None:
        self._ask("OPTIONS", self._on_probed, now)

    def check_alive(self, now: float) -> None:
        """Ask the peer whether it still knows the call; 408, 481 or no answer ends it.

        By UPDATE where the peer takes it, which is a refresh too: a peer that lost the call may answer an OPTIONS.
        """
        if self.state is not SessionState.CONFIRMED or self._asking:
            return
        if self._peer_updates:
            self._ask("UPDATE", self._on_refreshed, now)
        else:
            self._probe(now)

    def _ask(self, method: str, then: FinalCallback, now: float) -> None:
        flow = self.dialog.next_flow()
        self._asking = True

        def done(response: IncomingResponse | None, cause: str, now: float) -> None:
            self._asking = False
            then(response, cause, now)

        def make() -> Request:
            return self._session_request(method, flow) if method == "UPDATE" else self.dialog.request(method)

        AuthenticatedRequest(self._engine, make, flow, self._auth, done).send(now)

    def _on_refreshed(self, response: IncomingResponse | None, cause: str, now: float) -> None:
        if self.state is not SessionState.CONFIRMED:
            return
        if response is None or response.status in {408, 481}:
            self._end_dead_dialog(response.status if response else 408, now)
        elif response.status < 300:
            self.dialog.refresh_target(response, self.dialog.flow)
            self._timer.agree(response, now)
        elif response.status == 422 and self._timer.learn(response):
            self._refresh_session(now)
        else:
            if response.status in {405, 501}:
                self._peer_updates = False
            self._timer.again(now)

    def _on_probed(self, response: IncomingResponse | None, cause: str, now: float) -> None:
        if self.state is not SessionState.CONFIRMED:
            return
        if response is None or response.status in {408, 481}:
            self._end_dead_dialog(response.status if response else 408, now)
        elif not self._timer.interval_s:
            self._timer.ask_later(now)

    def _expired(self, now: float) -> None:
        self._end_dead_dialog(408, now)
