"""Calls recorded in a media worker: what is told of them over the channel, and what a worker that dies leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.domain.recording import RecordingFormat, RecordingSpec, RecordingState, RecordingStatus
from tests.integration.worker.test_worker import ONE, TWO, kill, plane_of
from tests.support.far_end import call_up, far_end, until
from tests.support.two_tones import read_stereo

pytestmark = pytest.mark.integration


async def test_a_call_is_recorded_where_its_packets_are(tmp_path: Path) -> None:
    async with plane_of(1) as plane, far_end() as far:
        side = plane.page_side()
        leg = await far.connect_page(side)
        await call_up(plane, far, ONE, side)
        await far.talk()
        spec = RecordingSpec(str(tmp_path), "one", RecordingFormat.WAV, tone=True)
        begun = await plane.record(ONE, spec, lambda status: None)
        assert begun.state is RecordingState.RECORDING
        await until(lambda: (_told(plane.query(ONE).recording) or 0) > 0.3, "the recording's figures")
        stopped = await plane.stop_recording(ONE)
        assert stopped is not None
        assert stopped.state is RecordingState.STOPPED
        await plane.record(ONE, spec, lambda status: None)
        ended = (await plane.delete(ONE)).recording
        assert ended is not None
        assert (ended.state, ended.bytes) == (RecordingState.DONE, (tmp_path / "one.wav").stat().st_size)
        await leg.close()


async def test_a_recording_that_fails_there_is_told_here_and_one_that_dies_is_whole(tmp_path: Path) -> None:
    async with plane_of(1) as plane, far_end() as far:
        side = plane.page_side()
        leg = await far.connect_page(side)
        await call_up(plane, far, ONE, side)
        await far.talk()
        failed = await plane.record(ONE, RecordingSpec(str(tmp_path), "x", min_free_bytes=1 << 60), lambda status: None)
        assert (failed.state, failed.reason) == (RecordingState.FAILED, "disk_full")
        await plane.delete(ONE)
        await call_up(plane, far, TWO, side)
        await plane.record(TWO, RecordingSpec(str(tmp_path), "two", RecordingFormat.WAV), lambda status: None)
        await until(lambda: (_told(plane.query(TWO).recording) or 0) > 1, "a second of it")
        told = plane.query(TWO).recording
        assert told is not None
        kill(plane, 0)
        left = (await plane.delete(TWO)).recording
        assert left is not None
        assert left.state is RecordingState.RECORDING  # the last word of a worker that is gone
        sound, rate = read_stereo(tmp_path / "two.wav")
        assert sound.shape[1] / rate > told.duration_s - 0.001  # which is rounded
        await leg.close()


def _told(status: RecordingStatus | None) -> float | None:
    return status.duration_s if status is not None else None
