"""The `MediaPlane` whose packets are routed in other processes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from gateway.domain.errors import LocalProtocolError, PonteError, Unavailable
from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingSpec, RecordingStatus
from gateway.media.built_in import PlaneSettings
from gateway.media.echo import EchoFigures
from gateway.media.keys import OnKey
from gateway.media.link import OnLost
from gateway.media.page_side import LegState, LegStats, PageLeg, PageSide
from gateway.media.plane import PLANE_LOST, MediaPlane, MediaStats, Negotiated
from gateway.protocol.dtmf import KeyPress
from gateway.worker.channel import Channel
from gateway.worker.process import LogSettings, WorkerLimits, WorkerProcess

ANSWER_S: Final = 10.0  # a worker answers in milliseconds; a machine that is short of memory may hold one up
_FINAL: Final = frozenset({LegState.FAILED, LegState.CLOSED})

T = TypeVar("T")


def _expect(kind: type[T], value: Any) -> T:
    """Return *value*, which has to be one of *kind*."""
    if not isinstance(value, kind):
        raise PonteError("The media worker answered what cannot be")
    return value


def _say(channel: Channel, verb: str, *args: object) -> None:
    """Say what a worker that is gone need not be told."""
    with contextlib.suppress(Unavailable):
        channel.tell(verb, *args)


class WorkerLeg:
    """A leg to a page in a worker; a `PageLeg`."""

    def __init__(
        self, worker: _Worker, side: int, number: int, addresses: Sequence[str], connect_timeout_s: float
    ) -> None:
        self.state = LegState.NEW
        self.on_state: Callable[[LegState], None] = lambda state: None
        self.number = number
        self.channel: Channel | None = None  # to the process that it is in
        self.told = LegStats()
        self._worker = worker
        self._side = side
        self._addresses = tuple(addresses)
        self._connect_timeout_s = connect_timeout_s

    async def offer(self) -> str:
        """See `PageLeg`."""
        if self.channel is not None or self.state is not LegState.NEW:
            raise LocalProtocolError("A leg makes one offer")
        self.channel = self._worker.process.ask_channel()
        self._worker.legs[self.number] = self
        return _expect(
            str,
            await self.channel.ask(
                "leg_offer", self._side, self.number, self._addresses, self._connect_timeout_s, timeout_s=ANSWER_S
            ),
        )

    async def accept(self, answer_sdp: str) -> None:
        """See `PageLeg`."""
        if self.channel is None:
            raise LocalProtocolError("A leg takes one answer, after its offer")
        await self.channel.ask("leg_accept", self.number, answer_sdp, timeout_s=self._connect_timeout_s + ANSWER_S)

    def stats(self) -> LegStats:
        """See `PageLeg`."""
        return self.told

    def enter(self, state: LegState) -> None:
        """Take the state that the worker tells."""
        if state is not self.state and self.state not in _FINAL:
            self.state = state
            self.on_state(state)

    async def close(self) -> None:
        """See `PageLeg`."""
        channel = self.channel
        try:
            if channel is not None and not channel.closed.is_set():
                await channel.ask("leg_close", self.number, timeout_s=ANSWER_S, whole=True)
        except Unavailable:
            pass  # gone with its process
        finally:
            self._worker.legs.pop(self.number, None)
            self.enter(LegState.CLOSED)


class WorkerSide:
    """A page in a worker; a `PageSide`."""

    def __init__(self, worker: _Worker, number: int, new_number: Callable[[], int]) -> None:
        self.worker = worker
        self.number = number
        self._new_number = new_number
        self._leg: WorkerLeg | None = None
        worker.sides += 1
        self._closed = False

    @property
    def connected(self) -> bool:
        """See `PageSide`."""
        return self._leg is not None and self._leg.state not in _FINAL

    def new_leg(self, *, addresses: Sequence[str] = (), connect_timeout_s: float = 10.0) -> WorkerLeg:
        """See `PageSide`."""
        return WorkerLeg(self.worker, self.number, self._new_number(), addresses, connect_timeout_s)

    def use(self, leg: PageLeg | None) -> None:
        """See `PageSide`."""
        if leg is not None and not isinstance(leg, WorkerLeg):
            raise LocalProtocolError("This leg is another media plane's")
        before, self._leg = self._leg, leg
        there = leg if leg is not None else before
        channel = there.channel if there is not None else None
        if channel is not None:
            _say(channel, "side_use", self.number, None if leg is None else leg.number)

    async def echo(self, seconds: float) -> EchoFigures:
        """See `gateway.media.echo.EchoingSide`."""
        channel = self._leg.channel if self._leg is not None else None
        if channel is None:
            raise LocalProtocolError("There is no leg to the page")
        answer = await channel.ask("side_echo", self.number, seconds, timeout_s=seconds + ANSWER_S)
        return _expect(EchoFigures, answer)

    def close(self) -> None:
        """See `PageSide`."""
        if self._closed:
            return
        self._closed = True
        self._leg = None
        self.worker.sides -= 1
        if self.worker.process.channel is not None:
            _say(self.worker.process.channel, "side_close", self.number)


@dataclass(slots=True)
class _Call:
    """A call in a worker.

    Attributes:
        worker: that has it.
        channel: to the process that it is in.
        stats: as they were told last.
        recorded_as: the call in which its recording began, which the worker tells of.
    """

    worker: _Worker
    channel: Channel
    on_key: OnKey | None = None
    on_lost: OnLost | None = None
    stats: MediaStats = field(default_factory=MediaStats)
    recorded_as: CallId | None = None
    on_recording_failed: Callable[[RecordingStatus], None] | None = None


class _Worker:
    """One worker as the plane sees it: its process, and what of it the gateway knows."""

    def __init__(
        self,
        number: int,
        settings: PlaneSettings,
        calls: dict[CallId, _Call],
        logs: LogSettings,
        limits: WorkerLimits,
        module: str,
    ) -> None:
        self.sides = 0
        self.legs: dict[int, WorkerLeg] = {}
        self._calls = calls
        self.process = WorkerProcess(
            number,
            settings,
            {
                "key": self._key,
                "lost": self._lost,
                "call_stats": self._call_stats,
                "recording_failed": self._recording_failed,
                "leg_state": self._leg_state,
                "leg_stats": self._leg_stats,
            },
            on_down=self._down,
            logs=logs,
            limits=limits,
            module=module,
        )

    def _key(self, call_id: CallId, key: KeyPress) -> None:
        call = self._calls.get(call_id)
        if call is not None and call.on_key is not None:
            call.on_key(key)

    def _lost(self, call_id: CallId, cause: str) -> None:
        call = self._calls.get(call_id)
        if call is not None and call.on_lost is not None:
            call.on_lost(cause)

    def _recording_failed(self, call_id: CallId, status: RecordingStatus) -> None:
        call = next((one for one in self._calls.values() if one.recorded_as == call_id), None)
        if call is not None and call.on_recording_failed is not None:
            call.on_recording_failed(status)

    def _call_stats(self, call_id: CallId, stats: MediaStats) -> None:
        call = self._calls.get(call_id)
        if call is not None:
            call.stats = stats

    def _leg_state(self, number: int, state: str) -> None:
        leg = self.legs.get(number)
        if leg is not None:
            leg.enter(LegState(state))

    def _leg_stats(self, number: int, stats: LegStats) -> None:
        leg = self.legs.get(number)
        if leg is not None:
            leg.told = stats

    def _down(self) -> None:
        """Tell whose calls and legs went with the process."""
        legs, self.legs = list(self.legs.values()), {}
        calls = [call for call in self._calls.values() if call.worker is self]
        if calls or legs:
            structlog.get_logger("ponte.media_worker").error(
                "media_worker_lost", worker=self.process.number, calls=len(calls), legs=len(legs)
            )
        for call in calls:
            if call.on_lost is not None:
                call.on_lost(PLANE_LOST)
        for leg in legs:
            leg.enter(LegState.FAILED)


class WorkerPlane(MediaPlane):
    """A media plane of one or more workers. A page and its calls are always in the same one.

    Args:
        settings: of the plane; the workers share its ports.
        workers: how many processes, one at least.
        logs: what they log.
        limits: how long they are waited for.
        module: that they run.

    Attributes:
        processes: the workers, to be run by the owner.

    Raises:
        ConfigError: there are fewer ports than workers.
    """

    def __init__(
        self,
        settings: PlaneSettings,
        workers: int,
        *,
        logs: LogSettings | None = None,
        limits: WorkerLimits | None = None,
        module: str = "gateway.worker",
    ) -> None:
        self._calls: dict[CallId, _Call] = {}
        self._numbers = itertools.count(1)
        self._workers = [
            _Worker(number, part, self._calls, logs or LogSettings(), limits or WorkerLimits(), module)
            for number, part in enumerate(settings.split(workers))
        ]
        self.processes = tuple(worker.process for worker in self._workers)

    def page_side(self) -> WorkerSide:
        """See `MediaPlane`: in the worker that has the fewest pages."""
        worker = min(self._workers, key=lambda one: one.sides)
        return WorkerSide(worker, next(self._numbers), lambda: next(self._numbers))

    async def create_offer(
        self, call_id: CallId, *, local_address: str, webrtc: bool = False, page: PageSide | None = None
    ) -> str:
        """See `MediaPlane`."""
        return await self._open(str, call_id, page, "create_offer", call_id, local_address=local_address, webrtc=webrtc)

    async def accept_answer(self, call_id: CallId, answer_sdp: str) -> Negotiated:
        """See `MediaPlane`."""
        return await self._ask(Negotiated, call_id, "accept_answer", call_id, answer_sdp)

    async def answer_offer(
        self, call_id: CallId, offer_sdp: str, *, local_address: str, page: PageSide | None = None
    ) -> tuple[str, Negotiated]:
        """See `MediaPlane`."""
        answer = await self._open(tuple, call_id, page, "answer_offer", call_id, offer_sdp, local_address=local_address)
        sdp, negotiated = answer
        return _expect(str, sdp), _expect(Negotiated, negotiated)

    async def reoffer(self, call_id: CallId, *, local_address: str) -> str:
        """See `MediaPlane`."""
        return await self._ask(str, call_id, "reoffer", call_id, local_address=local_address)

    def connect(
        self, call_id: CallId, page: PageSide, on_key: OnKey | None = None, on_lost: OnLost | None = None
    ) -> None:
        """See `MediaPlane`.

        Raises:
            Unavailable: the worker is gone.
            LocalProtocolError: call and page are not in the same worker.
        """
        call = self._known(call_id)
        if not isinstance(page, WorkerSide) or page.worker is not call.worker:
            raise LocalProtocolError("This page side is not where the call's media is")
        call.on_key, call.on_lost = on_key, on_lost
        call.channel.tell("connect", call_id, page.number, keys=on_key is not None)

    def mute(self, call_id: CallId, duration_s: float) -> None:
        """See `MediaPlane`."""
        self._known(call_id).channel.tell("mute", call_id, duration_s)

    def silence(self, call_id: CallId, *, wa_to_sip: bool, sip_to_wa: bool) -> None:
        """See `MediaPlane`."""
        self._known(call_id).channel.tell("silence", call_id, wa_to_sip=wa_to_sip, sip_to_wa=sip_to_wa)

    def play(self, call_id: CallId, cadence: str) -> None:
        """See `MediaPlane`."""
        self._known(call_id).channel.tell("play", call_id, cadence)

    def query(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`."""
        call = self._calls.get(call_id)
        return call.stats if call is not None else MediaStats()

    async def record(
        self, call_id: CallId, spec: RecordingSpec, on_failed: Callable[[RecordingStatus], None]
    ) -> RecordingStatus:
        """See `MediaPlane`."""
        call = self._known(call_id)
        if call.recorded_as is None:
            call.recorded_as, call.on_recording_failed = call_id, on_failed
        return await self._ask(RecordingStatus, call_id, "record", call_id, spec)

    async def stop_recording(self, call_id: CallId) -> RecordingStatus | None:
        """See `MediaPlane`."""
        answer = await self._known(call_id).channel.ask("stop_recording", call_id, timeout_s=ANSWER_S)
        return None if answer is None else _expect(RecordingStatus, answer)

    def move_recording(self, call_id: CallId, to: CallId) -> None:
        """See `MediaPlane`."""
        before, after = self._known(call_id), self._known(to)
        after.recorded_as, after.on_recording_failed = before.recorded_as, before.on_recording_failed
        before.recorded_as = None
        before.channel.tell("move_recording", call_id, to)

    async def delete(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`; of a worker that is gone, or fails at it, the figures that it told last."""
        call = self._calls.pop(call_id, None)
        if call is None:
            return MediaStats()
        try:
            return _expect(MediaStats, await call.channel.ask("delete", call_id, timeout_s=ANSWER_S, whole=True))
        except PonteError:
            return call.stats

    async def check(self) -> None:
        """Return when every worker can be asked.

        Raises:
            Unavailable: one is not there.
        """
        down = [process.number for process in self.processes if process.channel is None]
        if down:
            raise Unavailable(f"{len(down)} of {len(self.processes)} media workers are being started again")

    async def _open(
        self, kind: type[T], call_id: CallId, page: PageSide | None, verb: str, *args: object, **named: Any
    ) -> T:
        """Ask for what makes a call where it is not known yet."""
        if call_id in self._calls:
            return await self._ask(kind, call_id, verb, *args, **named)
        if page is None:
            worker = min(self._workers, key=lambda one: one.sides)
        elif isinstance(page, WorkerSide):
            worker = page.worker
        else:
            raise LocalProtocolError("This page side is another media plane's")
        call = self._calls[call_id] = _Call(worker, worker.process.ask_channel())
        try:
            return await self._ask(kind, call_id, verb, *args, **named)
        except BaseException:
            self._calls.pop(call_id, None)
            _say(call.channel, "delete", call_id)  # it may have been made though nobody waited for that
            raise

    async def _ask(self, kind: type[T], call_id: CallId, verb: str, *args: object, **named: Any) -> T:
        answer = await self._known(call_id).channel.ask(verb, *args, timeout_s=ANSWER_S, **named)
        return _expect(kind, answer)

    def _known(self, call_id: CallId) -> _Call:
        call = self._calls.get(call_id)
        if call is None:
            raise LocalProtocolError("The media plane does not know this call")
        return call
