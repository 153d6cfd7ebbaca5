"""Calls as the bridge sees them: methods that command, a queue of events that tell."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.errors import LocalProtocolError, PeerTimeout, Refused, Unavailable
from gateway.protocol.sip.diversion import Diverted, diversions
from gateway.protocol.sip.events import (
    Cancelled,
    Ended,
    Failed,
    Info,
    Reason,
    Refer,
    ReInvite,
    Ringing,
    SipEvent,
)
from gateway.protocol.sip.message_log import MessageLog
from gateway.protocol.sip.session import Session, SessionState
from gateway.protocol.sip.uac import ClientSession
from gateway.protocol.sip.uas import ServerSession


class Driver(Protocol):
    """What calls need of the stack."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def flush(self) -> None:
        """Send and tell what the core has put out."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """Another call wants this one's place (RFC 3891): answer *invite* and end this call, or refuse *invite*."""

    invite: IncomingInvite


CallEvent = SipEvent | Replaced


class SipCall:
    """One call.

    Args:
        driver: the stack.
        session: the core's side; None while an outbound call waits for the server's address.
        max_events: events that wait to be taken.
        settle_s: how long `bye` and `cancel` wait for the peer.
        local_address: until there is a session, the address towards the server.
    """

    def __init__(
        self, driver: Driver, session: Session | None, *, max_events: int, settle_s: float, local_address: str
    ) -> None:
        self._driver = driver
        self._session = session
        self._local_address = local_address
        # room for the events that must get through: the last one, and Answered before it
        self._queue: asyncio.Queue[CallEvent] = asyncio.Queue(max_events + 4)
        self._max_events = max_events
        self._settle_s = settle_s
        self._last: CallEvent | None = None
        self._taken_last = False
        self._closed = asyncio.Event()
        self._acked: asyncio.Future[str | None] | None = None
        self._reinvited: asyncio.Future[tuple[int, str | None]] | None = None
        self._replacing: list[IncomingInvite] = []
        self.events_dropped = 0
        self.messages = MessageLog()

    @property
    def sip_call_id(self) -> str:
        """The Call-ID header."""
        return self._session.call_id if self._session is not None else ""

    @property
    def local_address(self) -> str:
        """The IP address by which the peer reaches us; for SDP."""
        return self._session.flow.local[0] if self._session is not None else self._local_address

    @property
    def by_websocket(self) -> bool:
        """Whether the peer is reached by a WebSocket, as browsers are."""
        return self._session is not None and self._session.flow.is_websocket

    @property
    def listener(self) -> int:
        """Key of the port that the call goes through."""
        return self._session.flow.listener if self._session is not None else 0

    @property
    def closed(self) -> bool:
        """Whether the call is over and sends nothing more."""
        return self._closed.is_set()

    @property
    def over(self) -> bool:
        """Whether the last event is there, taken or not."""
        return self._last is not None

    async def next_event(self) -> CallEvent:
        """Wait for the next event; the last one (Failed, Cancelled, Ended) is given again when asked again."""
        if self._taken_last and self._queue.empty() and self._last is not None:
            return self._last
        event = await self._queue.get()
        self._taken_last = event is self._last
        return event

    async def bye(self, reason: Reason | None = None) -> None:
        """End the call, whatever its state; waits a little for the peer, and BYE is repeated without us after that."""
        session = self._session
        if session is not None and session.state is SessionState.CONFIRMED:
            session.bye(reason, self._driver.now())
            self._driver.flush()
        if session is not None and session.state is not SessionState.TERMINATED:
            await self._settle()

    async def _settle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settle_s):
                await self._closed.wait()

    async def reinvite(self, sdp: str) -> str:
        """Offer a changed session and return the answer.

        Raises:
            LocalProtocolError: the call is not up, or another offer is open.
            Refused: the peer answered no; the session stays as it was.
        """
        return await self._offer(sdp, "INVITE")

    async def update(self, sdp: str) -> str:
        """Offer a changed session by UPDATE (RFC 3311), which needs no ACK, and return the answer.

        Raises:
            LocalProtocolError: the call is not up, another offer is open, or the peer takes no UPDATE.
            Refused: the peer answered no; the session stays as it was.
        """
        return await self._offer(sdp, "UPDATE")

    async def _offer(self, sdp: str, method: str) -> str:
        session = self._confirmed()
        session.reinvite(sdp, self._driver.now(), method=method)
        self._reinvited = asyncio.get_running_loop().create_future()
        self._driver.flush()
        status, answer = await self._reinvited
        if status >= 300 or answer is None:
            raise Refused(f"The SIP side answered {status} to the changed session")
        return answer

    async def answer_reinvite(self, event: ReInvite, sdp: str) -> str | None:
        """Accept the peer's changed session.

        Args:
            event: what is answered.
            sdp: the answer to its offer, or our offer when it made none.

        Returns:
            The SDP of the ACK: the answer to our offer, if we made one.

        Raises:
            LocalProtocolError: it is not waiting any more.
            PeerTimeout: no ACK came; the call ends.
        """
        session = self._confirmed()
        session.answer_reinvite(event.request_id, sdp, self._driver.now())
        return await self._wait_ack()

    def refuse_reinvite(self, event: ReInvite, status: int) -> None:
        """Refuse the peer's changed session; the old one stays. Nothing happens when it is not waiting any more."""
        if self._session is not None:
            with contextlib.suppress(LocalProtocolError):
                self._session.refuse_reinvite(event.request_id, status, self._driver.now())
            self._driver.flush()

    def refer_progress(self, event: Refer, status: int) -> None:
        """Tell the peer how far the call is that it asked for; a final *status* is the last. Works after the end too.

        Args:
            event: what it asked for.
            status: SIP status of the new call.
        """
        if self._session is not None:
            self._session.refer_progress(event.request_id, status, self._driver.now())
            self._driver.flush()

    def check_alive(self) -> None:
        """Ask the peer whether it still knows the call; one that does not, or does not answer, ends it (`Ended`).

        Raises:
            LocalProtocolError: the call is not up.
        """
        self._confirmed().check_alive(self._driver.now())
        self._driver.flush()

    def _confirmed(self) -> Session:
        if self._session is None or self._session.state is not SessionState.CONFIRMED:
            raise LocalProtocolError("the call is not up")
        return self._session

    async def _wait_ack(self) -> str | None:
        self._acked = asyncio.get_running_loop().create_future()
        self._driver.flush()
        try:
            return await self._acked
        finally:
            self._acked = None

    # from the stack

    def deliver(self, event: CallEvent) -> None:
        """Take an event of the core, or another call that wants this one's place."""
        if isinstance(event, Replaced):
            self._replacing.append(event.invite)
        if isinstance(event, Failed | Cancelled | Ended):
            if self._last is not None:
                return
            self._last = event
        elif self._queue.qsize() >= self._max_events and isinstance(
            event, Info | Ringing | ReInvite | Refer | Replaced
        ):
            self._drop(event)
            return
        if not self._queue.full():
            self._queue.put_nowait(event)

    def _drop(self, event: CallEvent) -> None:
        """Refuse what the owner of the call is too slow to take."""
        self.events_dropped += 1
        if isinstance(event, ReInvite):
            self.refuse_reinvite(event, 500)
        elif isinstance(event, Refer):
            self.refer_progress(event, 503)
        elif isinstance(event, Replaced):
            event.invite.reject(503)

    def deliver_ack(self, sdp: str | None) -> None:
        """Take the ACK to a 2xx of ours."""
        if self._acked is not None and not self._acked.done():
            self._acked.set_result(sdp)

    def deliver_reinvite(self, status: int, sdp: str | None) -> None:
        """Take the outcome of our re-INVITE."""
        if self._reinvited is not None and not self._reinvited.done():
            self._reinvited.set_result((status, sdp))

    def deliver_close(self) -> None:
        """Take the news that the core forgot the call."""
        self._closed.set()
        for invite in self._replacing:
            invite.reject(481)  # those that nobody has answered: there is nothing to replace any more
        if self._acked is not None and not self._acked.done():
            error = PeerTimeout("The SIP side never acknowledged the answer")
            if isinstance(self._last, Ended) and (self._last.reason is None or self._last.reason.text != "No ACK"):
                self._acked.set_exception(Refused("The caller hung up as the call was answered"))
            else:
                self._acked.set_exception(error)


class IncomingInvite(SipCall):
    """An inbound call. Its caller was authenticated, or calls from the server's own address."""

    def __init__(self, driver: Driver, session: ServerSession, *, max_events: int, settle_s: float) -> None:
        super().__init__(driver, session, max_events=max_events, settle_s=settle_s, local_address=session.flow.local[0])
        self._server_session = session
        self.request_user: str = session.request.uri.user or ""
        self.caller_user, self.caller_name = session.caller
        self.diverted: tuple[Diverted, ...] = diversions(session.request)
        self.sdp: str | None = session.request.sdp

    def header(self, name: str) -> str | None:
        """Return a header of the INVITE."""
        return self._server_session.request.header(name)

    def ringing(self) -> None:
        """Send 180; nothing happens when the call is answered or over."""
        self._provisional(180)

    def _provisional(self, status: int) -> None:
        if self._server_session.state is SessionState.EARLY:
            self._server_session.ringing(self._driver.now(), status)
            self._driver.flush()

    async def answer(self, sdp: str) -> str | None:
        """Send 200 and wait for the ACK.

        Args:
            sdp: the answer; our offer when the INVITE had none.

        Returns:
            The SDP of the ACK: the answer to our offer, if we made one.

        Raises:
            Refused: the caller gave up before.
            PeerTimeout: no ACK came within 64*T1; BYE was sent.
        """
        if self._server_session.state is not SessionState.EARLY:
            raise Refused("The caller gave up before the call was answered")
        self._server_session.answer(sdp, self._driver.now())
        return await self._wait_ack()

    def reject(self, status: int, *, reason: Reason | None = None, retry_after_s: int | None = None) -> None:
        """Send a final failure; nothing happens when the call is answered or over.

        Args:
            status: 300 to 699.
            reason: for a Reason header.
            retry_after_s: for a Retry-After header.
        """
        if self._server_session.state is SessionState.EARLY:
            self._server_session.reject(status, reason, retry_after_s, self._driver.now())
            self._driver.flush()

    async def bye(self, reason: Reason | None = None) -> None:
        """End the call: BYE when it was answered, 480 before."""
        self.reject(480, reason=reason)
        await super().bye(reason)


class OutgoingInvite(SipCall):
    """An outbound call."""

    def __init__(self, driver: Driver, *, max_events: int, settle_s: float, call_id: str, local_address: str) -> None:
        self._call_id = call_id
        super().__init__(driver, None, max_events=max_events, settle_s=settle_s, local_address=local_address)
        self._client_session: ClientSession | None = None
        self._given_up: Failed | None = None

    @property
    def sip_call_id(self) -> str:
        """The Call-ID header."""
        return self._call_id

    @property
    def wanted(self) -> bool:
        """Whether it was not cancelled before it could start."""
        return self._given_up is None

    def started(self, session: ClientSession) -> None:
        """Take the core's side, once the server's address is known."""
        self._session = self._client_session = session

    def failed_to_start(self, error: Unavailable) -> None:
        """End a call that could not be placed."""
        self.deliver(self._given_up or Failed(503, str(error)))
        self._closed.set()

    async def cancel(self, reason: Reason | None = None) -> None:
        """Give the call up; the last event is Failed, or Ended when it was answered. Waits a little for the peer."""
        session = self._client_session
        if session is None:
            self._given_up = Failed(487, "Request Terminated")
            self.deliver(self._given_up)
            self._closed.set()
        elif session.state is SessionState.CONFIRMED:
            await super().bye(reason)
        else:
            session.cancel(reason, self._driver.now())
            self._driver.flush()
            await self._settle()

    async def bye(self, reason: Reason | None = None) -> None:
        """End the call: BYE when it was answered, CANCEL before."""
        await self.cancel(reason)
