"""One bridged call: two legs, a state, an end.

A flow (`gateway.bridge.flows`) says what happens; this class runs it, keeps the state,
and ends whatever the flow left open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from gateway.bridge.call_media import CallMedia
from gateway.bridge.control import CallControl, Ended
from gateway.bridge.presentation import Presentation
from gateway.bridge.recording import CallRecording, RecordingRule, Told
from gateway.bridge.sip_leg import SipLeg
from gateway.domain import termination as t
from gateway.domain.call_tones import CallTones
from gateway.domain.errors import PonteError
from gateway.domain.hops import CallPath
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallEvent, CallState, Direction, Origin, Terminated, Terminating, next_call_state
from gateway.domain.termination import Result, Termination
from gateway.media.plane import MediaStats
from gateway.page.driver import CallRefused, PageCall, Peer
from gateway.protocol.sip.diversion import Diverted
from gateway.sip.call import IncomingInvite, OutgoingInvite

_NOBODY: Final = Peer(None, None)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long a call waits for its peers.

    Attributes:
        ring_timeout_s: from the INVITE or the dialling to the answer.
        accept_timeout_s: from the phone's answer until the page says that the call is active.
        close_timeout_s: for each leg to be told of the end.
        phone_silence_s: without RTP and RTCP of the phone, after which it is asked whether it is still there; 0: never.
        browser_silence_s: the same, where that is less, for a phone on a WebSocket: a browser sends without a pause,
            and one whose page was closed has closed its WebSocket too, so that the question is answered at once.
    """

    ring_timeout_s: float = 90.0
    accept_timeout_s: float = 15.0
    close_timeout_s: float = 5.0
    phone_silence_s: float = 30.0
    browser_silence_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Parties:
    """Who talks with whom, as far as it is known when the call begins.

    Attributes:
        peer: WhatsApp's side.
        sip_user: the extension that is rung, or that dialled; empty where it is withheld.
        sip_name: the display name of a phone that dialled; empty where it gave none.
    """

    peer: Peer = _NOBODY
    sip_user: str = ""
    sip_name: str = ""


@dataclass(slots=True)
class CallTimes:
    """When things happened, in UTC; None where they did not.

    Attributes:
        picked_up: when a phone that we rang answered, and the page is asked to.
        answered: when both sides could hear each other.
        closing: when the end began to be told.
    """

    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    ringing: datetime | None = None
    picked_up: datetime | None = None
    answered: datetime | None = None
    closing: datetime | None = None
    ended: datetime | None = None


class Call:
    """One bridged call.

    Args:
        call_id: its id.
        account_id: whose call.
        direction: who placed it.
        media: its audio.
        limits: its time-outs.
        on_change: called after each change of state.
        parties: who talks with whom; None: nobody knows.
        presentation: how the WhatsApp side is shown to the PBX.
        origin: who asked for the call; None: who placed it.
        recording: whether and how it is recorded; None: it cannot be.
        on_recording: told of what becomes of its recording.
        tones: what a phone that we rang hears while WhatsApp is dialled for it; None: nothing.
    """

    def __init__(
        self,
        call_id: CallId,
        account_id: AccountId,
        direction: Direction,
        media: CallMedia,
        limits: CallLimits,
        on_change: Callable[[Call], None],
        parties: Parties | None = None,
        presentation: Presentation | None = None,
        origin: Origin | None = None,
        recording: RecordingRule | None = None,
        on_recording: Callable[[Call, Told], None] = lambda call, told: None,
        tones: CallTones | None = None,
    ) -> None:
        self.call_id = call_id
        self.account_id = account_id
        self.direction = direction
        self.media = media
        self.trace = media.trace
        self.limits = limits
        self.presentation = presentation or Presentation()
        self.tones = tones or CallTones()
        self.origin = origin or (Origin.SIP if direction is Direction.SIP_TO_WHATSAPP else Origin.WHATSAPP)
        self.state = CallState.CREATED
        self.times = CallTimes()
        self.termination: Termination | None = None
        self.stats: MediaStats | None = None
        self.parties = parties or Parties()
        self.diverted: tuple[Diverted, ...] = ()  # whom the PBX's call was meant for before, last first
        self.sip: SipLeg | None = None
        self.ringing: list[SipLeg] = []  # phones, until one of them answers
        self.other: SipLeg | None = None  # the leg that a transfer rings, or the one that it left
        self.path: CallPath | None = None  # every hop of the sound, while people hear each other
        self.page: PageCall | None = None
        self.page_answered = False
        self.active = asyncio.Event()  # both sides hear each other, or did
        self.proven = asyncio.Event()  # no test of the page's sound runs, which the start of its audio would end
        self.proven.set()
        self.page_ended = False
        self.control = CallControl(self)
        self.recording = CallRecording(call_id, media, recording, lambda told: on_recording(self, told))
        self._on_change = on_change
        self._log = structlog.get_logger("ponte.call")

    @property
    def ending(self) -> bool:
        """Whether the call is being closed, or its phone is gone and nothing has come of that yet."""
        if self.state in {CallState.ENDING, CallState.ENDED}:
            return True
        return self.sip is not None and self.sip.call.over and self.other is None

    def enter(self, event: CallEvent) -> None:
        """Move to the next state.

        Raises:
            IllegalTransition: the state does not allow *event*.
        """
        old, self.state = self.state, next_call_state(self.state, event)
        if self.state is old:
            return
        now = datetime.now(UTC)
        match self.state:
            case CallState.RINGING:
                self.times.ringing = now
            case CallState.ACTIVE:
                self.times.answered = now
                self.active.set()
            case CallState.ENDING:
                self.times.closing = now
            case CallState.ENDED:
                self.times.ended = now
            case _:
                pass
        self._log.info("call_state", old=old.value, new=self.state.value)
        if self.state is CallState.ENDED and self.termination is not None:
            self.trace.ended(self.termination)
        else:
            self.trace.state(self.state)
        self._on_change(self)

    def leg(self, sip_call: IncomingInvite | OutgoingInvite) -> SipLeg:
        """Return a new SIP leg of the call, whose messages are in its time line."""
        self.trace.follow(sip_call.messages)
        return SipLeg(sip_call)

    async def run(self, flow: Callable[[Call], Awaitable[Termination]]) -> Termination:
        """Run *flow* to its end, then end both legs and free everything; never raises but on cancellation."""
        with structlog.contextvars.bound_contextvars(call_id=self.call_id, direction=self.direction.value):
            try:
                async with self.control.watched():
                    termination = await flow(self)
            except Ended as ended:
                termination = ended.termination
            except asyncio.CancelledError:
                await self._end(t.SHUTDOWN)
                raise
            except Exception as error:
                termination = self.explain(error)
            await self._end(termination)
            return termination

    @property
    def peer(self) -> Peer:
        """Who is on WhatsApp's side; the page may know a name for a number that was dialled."""
        known = self.parties.peer
        return Peer(known.phone, self.page.peer.name) if self.page else known

    def describe(self) -> dict[str, Any]:
        """Return what the status endpoint shows of the call."""
        return {
            "call_id": self.call_id,
            "direction": self.direction.value,
            "state": self.state.value,
            "peer": self.peer.phone,
            "created_at": self.times.created.isoformat(),
            "ringing_at": _iso(self.times.ringing),
            "answered_at": _iso(self.times.answered),
        }

    def explain(self, error: Exception) -> Termination:
        """Return how a call ends that *error* ended."""
        match error:
            case CallRefused(termination=termination):
                return termination
            case PonteError(code="no_common_codec"):
                return t.BAD_MEDIA
            case PonteError(retryable=True):
                self._log.warning("call_failed", error=str(error), code=error.code)
                return Termination(Result.LOCAL_ERROR, error.code, 503, 41, str(error), retry_after_s=10)
            case PonteError():
                self._log.warning("call_failed", error=str(error), code=error.code)
                return Termination(Result.LOCAL_ERROR, error.code, error.sip_status, 41, str(error))
            case _:
                self._log.exception("call_crashed")
                return t.INTERNAL

    async def _end(self, termination: Termination) -> None:
        self.termination = termination
        self.enter(Terminating())
        try:
            # All legs at once: neither side waits for the other's time-out.
            await asyncio.gather(
                self.bounded("sip", self.sip.close(termination) if self.sip else None),
                self.bounded("other", self.other.close(termination) if self.other else None),
                *(self.bounded("ringing", leg.close(termination)) for leg in self.ringing),
                self.bounded("page", self._close_page()),
            )
            self.stats = await self.media.close()
            if self.stats is not None:
                self.trace.sound(self.stats)
            self.recording.ended(self.stats.recording if self.stats is not None else None)
        finally:
            self.enter(Terminated())
            self._log_canonical(termination)

    async def _close_page(self) -> None:
        try:
            await self._end_page()
        finally:
            await self.media.stop_page()

    async def hang_up_page(self) -> None:
        """End the page's call while that of the phone goes on for a moment."""
        await self.bounded("page", self._end_page())

    async def _end_page(self) -> None:
        if self.page is not None and not self.page_ended:
            self.page_ended = True
            try:
                if self.page.outgoing or self.page_answered:
                    with self.trace.command("hang up"):
                        await self.page.hangup()
                else:
                    with self.trace.command("reject"):
                        await self.page.reject()
            except asyncio.CancelledError:
                self.page_ended = False  # as far as is known
                raise

    async def bounded(self, leg: str, closing: Awaitable[None] | None) -> None:
        """Wait for the end of a leg, no longer than `CallLimits.close_timeout_s`; what goes wrong is logged."""
        if closing is None:
            return
        try:
            async with asyncio.timeout(self.limits.close_timeout_s):
                await closing
        except TimeoutError:
            self._log.warning("leg_close_timeout", leg=leg)
        except PonteError as error:
            self._log.info("leg_close_failed", leg=leg, error=str(error))

    def _log_canonical(self, termination: Termination) -> None:
        answered, ended = self.times.answered, self.times.ended
        self._log.info(
            "call_ended",
            result=termination.result.value,
            reason=termination.reason,
            sip_status=termination.sip_status,
            duration_s=round((ended - answered).total_seconds(), 3) if answered and ended else 0,
            media=asdict(self.stats) if self.stats else None,
            **{
                "pii.peer": self.peer.phone,
                "pii.sip_user": self.parties.sip_user,
                "pii.sip_name": self.parties.sip_name,
            },
            diverted=[one.reason or "unknown" for one in self.diverted] or None,
            **({"pii.diverted_from": [one.user for one in self.diverted]} if self.diverted else {}),
        )


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
