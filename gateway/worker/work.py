"""What a media worker does: the verbs of the plane, and the figures that it tells without being asked."""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.domain.errors import LocalProtocolError, Unavailable
from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingSpec, RecordingStatus
from gateway.media.echo import EchoFigures
from gateway.media.page_side import LegState, PagePort, RtpLeg
from gateway.media.plane import MediaStats
from gateway.media.router import PacketRouter
from gateway.worker.channel import Channel, Handler
from gateway.worker.figures import Family, families_of

STATS_S: Final = 0.9  # between two looks at a call's figures, which may then be a second old
SHORTEST_PAUSE_S: Final = 0.05  # between two turns of that: with 200 calls 23 are told in one, in 1 ms
_DELAY_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.06, 0.12, 0.5)  # 60 ms: what a jitter buffer may bridge
_ENDED: Final = frozenset({LegState.FAILED, LegState.CLOSED})
_PAGE_BYTES: Final = resource.getpagesize()


class Figures:
    """The worker's own metrics; whatever looks at packets may add its own to `registry`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.cpu = Counter("ponte_media_cpu_seconds", "CPU time of the media worker", registry=registry)
        self._cpu_s = 0.0
        self.memory = Gauge("ponte_media_resident_bytes", "Memory of the media worker", registry=registry)
        self.calls = Gauge("ponte_media_calls", "Calls whose media the worker has", registry=registry)
        self.legs = Gauge("ponte_media_page_legs", "Legs to pages that are connected", registry=registry)
        self.delay = Histogram(
            "ponte_media_loop_delay_seconds", "By how much the media worker's loop was late", buckets=_DELAY_BUCKETS_S,
            registry=registry,
        )  # fmt: skip
        self.gc_pause = Gauge(
            "ponte_media_gc_pause_seconds", "Longest pause of the worker's garbage collector", registry=registry
        )
        self.spared = Counter(
            "ponte_media_words_spared", "Figures and log lines that the gateway was too slow for", registry=registry
        )

    def families(self) -> tuple[Family, ...]:
        """Return them all as they are now."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        before_s, self._cpu_s = self._cpu_s, usage.ru_utime + usage.ru_stime
        self.cpu.inc(self._cpu_s - before_s)
        with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as statm:
            self.memory.set(int(statm.read().split()[1]) * _PAGE_BYTES)
        return families_of(self.registry)


class MediaWork:
    """The work of one media worker, for the gateway at the other end of a channel.

    Pages and their legs have numbers that the gateway gives.

    Args:
        plane: does what has to do with packets.
        channel: the gateway.
        figures: the worker's metrics.
    """

    def __init__(self, plane: PacketRouter, channel: Channel, figures: Figures) -> None:
        self._plane = plane
        self._channel = channel
        self._figures = figures
        self._sides: dict[int, PagePort] = {}
        self._legs: dict[int, RtpLeg] = {}
        self._calls: dict[CallId, None] = {}  # those that are connected
        self._spared = 0
        self._log = structlog.get_logger("ponte.media_worker")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        """What the gateway may say or ask, by name."""
        plane = self._plane
        return {
            "create_offer": plane.create_offer,
            "accept_answer": plane.accept_answer,
            "answer_offer": plane.answer_offer,
            "reoffer": plane.reoffer,
            "connect": self._connect,
            "mute": plane.mute,
            "silence": plane.silence,
            "play": plane.play,
            "record": self._record,
            "stop_recording": plane.stop_recording,
            "move_recording": plane.move_recording,
            "delete": self._delete,
            "leg_offer": self._leg_offer,
            "leg_accept": self._leg_accept,
            "leg_close": self._leg_close,
            "side_use": self._side_use,
            "side_close": self._side_close,
            "side_echo": self._side_echo,
            "figures": self._all_figures,
        }

    def _say(self, verb: str, *args: object) -> None:
        with contextlib.suppress(Unavailable):  # the gateway is gone, and this process soon
            self._channel.tell(verb, *args)

    def _side(self, number: int) -> PagePort:
        side = self._sides.get(number)
        if side is None:
            side = self._sides[number] = self._plane.page_side()
        return side

    def _leg(self, number: int) -> RtpLeg:
        try:
            return self._legs[number]
        except KeyError:
            raise LocalProtocolError("The media worker does not know this leg") from None

    def _connect(self, call_id: CallId, side: int, *, keys: bool) -> None:
        self._plane.connect(
            call_id,
            self._side(side),
            partial(self._say, "key", call_id) if keys else None,
            partial(self._say, "lost", call_id),
        )
        self._calls[call_id] = None

    async def _record(self, call_id: CallId, spec: RecordingSpec) -> RecordingStatus:
        return await self._plane.record(call_id, spec, partial(self._say, "recording_failed", call_id))

    async def _delete(self, call_id: CallId) -> MediaStats:
        self._calls.pop(call_id, None)
        return await self._plane.delete(call_id)

    async def _leg_offer(self, side: int, number: int, addresses: Sequence[str], connect_timeout_s: float) -> str:
        leg = self._side(side).new_leg(addresses=addresses, connect_timeout_s=connect_timeout_s)
        leg.on_state = partial(self._say, "leg_state", number)
        self._legs[number] = leg
        return await leg.offer()

    async def _leg_accept(self, number: int, answer_sdp: str) -> None:
        await self._leg(number).accept(answer_sdp)

    async def _leg_close(self, number: int) -> None:
        leg = self._legs.pop(number, None)
        if leg is not None:
            await leg.close()

    def _side_use(self, number: int, leg: int | None) -> None:
        self._side(number).use(None if leg is None else self._leg(leg))

    async def _side_echo(self, number: int, seconds: float) -> EchoFigures:
        return await self._side(number).echo(seconds)

    def _side_close(self, number: int) -> None:
        side = self._sides.pop(number, None)
        if side is not None:
            side.close()

    def _all_figures(self) -> tuple[Family, ...]:
        figures = self._figures
        figures.calls.set(len(self._calls))
        figures.legs.set(sum(leg.state is LegState.CONNECTED for leg in self._legs.values()))
        figures.spared.inc(self._channel.spared - self._spared)
        self._spared = self._channel.spared
        return figures.families()

    async def tell_figures(self) -> None:
        """Tell how calls and legs fare, a few at a time so that no packet waits for many; never returns."""
        while True:
            rounds: list[Callable[[], None]] = [
                *(partial(self._tell_call, call_id) for call_id in self._calls),
                *(partial(self._tell_leg, number) for number in self._legs),
            ]
            pause_s = max(SHORTEST_PAUSE_S, STATS_S / max(len(rounds), 1))
            at_once = math.ceil(len(rounds) * pause_s / STATS_S) or 1
            for start in range(0, max(len(rounds), 1), at_once):
                due_s = time.monotonic() + pause_s
                await asyncio.sleep(pause_s)
                self._figures.delay.observe(max(0.0, time.monotonic() - due_s))
                for tell in rounds[start : start + at_once]:
                    try:
                        tell()
                    except Exception:
                        self._log.exception("figures_not_told")  # the next may be

    def _tell_call(self, call_id: CallId) -> None:
        if call_id in self._calls:
            self._channel.mention("call_stats", call_id, self._plane.query(call_id))

    def _tell_leg(self, number: int) -> None:
        leg = self._legs.get(number)
        if leg is not None and leg.state not in _ENDED:
            self._channel.mention("leg_stats", number, leg.stats())

    async def close(self) -> None:
        """End all calls and legs: their peers are told."""
        self._calls.clear()
        legs, self._legs = list(self._legs.values()), {}
        await self._plane.close()
        await asyncio.gather(*(leg.close() for leg in legs))
