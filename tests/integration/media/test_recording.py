"""A call over real UDP that is recorded: what the file holds, also after a kill, on a full disk, over a moved leg."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingFormat, RecordingSpec, RecordingState, RecordingStatus
from gateway.media.router import PacketRouter
from tests.support.two_tones import LEFT_HZ, RIGHT_HZ, Ends, heard_from, level_db, loudest_db, read_stereo

pytestmark = pytest.mark.integration

CALL = CallId("c1")


@pytest.fixture
async def router() -> AsyncIterator[PacketRouter]:
    router = PacketRouter(port_range=(42_000, 42_999))
    yield router
    await router.close()


async def talk(ends: Ends, first: int, count: int, *, left: float = LEFT_HZ, right: float = RIGHT_HZ) -> None:
    """Speak in real time."""
    begun = time.monotonic()
    for n in range(count):
        ends.speak(first + n, left, right)
        await asyncio.sleep(max(0.0, begun + (n + 1) * 0.02 - time.monotonic()))


@pytest.mark.parametrize(("codec", "kind"), [("PCMU", "opus"), ("PCMA", "wav"), ("G722", "wav"), ("opus", "opus")])
async def test_each_side_is_in_its_channel_at_its_level_and_both_are_aligned(
    router: PacketRouter, tmp_path: Path, codec: str, kind: str
) -> None:
    ends = await Ends.make(router, CALL, codec)
    try:
        failed: list[RecordingStatus] = []
        begun = await router.record(CALL, RecordingSpec(str(tmp_path), "c1", RecordingFormat(kind)), failed.append)
        assert begun.state is RecordingState.RECORDING
        await talk(ends, 0, 10, right=0, left=0)
        await talk(ends, 10, 100)
        status = (await router.delete(CALL)).recording
        assert status is not None
        assert (status.state, status.dropped, failed) == (RecordingState.DONE, 0, [])
        path = tmp_path / status.file
        assert status.bytes == path.stat().st_size
        sound, rate = read_stereo(path)
        assert sound.shape[1] / rate == pytest.approx(status.duration_s, abs=0.03)
        (left_from, left_to), (right_from, _) = (heard_from(channel, rate) for channel in sound)
        assert abs(left_from - right_from) < 0.04  # both began in one turn of the loop; the machine may be busy
        middle = sound[:, int((left_from + 0.4) * rate) : int((left_to - 0.4) * rate)]
        assert abs(level_db(middle[0], rate, LEFT_HZ)) < 0.2
        assert abs(level_db(middle[1], rate, RIGHT_HZ)) < 0.2
        assert level_db(middle[0], rate, RIGHT_HZ) < -40
        assert level_db(middle[1], rate, LEFT_HZ) < -40
    finally:
        ends.close()


async def test_a_pause_that_is_asked_for_is_not_in_the_file(router: PacketRouter, tmp_path: Path) -> None:
    ends = await Ends.make(router, CALL, others_hz=(2500,))
    try:
        spec = RecordingSpec(str(tmp_path), "c1", RecordingFormat.WAV)
        await router.record(CALL, spec, lambda status: None)
        await talk(ends, 0, 30)
        stopped = await router.stop_recording(CALL)
        assert stopped is not None
        assert stopped.state is RecordingState.STOPPED
        size = stopped.bytes
        await talk(ends, 30, 30, left=2500, right=2500)
        assert router.query(CALL).recording == stopped
        assert (tmp_path / "c1.wav").stat().st_size == size
        went_on = await router.record(CALL, spec, lambda status: None)
        assert went_on.state is RecordingState.RECORDING
        await talk(ends, 60, 30)
        status = (await router.delete(CALL)).recording
        assert status is not None
        sound, rate = read_stereo(tmp_path / "c1.wav")
        assert loudest_db(sound[0], rate, 2500) < -30
        assert abs(loudest_db(sound[0], rate, LEFT_HZ)) < 0.5
        assert status.duration_s == pytest.approx(1.2, abs=0.3)
    finally:
        ends.close()


async def test_a_recording_goes_on_with_the_leg_that_takes_the_place_of_another(
    router: PacketRouter, tmp_path: Path
) -> None:
    first, second = await Ends.make(router, CALL), await Ends.make(router, CallId("c1-1"), others_hz=(700, 1300))
    try:
        await router.record(CALL, RecordingSpec(str(tmp_path), "c1", RecordingFormat.WAV), lambda status: None)
        await talk(first, 0, 25)
        router.move_recording(CALL, CallId("c1-1"))
        assert (await router.delete(CALL)).recording is None
        await talk(second, 0, 25, left=700, right=1300)
        status = (await router.delete(CallId("c1-1"))).recording
        assert status is not None
        assert status.state is RecordingState.DONE
        sound, rate = read_stereo(tmp_path / "c1.wav")
        assert abs(loudest_db(sound[0], rate, LEFT_HZ)) < 0.5
        assert abs(loudest_db(sound[0], rate, 700)) < 0.5
        assert abs(loudest_db(sound[1], rate, 1300)) < 0.5
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("codec", ["PCMU", "G722", "opus"])
async def test_both_sides_hear_the_tone_and_then_each_other(router: PacketRouter, tmp_path: Path, codec: str) -> None:
    ends = await Ends.make(router, CALL, codec)
    try:
        spec = RecordingSpec(str(tmp_path), "c1", RecordingFormat.WAV, tone=True)
        await router.record(CALL, spec, lambda status: None)
        await talk(ends, 0, 75)
        await router.delete(CALL)
        sound, rate = read_stereo(tmp_path / "c1.wav")
        begun = int(heard_from(sound[0], rate)[0] * rate)  # after the tone, which is softer than this asks for
        for channel, hz in ((0, LEFT_HZ), (1, RIGHT_HZ)):
            tone = sound[channel, max(0, begun - int(0.45 * rate)) : begun - int(0.1 * rate)]
            assert level_db(tone, rate, 1400) == pytest.approx(-7.75, abs=1)  # -20 dBFS, of a peak of 8000
            assert level_db(tone, rate, hz) < -30
            assert abs(level_db(sound[channel, begun + rate // 5 : begun + rate // 2], rate, hz)) < 0.5
    finally:
        ends.close()


async def test_a_disk_without_room_ends_the_recording_and_not_the_call(router: PacketRouter, tmp_path: Path) -> None:
    ends = await Ends.make(router, CALL)
    try:
        failed: list[RecordingStatus] = []
        spec = RecordingSpec(str(tmp_path), "c1", min_free_bytes=1 << 60)
        status = await router.record(CALL, spec, failed.append)
        assert (status.state, status.reason) == (RecordingState.FAILED, "disk_full")
        assert "the call goes on" in status.detail
        await talk(ends, 0, 10)
        assert ends.heard_by_page == 10
        assert failed == []  # it was the answer
        assert (await router.delete(CALL)).recording == status
    finally:
        ends.close()


async def test_a_folder_that_cannot_be_made_is_told(router: PacketRouter, tmp_path: Path) -> None:
    ends = await Ends.make(router, CALL)
    try:
        (tmp_path / "file").write_text("")
        status = await router.record(CALL, RecordingSpec(str(tmp_path / "file"), "c1"), lambda status: None)
        assert (status.state, status.reason) == (RecordingState.FAILED, "disk_error")
    finally:
        ends.close()


@pytest.mark.parametrize("kind", list(RecordingFormat))
async def test_a_process_that_is_killed_leaves_all_but_the_last_second(tmp_path: Path, kind: RecordingFormat) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.media.recorded", str(tmp_path), kind.value,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = 0.0
            while said < 2:
                said = float(await process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    sound, rate = read_stereo(tmp_path / ("killed" + kind.suffix))
    assert sound.shape[1] / rate > said - 1
    middle = sound[:, rate // 2 : rate * 3 // 2]
    assert abs(level_db(middle[0], rate, LEFT_HZ)) < 0.2
    assert abs(level_db(middle[1], rate, RIGHT_HZ)) < 0.2


async def test_a_file_that_may_not_grow_ends_the_recording_is_told_and_left_whole(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.media.recorded", str(tmp_path), "wav", "100000",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = b""
            while not line.startswith(b"failed"):
                line = await process.stdout.readline()
                assert line
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    _, reason, duration, _, heard = line.decode().split()
    assert (reason, heard) == ("file_too_big", "1")
    sound, rate = read_stereo(tmp_path / "killed.wav")
    assert sound.shape[1] / rate == pytest.approx(float(duration), abs=0.001)
    assert 1.2 < float(duration) < 100_000 / 64_000
