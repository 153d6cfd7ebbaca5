"""Calls that come in (RFC 3261 section 13.3)."""

from __future__ import annotations

from sipmessage import Response

from gateway.domain.errors import LocalProtocolError, RemoteProtocolError
from gateway.protocol.sip.content import option_tags
from gateway.protocol.sip.dialog import Dialog, contact_of, record_routes
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import Engine
from gateway.protocol.sip.events import Cancelled, Reason, parse_reason
from gateway.protocol.sip.message import IncomingRequest, set_sdp
from gateway.protocol.sip.reliable import RELIABLE, ReliableProvisionals
from gateway.protocol.sip.session import Session, SessionState
from gateway.protocol.sip.text import NameAddr, parse_name_addr, parse_name_addrs, parse_uri
from gateway.protocol.sip.timers import Timer
from gateway.protocol.sip.transactions import ServerTransaction


class ServerSession(Session):
    """An inbound call whose caller is known to be allowed; 100 was sent.

    Args:
        engine: the core's shared state.
        transaction: the INVITE's.
        auth: our credentials for requests of ours in the dialog.
        contact_user: user part of our Contact.
        now: monotonic seconds.
        endpoint: id of the endpoint whose call it is.

    Raises:
        RemoteProtocolError: Record-Route is malformed; answer 400.
    """

    def __init__(
        self, engine: Engine, transaction: ServerTransaction, auth: DigestClient, contact_user: str, now: float,
        endpoint: int = 0,
    ) -> None:  # fmt: skip
        request = transaction.request
        routes = record_routes(request)
        target = contact_of(request)
        if not request.from_.tag and request.header("Contact") is None:
            target = request.from_.uri  # RFC 2543 asks for neither
        if not target:
            raise RemoteProtocolError("Contact is missing or malformed")  # section 8.1.1.8: exactly one
        top = parse_name_addr(routes[0]).uri if routes else target
        secure = "sips" in {request.uri.scheme, parse_uri(top).scheme}
        super().__init__(engine, transaction.flow, auth, contact_user, endpoint)
        self.request = request
        self.call_id = request.call_id
        self.secure = secure
        self._transaction = transaction
        tag = engine.token()
        self._set_dialog(
            Dialog(
                request.call_id, tag, request.from_.tag, f"{request.to.raw};tag={tag}", request.from_.raw, 0,
                request.cseq, routes, target, transaction.flow,
            )
        )  # fmt: skip
        self._note_allowed(request)
        self._last_provisional = 0
        self._reliable: ReliableProvisionals | None = None
        if RELIABLE in option_tags(request, "Require"):
            self._reliable = ReliableProvisionals(
                transaction, engine.timers, engine.heap, engine.jitter, self._never_acknowledged
            )
        transaction.on_cancel = self._on_cancel
        transaction.respond(transaction.make(100), now)
        self._refresh = self._keep_ringing(now)

    @property
    def caller(self) -> tuple[str, str]:
        """User part and display name of the caller: from P-Asserted-Identity, else From; empty when anonymous."""
        return caller_of(self.request)

    def _keep_ringing(self, now: float) -> Timer:
        return self._engine.heap.at(now + self._engine.limits.ring_refresh_s, self._ring_again)

    def _ring_again(self, now: float) -> None:
        if self._last_provisional:
            self._send_provisional(self._last_provisional, now)
        self._refresh = self._keep_ringing(now)

    def _send_provisional(self, status: int, now: float) -> None:
        response = self._with_routes(status)
        if self._reliable is None:
            self._transaction.respond(response, now)
        elif self.request.sdp is not None:
            self._reliable.send(response, now)
        # else RFC 3262 section 5: a reliable answer to an INVITE without an offer would have to make one, and the
        # caller's answer in PRACK would start the media before anybody has answered; so it is not told of the ringing

    def _never_acknowledged(self, now: float) -> None:
        """No PRACK within 64*T1 (RFC 3262 section 3): the INVITE is refused with a 5xx."""
        self._stop_ringing()
        self._transaction.respond(self._response(self._transaction, 504), now)
        self._terminate(Cancelled(Reason("SIP", 504, "No PRACK")), now)

    def on_request(self, transaction: ServerTransaction, now: float) -> None:
        """Take a request in the dialog; PRACK belongs to the INVITE's provisional answers."""
        if transaction.request.method == "PRACK":
            self._on_prack(transaction, now)
        else:
            super().on_request(transaction, now)

    def _on_prack(self, transaction: ServerTransaction, now: float) -> None:
        request = transaction.request
        self.dialog.remote_cseq = max(self.dialog.remote_cseq, request.cseq)
        if self._reliable is None or not self._reliable.acknowledge(request, now):
            status = 481
        elif request.sdp is not None:
            status = 488  # the offer of the INVITE is not answered before the 200: there is nothing to change yet
        else:
            status = 200
        transaction.respond(self._response(transaction, status), now)

    def _with_routes(self, status: int) -> Response:
        response = self._response(self._transaction, status)
        if routes := self.request.headers.getlist("Record-Route"):
            response.headers.setlist("Record-Route", list(routes))
        self._describe(response, self._transaction.flow)
        return response

    def ringing(self, now: float, status: int = 180) -> None:
        """Send a provisional answer.

        Raises:
            LocalProtocolError: the call is answered or over.
        """
        self._want_early()
        self._last_provisional = status
        self._send_provisional(status, now)

    def answer(self, sdp: str, now: float) -> None:
        """Send 200; `Acked` follows.

        Raises:
            LocalProtocolError: the call is answered or over.
        """
        self._want_early()
        self._stop_ringing()
        response = self._with_routes(200)
        set_sdp(response, sdp)
        self._local_sdp = sdp
        self._timer.accept(self.request, response.headers, now)
        self._move(SessionState.CONFIRMED)
        self._send_2xx(self._transaction, response, now)

    def reject(self, status: int, reason: Reason | None, retry_after_s: int | None, now: float) -> None:
        """Send a final failure.

        Raises:
            LocalProtocolError: the call is answered or over.
        """
        self._want_early()
        response = self._response(self._transaction, status)
        if reason is not None:
            response.headers.set("Reason", str(reason))
        if retry_after_s is not None:
            response.headers.set("Retry-After", str(retry_after_s))
        self._transaction.respond(response, now)
        self._stop_ringing()
        self._terminate(None, now)

    def _want_early(self) -> None:
        if self.state is not SessionState.EARLY:
            raise LocalProtocolError("the call is answered or over")

    def _stop_ringing(self) -> None:
        self._refresh.cancel()
        if self._reliable is not None:
            self._reliable.quiet()

    def _on_cancel(self, request: IncomingRequest, now: float) -> None:
        self._give_way(parse_reason(request.headers.getlist("Reason")), now)

    def _give_way(self, reason: Reason | None, now: float) -> None:
        self._stop_ringing()
        self._transaction.respond(self._response(self._transaction, 487), now)
        self._terminate(Cancelled(reason), now)

    def _on_bye(self, transaction: ServerTransaction, now: float) -> None:
        if self.state is SessionState.EARLY:  # the caller may end an early dialog so too (section 15)
            transaction.respond(self._response(transaction, 200), now)
            self._give_way(parse_reason(transaction.request.headers.getlist("Reason")), now)
        else:
            super()._on_bye(transaction, now)


def caller_of(request: IncomingRequest) -> tuple[str, str]:
    """Return user part and display name of the caller (RFC 3325: P-Asserted-Identity before From).

    Nothing of one who asks for privacy: what we keep of a call is for more eyes than the trust domain of the assertion.
    """
    if wants_privacy(request.headers.getlist("Privacy")):
        return "", ""
    addresses: list[NameAddr] = []
    try:
        addresses = parse_name_addrs(request.headers.getlist("P-Asserted-Identity"), 10)
    except RemoteProtocolError:
        addresses = []
    for address in [*addresses, request.from_]:
        try:
            user = parse_uri(address.uri).user or ""
        except RemoteProtocolError:
            continue
        name = printable(address.name)
        if user.lower() == "anonymous":
            return "", ""
        if user:
            return printable(user), name or printable(request.from_.name)
    return "", ""


def wants_privacy(values: list[str]) -> bool:
    """Return whether a caller's identity is withheld (RFC 3323 section 4.2, RFC 3325 section 9.3)."""
    asked = {part.strip().lower() for value in values for part in value.replace(",", ";").split(";")}
    return bool(asked & {"id", "user", "header"})


def printable(text: str) -> str:
    """Return *text* without control characters and without bytes that were no UTF-8."""
    return "".join(char for char in text if char.isprintable()).encode("utf-8", "ignore").decode("utf-8")
