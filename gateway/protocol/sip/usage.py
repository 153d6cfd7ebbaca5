"""The INVITE usage of a dialog (RFC 5057): the state of a call, its 2xx and ACK, its BYE."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from sipmessage import Request, Response

from gateway.domain.errors import LocalProtocolError
from gateway.protocol.sip.dialog import Dialog, contact_uri
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import ALLOW, Acked, AuthenticatedRequest, Engine, SessionClosed, SessionEvent
from gateway.protocol.sip.events import Ended, Reason, SipEvent
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
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


class InviteUsage(ABC):
    """What a call is before and beside what is said in it; `Session` adds that.

    Args:
        engine: the core's shared state.
        flow: how the peer is reached.
        auth: our credentials for it.
        contact_user: user part of our Contact.
        endpoint: id of the endpoint whose call it is.
    """

    def __init__(self, engine: Engine, flow: Flow, auth: DigestClient, contact_user: str, endpoint: int) -> None:
        self.id = next(engine.ids)
        self.flow = flow
        self.state = SessionState.EARLY
        self.call_id = ""
        self.endpoint = endpoint
        self._engine = engine
        self._auth = auth
        self._contact_user = contact_user
        self.gruu = ""  # stands in Contact instead of the address of the flow (RFC 5627)
        self.keeps_flow = False  # the registrar is asked to call us by the flow we came by (RFC 5626 section 4.3)
        self.secure = False  # a SIPS URI stands in Contact (RFC 3261 section 12.1.1)
        self._dialog: Dialog | None = None
        self._unacked: _Unacked | None = None
        self._bye_waits: list[Reason | None] = []

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
        self._drop_open(now)
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

    @abstractmethod
    def _drop_open(self, now: float) -> None:
        """End what is open, because the call is over."""

    @abstractmethod
    def on_request(self, transaction: ServerTransaction, now: float) -> None:
        """Take a new request in the dialog."""

    # messages

    def _response(self, transaction: ServerTransaction, status: int) -> Response:
        tag = self._dialog.local_tag if self._dialog else ""
        return transaction.make(status, to_tag=tag)

    def _describe(self, message: Request | Response, flow: Flow) -> None:
        """Add Contact, Allow and Supported, as INVITE, UPDATE and their 2xx carry them."""
        uri = self.gruu or contact_uri(flow, self._contact_user, secure=self.secure) + (
            ";ob" if self.keeps_flow else ""
        )
        message.headers.set("Contact", f"<{uri}>")
        message.headers.set("Allow", ALLOW)
        if self._engine.supported:
            message.headers.set("Supported", ", ".join(sorted(self._engine.supported)))

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
        # a call that is found dead before its ACK came waits for none any more, nor a BYE that waited for it
        self._stop_unacked()
        self._bye_waits.clear()

        def make() -> Request:
            request = self.dialog.request("BYE")
            if reason is not None:
                request.headers.set("Reason", str(reason))
            return request

        def done(response: IncomingResponse | None, cause: str, now: float) -> None:
            self._terminate(event, now)

        AuthenticatedRequest(self._engine, make, self.dialog.next_flow(), self._auth, done).send(now)

    def _end_dead_dialog(self, status: int, now: float) -> None:
        if self.state is SessionState.CONFIRMED:
            self._send_bye(Reason("SIP", status), now, Ended(Reason("SIP", status, "The peer lost the call")))
