"""Calls that we place (RFC 3261 section 13.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sipmessage import Request

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.dialog import Dialog, DialogKey, contact_of, record_routes
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import AuthenticatedRequest, Engine, IgnoreResponses, ignore_final
from gateway.protocol.sip.events import Answered, Failed, Reason, Ringing, parse_reason
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.message import PHRASES, IncomingResponse, new_request, set_headers, set_sdp
from gateway.protocol.sip.outbound import Granted
from gateway.protocol.sip.redirect import Redirects
from gateway.protocol.sip.reliable import reliable_number
from gateway.protocol.sip.session import Session, SessionState
from gateway.protocol.sip.text import parse_uri
from gateway.protocol.sip.timers import Timer
from gateway.protocol.sip.transactions import ServerTransaction

_MOST_FORKS = 16


@dataclass(frozen=True, slots=True)
class InviteSpec:
    """What an INVITE says.

    Attributes:
        uri: Request-URI and To.
        from_: From value without a tag.
        sdp: the offer.
        headers: further headers, P-Asserted-Identity among them.
        contact_user: user part of Contact.
        call_id: Call-ID; a fresh one when empty.
        endpoint: id of the endpoint whose call it is; 0: none's.
        binding: what the registrar of the account said.
    """

    uri: str
    from_: str
    sdp: str
    headers: Sequence[tuple[str, str]] = ()
    contact_user: str = ""
    call_id: str = ""
    endpoint: int = 0
    binding: Granted = field(default_factory=Granted)


class ClientSession(Session):
    """An outbound call; `start` sends the INVITE."""

    def __init__(self, engine: Engine, spec: InviteSpec, flow: Flow, auth: DigestClient) -> None:
        super().__init__(engine, flow, auth, spec.contact_user, spec.endpoint)
        self._spec = spec
        self.gruu, self.keeps_flow = spec.binding.gruu, spec.binding.outbound
        self._uri = spec.uri
        secure = flow.transport in {"tls", "wss"}
        self._redirects = Redirects(spec.uri, engine.limits.max_redirects, secure=secure)
        self.call_id = spec.call_id or engine.token()
        self._owns_call_id = True
        self._local_tag = engine.token()
        self._cseq = 0
        self._invite = AuthenticatedRequest(engine, self._make, flow, auth, self._on_final, self._on_provisional)
        self._pracked: dict[str, tuple[Dialog, int]] = {}  # early dialogs by remote tag, and their last RSeq
        self._early_sdp: dict[str, str] = {}
        self._forks: dict[str, Transmit] = {}
        self._early: set[DialogKey] = set()
        self._provisional = False
        self._cancelled = False
        self._cancel_reason: Reason | None = None
        self._give_up: Timer | None = None

    def try_also(self, flows: Sequence[Flow]) -> None:
        """Say where the INVITE goes when its flow fails; to be called before `start`."""

        def moved(flow: Flow) -> None:
            self.flow = flow

        self._invite.others = list(flows)
        self._invite.on_moved = moved

    def start(self, now: float) -> None:
        """Send the INVITE."""
        self._invite.send(now)

    def _make(self) -> Request:
        spec = self._spec
        self._cseq += 1
        # after a challenge the new INVITE is a new transaction: a CANCEL waits for its own provisional response
        self._provisional = False
        self._pracked.clear()
        request = new_request("INVITE", parse_uri(self._uri))
        headers = request.headers
        if spec.binding.routes:
            headers.setlist("Route", list(spec.binding.routes))
        headers.set("From", f"{spec.from_};tag={self._local_tag}")
        headers.set("To", f"<{spec.uri}>")
        headers.set("Call-ID", self.call_id)
        headers.set("CSeq", f"{self._cseq} INVITE")
        self._describe(request, self.flow)
        self._timer.offer(headers)
        set_headers(headers, spec.headers)
        set_sdp(request, spec.sdp)
        return request

    def _on_provisional(self, response: IncomingResponse, now: float) -> None:
        self._provisional = True
        if self._cancelled:
            self._send_cancel(now)
        elif self.state is SessionState.EARLY and response.status > 100:
            sdp, tag = response.sdp, response.to.tag
            if sdp is not None and len(self._early_sdp) < _MOST_FORKS:
                self._early_sdp[tag] = sdp
            if tag and len(self._early) < _MOST_FORKS:
                key = (self.call_id, self._local_tag, tag)
                self._early.add(key)
                self._engine.dialogs[key] = self
            if self._is_new(response, now):
                self._tell(Ringing(response.status, sdp))

    def _is_new(self, response: IncomingResponse, now: float) -> bool:
        """Acknowledge a reliable provisional answer (RFC 3262 section 4); False for one that comes again or too early.

        A PRACK that is lost is sent again by its own transaction.
        """
        rseq = reliable_number(response)
        if rseq is None:
            return True
        tag = response.to.tag
        known = self._pracked.get(tag)
        dialog = known[0] if known else self._dialog_of(response)
        if dialog is None or (rseq != known[1] + 1 if known else len(self._pracked) >= _MOST_FORKS):
            return False
        self._pracked[tag] = (dialog, rseq)
        rack = f"{rseq} {response.cseq} INVITE"

        def make() -> Request:
            request = dialog.request("PRACK")
            request.headers.set("RAck", rack)
            return request

        AuthenticatedRequest(self._engine, make, dialog.next_flow(), self._auth, ignore_final).send(now)
        return True

    def on_request(self, transaction: ServerTransaction, now: float) -> None:
        """Take a request in the dialog; in an early one only what changes nothing is answered 200."""
        if self.state is not SessionState.EARLY:
            super().on_request(transaction, now)
            return
        request = transaction.request
        harmless = request.method in {"INFO", "OPTIONS"} or (request.method == "UPDATE" and not request.body)
        response = transaction.make(200 if harmless else 500)
        self._describe(response, transaction.flow)
        transaction.respond(response, now)

    def _leave_early(self) -> None:
        for key in self._early:
            if self._dialog is None or key != self._dialog.key:
                self._engine.dialogs.pop(key, None)
        self._early.clear()

    def _on_final(self, response: IncomingResponse | None, cause: str, now: float) -> None:
        if response is None:
            status = 408 if cause == "timeout" else 503
            self._fail(Failed(status, PHRASES[status]), now)
        elif response.status < 300:
            self._on_2xx(response, now)
        elif response.status == 422 and not self._cancelled and self._timer.learn(response):
            self._invite.send(now)
        elif not self._cancelled and response.status < 600 and self._follow(response, now):
            return
        else:
            phrase = response.phrase or PHRASES.get(response.status, "")
            self._fail(Failed(response.status, phrase, parse_reason(response.headers.getlist("Reason"))), now)

    def _follow(self, response: IncomingResponse, now: float) -> bool:
        """Try the next URI that a 3xx named; False when there is none. A 6xx speaks for all of them."""
        self._redirects.learn(response)
        uri = self._redirects.next()
        if uri is None or self.state is not SessionState.EARLY:
            return False
        self._uri = uri
        self._leave_early()
        self._early_sdp.clear()
        self._invite.send_elsewhere(now)
        return True

    def _fail(self, event: Failed, now: float) -> None:
        if self._give_up is not None:
            self._give_up.cancel()
        self._leave_early()
        if self.state is SessionState.EARLY:
            self._terminate(event, now)

    def _on_2xx(self, response: IncomingResponse, now: float) -> None:
        tag = response.to.tag
        if (sent := self._forks.get(tag)) is not None:
            self._engine.emit(sent)  # the ACK was lost
            return
        if len(self._forks) >= _MOST_FORKS:
            return
        dialog = self._dialog_of(response)
        if dialog is None:
            self._fail(Failed(502, "The answer has no usable Contact or Record-Route"), now)
            return
        self._forks[tag] = self._acknowledge(dialog, response, list(self._invite.credentials()))
        sdp = response.sdp or self._early_sdp.get(tag)
        if self.state is SessionState.EARLY and not self._cancelled and sdp is not None:
            self._set_dialog(dialog)
            self._leave_early()
            self._move(SessionState.CONFIRMED)
            self._local_sdp = self._spec.sdp
            self._note_allowed(response)
            self._timer.agree(response, now)
            self._tell(Answered(sdp))
            return
        # a second phone answered, or the 200 crossed our CANCEL: nobody wants this dialog
        self._hang_up(dialog, now)
        if self.state is SessionState.EARLY:
            self._fail(
                Failed(487, PHRASES[487], self._cancel_reason) if self._cancelled else Failed(488, PHRASES[488]), now
            )

    def _dialog_of(self, response: IncomingResponse) -> Dialog | None:
        try:
            routes = tuple(reversed(record_routes(response)))
        except RemoteProtocolError:
            return None
        early = self._pracked.get(response.to.tag)
        cseq = early[0].local_cseq if early else self._cseq  # PRACKs have counted on
        return Dialog(
            self.call_id, self._local_tag, response.to.tag, f"{self._spec.from_};tag={self._local_tag}",
            response.to.raw, cseq, -1, routes, contact_of(response) or self._uri, self.flow,
        )  # fmt: skip

    def _hang_up(self, dialog: Dialog, now: float) -> None:
        reason = self._cancel_reason

        def make() -> Request:
            request = dialog.request("BYE")
            if reason is not None:
                request.headers.set("Reason", str(reason))
            return request

        AuthenticatedRequest(self._engine, make, dialog.next_flow(), self._auth, ignore_final).send(now)

    def cancel(self, reason: Reason | None, now: float) -> None:
        """Give the call up; the end is a `Failed` (487), also when a 200 crosses the CANCEL."""
        if self.state is not SessionState.EARLY or self._cancelled:
            return
        self._cancelled = True
        self._invite.unwanted = True
        self._cancel_reason = reason
        if self._provisional:
            self._send_cancel(now)
        # else RFC 3261 section 9.1: no CANCEL before a provisional response

    def _send_cancel(self, now: float) -> None:
        transaction = self._invite.transaction
        if self._give_up is not None:
            return

        def gave_up(now: float) -> None:
            """No final answer 64*T1 after CANCEL (RFC 3261 section 9.1): the INVITE counts as cancelled."""
            self._fail(Failed(487, PHRASES[487]), now)
            transaction.expire(now)

        headers = [("Reason", str(self._cancel_reason))] if self._cancel_reason else []
        self._engine.layer.cancel(transaction, headers, IgnoreResponses(), now)
        self._give_up = self._engine.heap.at(now + self._engine.timers.give_up_s, gave_up)
