"""Media workers as processes: what becomes of calls, of the gateway and of them when one of these fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from gateway.bridge.call import Call
from gateway.bridge.call_media import CallMedia
from gateway.bridge.flows import sip_to_whatsapp
from gateway.domain import termination as t
from gateway.domain.errors import Unavailable
from gateway.domain.ids import AccountId, CallId, new_call_id
from gateway.domain.page_call import PageActive
from gateway.domain.states import CallState, Direction
from gateway.domain.termination import Termination
from gateway.media.built_in import PlaneSettings
from gateway.media.page_side import LegState
from gateway.media.plane import PLANE_LOST, MediaStats
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.protocol.sip.events import Answered, Ended
from gateway.sip import OutgoingInvite
from gateway.worker.open import open_plane
from gateway.worker.plane import WorkerPlane, WorkerSide
from gateway.worker.process import LogSettings, WorkerLimits
from tests.integration.bridge.rig import LIMITS, PlayedPage
from tests.support.far_end import HOST, FarEnd, call_up, far_end, until
from tests.support.planes import SETTINGS
from tests.support.sip_ua import Pair, ua_pair

pytestmark = pytest.mark.integration

ONE, TWO = CallId("one"), CallId("two")
QUICK = WorkerLimits(look_s=0.2, look_timeout_s=2.0)


@contextlib.asynccontextmanager
async def plane_of(
    workers: int, *, limits: WorkerLimits = QUICK, metrics: Metrics | None = None, health: Health | None = None
) -> AsyncIterator[WorkerPlane]:
    async with open_plane(
        SETTINGS, workers=workers, metrics=metrics or Metrics(), health=health or Health(), limits=limits,
        logs=LogSettings("debug"),
    ) as plane:  # fmt: skip
        assert isinstance(plane, WorkerPlane)
        yield plane


def kill(plane: WorkerPlane, worker: int, number: signal.Signals = signal.SIGKILL) -> int:
    pid = plane.processes[worker].pid
    assert pid is not None
    os.kill(pid, number)
    return pid


async def back(plane: WorkerPlane, pid: int) -> None:
    """Wait until every worker can be asked, none of them the process that was."""
    await until(lambda: all(one.channel and one.pid != pid for one in plane.processes), "the worker")


def gone(pid: int) -> bool:
    """Whether there is no such process any more; a zombie is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def dial(
    pair: Pair, plane: WorkerPlane, far: FarEnd, side: WorkerSide, page: PlayedPage, tasks: asyncio.TaskGroup
) -> tuple[OutgoingInvite, asyncio.Task[Termination]]:
    """A phone calls, WhatsApp answers, both talk."""
    phone = pair.dial(sdp=far.offer())
    invite = await asyncio.wait_for(pair.calls.get(), 5)
    call_id = new_call_id()
    media = CallMedia(call_id, plane, page, side)
    call = Call(call_id, AccountId("a"), Direction.SIP_TO_WHATSAPP, media, LIMITS, on_change=lambda _: None)
    ended = tasks.create_task(call.run(lambda one: sip_to_whatsapp(one, invite, page, "5511987654321", pair.callee)))
    page.call.emit(PageActive())
    answered = await asyncio.wait_for(phone.next_event(), 10)
    assert isinstance(answered, Answered)
    assert answered.sdp is not None
    far.accept(answered.sdp)
    await until(lambda: call.state is CallState.ACTIVE, "the call")
    await far.talk()
    before = len(far.sip_heard), len(far.page_heard)
    await until(lambda: len(far.sip_heard) > before[0] + 5 and len(far.page_heard) > before[1] + 5, "audio")
    return phone, ended


async def test_a_worker_that_dies_ends_its_calls_with_a_reason_and_no_others() -> None:
    async with plane_of(2) as plane, far_end() as far, far_end() as other, ua_pair() as pair:
        side, other_side = plane.page_side(), plane.page_side()
        assert side.worker is not other_side.worker
        leg, other_leg = await far.connect_page(side), await other.connect_page(other_side)
        await other.talk()
        other_lost: list[str] = []
        await call_up(plane, other, TWO, other_side, on_lost=other_lost.append)
        async with asyncio.TaskGroup() as tasks:
            page = PlayedPage()
            phone, ended = await dial(pair, plane, far, side, page, tasks)
            killed_s = time.monotonic()
            pid = kill(plane, side.worker.process.number)
            event = await asyncio.wait_for(phone.next_event(), 5)
            assert time.monotonic() - killed_s < 1.0
            assert isinstance(event, Ended)
            assert event.reason is not None
            assert (event.reason.protocol, event.reason.cause) == ("Q.850", 41)
            assert await asyncio.wait_for(ended, 5) is t.MEDIA_LOST
            assert page.call.told == ["hangup"]
            assert (leg.state, side.connected) == (LegState.FAILED, False)

            await back(plane, pid)
            side.use(None)
            await leg.close()
            leg = await far.connect_page(side)
            phone, ended = await dial(pair, plane, far, side, PlayedPage(), tasks)
            await phone.bye()
            assert await asyncio.wait_for(ended, 5) == t.HANGUP
        assert (other_lost, other_leg.state) == ([], LegState.CONNECTED)
        heard = other.sip_heard
        gap_s = max(later.at_s - sooner.at_s for sooner, later in pairwise(heard))
        assert gap_s < 1.0, "the other worker's call went on"
        assert (await plane.delete(TWO)).wa_to_sip.lost == 0
        for one in (leg, other_leg):
            await one.close()


async def test_packets_do_not_wait_for_the_gateway() -> None:
    async with plane_of(1) as plane, far_end() as far:
        side = plane.page_side()
        leg = await far.connect_page(side)
        await far.talk()
        await call_up(plane, far, ONE, side)
        await until(lambda: len(far.sip_heard) > 10 and len(far.page_heard) > 10, "audio")
        before = len(far.sip_heard), len(far.page_heard)
        time.sleep(0.5)  # noqa: ASYNC251  nothing of this process runs
        heard = len(far.sip_heard) - before[0], len(far.page_heard) - before[1]
        # 25 packets each way were due, and the far ends' thread shares the machine with other tests.
        assert min(heard) >= 15
        await plane.delete(ONE)
        await leg.close()


async def test_what_was_in_a_worker_is_unavailable_and_its_last_figures_are_kept() -> None:
    health = Health()
    async with plane_of(1, health=health) as plane, far_end() as far:
        side = plane.page_side()
        leg = await far.connect_page(side)
        await far.talk()
        lost: list[str] = []
        await call_up(plane, far, ONE, side, on_lost=lost.append)
        await plane.create_offer(TWO, local_address=HOST, page=side)
        await until(lambda: plane.query(ONE).wa_to_sip.passed and leg.stats().received, "figures")
        assert [one.ok for one in await health.results()] == [True]
        told = plane.query(ONE)
        pid = kill(plane, 0)
        await until(lambda: lost, "the loss")
        assert [one.ok for one in await health.results()] == [False]
        with pytest.raises(Unavailable):
            await plane.create_offer(CallId("three"), local_address=HOST, page=side)
        with pytest.raises(Unavailable):
            await side.new_leg().offer()
        await back(plane, pid)
        for call_id in (ONE, TWO):
            with pytest.raises(Unavailable):
                await plane.reoffer(call_id, local_address=HOST)
            with pytest.raises(Unavailable):
                plane.mute(call_id, 1.0)
        assert lost == [PLANE_LOST]
        assert (await plane.delete(ONE)).wa_to_sip.packets >= told.wa_to_sip.packets > 0
        assert await plane.delete(TWO) == MediaStats()
        assert plane.processes[0].restarts == 1
        await leg.close()


async def test_a_worker_that_hangs_is_ended() -> None:
    limits = WorkerLimits(look_s=0.1, look_timeout_s=0.5)
    async with plane_of(1, limits=limits) as plane:
        pid = kill(plane, 0, signal.SIGSTOP)
        await until(lambda: gone(pid), "the end of the worker that hangs")
        await until(lambda: plane.processes[0].restarts == 1, "the restart")
        assert "did not answer" in plane.processes[0].ended_by


async def test_only_the_gateway_stops_a_worker() -> None:
    async with plane_of(1) as plane:
        pid = kill(plane, 0, signal.SIGTERM)
        kill(plane, 0, signal.SIGINT)
        for _ in range(3):
            await plane.create_offer(CallId(f"c{_}"), local_address=HOST)
        assert (plane.processes[0].pid, plane.processes[0].restarts) == (pid, 0)
    assert gone(pid)


async def test_no_worker_outlives_a_gateway_that_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.worker.parent", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        line = b""
        while not line.startswith(b"["):  # after its log
            line = await asyncio.wait_for(parent.stdout.readline(), 60)
            assert line
        pids = json.loads(line)
        assert len(pids) == 2
        assert not any(gone(pid) for pid in pids)
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: all(gone(pid) for pid in pids), "the workers' end")


async def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(BaseExceptionGroup) as refused:
        async with open_plane(PlaneSettings((80, 99)), workers=1, metrics=Metrics(), health=Health(), limits=QUICK):
            raise AssertionError("it started")
    (error,) = refused.value.exceptions
    assert isinstance(error, Unavailable)
    assert "1024" in str(error)


async def test_a_worker_that_breaks_at_its_start_leaves_its_last_word() -> None:
    with pytest.raises(BaseExceptionGroup) as refused:
        async with open_plane(SETTINGS, workers=1, metrics=Metrics(), health=Health(), module="gateway.no_such_module"):
            raise AssertionError("it started")
    assert "No module named gateway.no_such_module" in str(refused.value.exceptions[0])


async def test_its_log_and_its_metrics_are_the_gateways() -> None:
    metrics = Metrics()
    with structlog.testing.capture_logs() as logs:
        async with plane_of(2, metrics=metrics) as plane, far_end() as far:
            with structlog.contextvars.bound_contextvars(call_id="c1"):
                leg = await far.connect_page(plane.page_side())

            def shown() -> str:
                return metrics.render().decode()

            await until(lambda: 'ponte_media_page_legs{worker="0"} 1.0' in shown(), "the leg in the metrics")
            await until(lambda: 'ponte_media_page_legs{worker="1"} 0.0' in shown(), "the other worker's")
            assert shown().count("# TYPE ponte_media_resident_bytes gauge") == 1
            assert 'ponte_media_worker_restarts_total{worker="1"} 0.0' in shown()
            await leg.close()
    (connected,) = [one for one in logs if one["event"] == "webrtc.state" and one["new"] == "connected"]
    assert (connected["call_id"], connected["worker"], connected["log_level"]) == ("c1", 0, "info")
