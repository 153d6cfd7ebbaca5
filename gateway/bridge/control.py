"""What people do to a call in progress, from outside its flow."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.domain import termination as t
from gateway.domain.errors import PonteError
from gateway.domain.states import CallState
from gateway.domain.termination import Result, Termination
from gateway.domain.trace import TraceKind
from gateway.protocol.dtmf import KeyPress
from gateway.protocol.sip.events import Refer

if TYPE_CHECKING:
    from gateway.bridge.call import Call

_OVER: Final = frozenset({CallState.ENDING, CallState.ENDED})
_UNANSWERED: Final = frozenset(CallState) - _OVER - {CallState.ACTIVE}
_NO_REFER: Final = -1  # no REFER of a phone has this number, so that its progress is told to nobody

HANGUP_UNANSWERED: Final = Termination(Result.SUCCESS, "hangup", 487, 16, "Hung up before it was answered")
REJECTED: Final = Termination(Result.SUCCESS, "rejected", 603, 21, "Rejected")


class WrongState(PonteError):
    """The call is in a state that does not allow this.

    Attributes:
        state: the call's state.
    """

    code = "wrong_state"
    http_status = 409

    def __init__(self, what: str, state: CallState) -> None:
        super().__init__(f"A call that is {state.value} cannot {what}")
        self.state = state


class TransferState(enum.StrEnum):
    """How far a transfer is that somebody asked for."""

    TRYING = "trying"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Transfer:
    """A transfer of the SIP side that somebody asked for.

    Attributes:
        extension: who is rung.
        uri: the Request-URI.
        state: how far it is.
    """

    extension: str
    uri: str
    state: TransferState = TransferState.TRYING

    def refer(self) -> Refer:
        """Return the REFER that would ask for the same."""
        return Refer(self.uri, "", "", _NO_REFER)


class CallControl:
    """One call's handle for people.

    A source of events for the call's flow as well: what the flow itself must do comes out of `next_event`.

    Args:
        call: the call.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._deadline: asyncio.Timeout | None = None
        self._told: Termination | None = None
        self._transfers: asyncio.Queue[Transfer] = asyncio.Queue(1)
        self.transfer_state: Transfer | None = None
        self.held = False
        self.muted = False

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Run the flow in this block: it is cancelled when somebody ends the call, and `Ended` raised."""
        try:
            async with asyncio.timeout(None) as self._deadline:
                if self._told is not None:
                    raise Ended(self._told)
                yield
        except TimeoutError:
            if self._told is None or self._deadline is None or not self._deadline.expired():
                raise
            raise Ended(self._told) from None

    async def next_event(self) -> Transfer:
        """Wait for what the flow is to do next."""
        return await self._transfers.get()

    def hangup(self) -> None:
        """End the call.

        Raises:
            WrongState: it is over.
        """
        self._not_in(_OVER, "be hung up")
        self._end(t.HANGUP if self._call.state is CallState.ACTIVE else HANGUP_UNANSWERED)

    def reject(self) -> None:
        """Decline the call.

        Raises:
            WrongState: it was answered, or is over.
        """
        self._not_in(frozenset(CallState) - _UNANSWERED, "be rejected")
        self._end(REJECTED)

    def hold(self, held: bool) -> None:
        """Let neither side hear the other, or let them hear again. The PBX is not told.

        Raises:
            WrongState: the call is not up.
        """
        self._active("be held" if held else "be resumed")
        self.held = held
        self._call.trace.note(TraceKind.CALL, "hold" if held else "resume")
        self._silence()

    def mute(self, muted: bool) -> None:
        """Let the WhatsApp side not hear the phone, or let it hear again.

        Raises:
            WrongState: the call is not up.
        """
        self._active("be muted" if muted else "be unmuted")
        self.muted = muted
        self._call.trace.note(TraceKind.CALL, "mute" if muted else "unmute")
        self._silence()

    def dtmf(self, digits: str, duration_ms: int) -> int:
        """Play telephone keys to the WhatsApp side, after those that wait.

        Returns:
            How many were taken; the rest found no room.

        Raises:
            WrongState: the call is not up.
        """
        self._active("be sent keys")
        return sum(self._call.media.keys.press(KeyPress(digit, duration_ms), "api") for digit in digits)

    def transfer(self, extension: str, uri: str) -> Transfer:
        """Ring another phone by the PBX, and give it the phone's place when it answers.

        Raises:
            WrongState: the call is not up, or is being transferred.
        """
        self._active("be transferred")
        if self.transfer_state is not None and self.transfer_state.state is TransferState.TRYING:
            raise WrongState("be transferred again before its transfer is over", self._call.state)
        wanted = self.transfer_state = Transfer(extension, uri)
        self._call.trace.note(TraceKind.CALL, "transfer")
        self._transfers.put_nowait(wanted)
        return wanted

    async def record(self, recording: bool) -> None:
        """Record the call from now on, or no more.

        Raises:
            WrongState: the call is not up.
            RecordingUnavailable: calls are not recorded here.
            RecordingFailed: it cannot be written.
        """
        self._active("be recorded")
        await (self._call.recording.start() if recording else self._call.recording.stop())

    def _silence(self) -> None:
        self._call.media.silence(wa_to_sip=self.held, sip_to_wa=self.held or self.muted)

    def _end(self, termination: Termination) -> None:
        self._told = termination
        self._call.trace.note(TraceKind.CALL, "reject" if termination is REJECTED else "hang up")
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def _active(self, what: str) -> None:
        self._not_in(frozenset(CallState) - {CallState.ACTIVE}, what)

    def _not_in(self, states: frozenset[CallState], what: str) -> None:
        # who told the call to end is not to find it alive a moment later
        state = CallState.ENDING if self._told is not None and self._call.state not in _OVER else self._call.state
        if state in states:
            raise WrongState(what, state)


class Ended(Exception):
    """Somebody ended the call.

    Attributes:
        termination: how.
    """

    def __init__(self, termination: Termination) -> None:
        super().__init__(termination.reason)
        self.termination = termination
