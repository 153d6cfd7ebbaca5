"""The call's audio is clean both ways, and its instants can be trusted."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.integration.standin.measure import longest_gap_s, measure
from tests.integration.standin.page import Page
from tests.standin.server import StandIn
from tests.standin.sound import PAGE_SOUNDS_HZ, SAMPLE_RATE_HZ, tone, wav_bytes

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="package")]


async def in_call(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.ring(phone)
    await page.wait_for("told.includes(3)")
    await page.evaluate("WPP.call.accept()")
    await stand_in.wait_for(lambda state: state["call"] is not None and state["call"]["state"] == "active")


async def recorded(page: Page) -> NDArray[np.float64]:
    """What the page's playback worklet gave out, in the units of s16."""
    parts = await page.evaluate("recorded.map((part) => Array.from(part))")
    return np.concatenate([np.asarray(part) for part in parts]) * 32768


async def clean_stretch(page: Page, stand_in: StandIn) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Three seconds of both directions at once during which the machine did not hold the line up."""
    trouble = None
    for _ in range(3):
        before = (await stand_in.state())["media"]
        await page.evaluate("recorded.length = 0")
        await stand_in.post("/say", tone_hz=1000, seconds=4.5, level_dbfs=-20)
        await asyncio.sleep(6)
        after = (await stand_in.state())["media"]
        heard = (await stand_in.heard(4))[: 3 * SAMPLE_RATE_HZ]
        played = await recorded(page)
        first = int(np.flatnonzero(np.abs(played) > 100)[0])
        trouble = [(before[name], after[name]) for name in ("heard_gaps", "frames_dropped", "page")]
        if all(was == now for was, now in trouble):
            return heard, played[first + 8000 : first + 8000 + 3 * SAMPLE_RATE_HZ]
    raise AssertionError(f"never three seconds without a stall: {trouble}")


async def test_both_directions_are_clean(page: Page, stand_in: StandIn, phone: str) -> None:
    await in_call(page, stand_in, phone)
    await page.evaluate("record(); speak(0.1, 0, 0)")
    heard, played = await clean_stretch(page, stand_in)

    up = measure(heard)
    assert up.hz == pytest.approx(700, abs=0.5)
    assert up.dbfs == pytest.approx(-20, abs=0.2)
    assert up.sinad_db >= 60
    assert longest_gap_s(heard) < 0.005

    assert len(played) == 3 * SAMPLE_RATE_HZ
    down = measure(played)
    assert down.hz == pytest.approx(1000, abs=0.5)
    assert down.dbfs == pytest.approx(-20, abs=0.2)
    assert down.sinad_db >= 60


async def test_page_noises_sound_but_are_no_part_of_the_call(page: Page, stand_in: StandIn, phone: str) -> None:
    before = (await stand_in.state())["message_sounds"]["played"]
    await in_call(page, stand_in, phone)
    await page.evaluate("record()")
    await stand_in.wait_for(lambda state: state["message_sounds"]["played"] >= before + 2)
    await asyncio.sleep(1.2)
    played = await recorded(page)
    assert float(np.abs(played).max()) < 1
    assert len({hz for sound in PAGE_SOUNDS_HZ.values() for hz in sound}) == 5


async def test_speech_waits_for_the_answer_and_a_new_call_has_new_contexts(
    page: Page, stand_in: StandIn, phone: str
) -> None:
    await stand_in.post("/say", tone_hz=500, seconds=0.5)
    await stand_in.ring(phone)
    await page.wait_for("told.includes(3)")
    await asyncio.sleep(0.3)
    assert (await stand_in.state())["saying_s"] == 0.5
    assert (await stand_in.marks())["emitted"] == []
    await page.evaluate("WPP.call.accept()")
    await stand_in.wait_for(lambda state: state["saying_s"] == 0)
    await stand_in.post("/hangup")
    await page.wait_for("players.at(-1).node.context.state === 'closed'")

    await page.evaluate("told.length = 0")
    await in_call(page, stand_in, phone)
    contexts = "players.slice(-2).map((player) => player.node.context)"
    assert await page.evaluate(f"(([a, b]) => [a === b, a.state, b.state, b.sampleRate])({contexts})") == [
        False, "closed", "running", 16000
    ]  # fmt: skip


async def test_wav_of_another_rate_is_spoken_whole(page: Page, stand_in: StandIn, phone: str) -> None:
    await in_call(page, stand_in, phone)
    await page.evaluate("record()")
    wav = wav_bytes(tone([880], 2.0, -16, sample_rate_hz=44_100), sample_rate_hz=44_100)
    for _ in range(6):  # until the machine did not hold the line up
        await page.evaluate("recorded.length = 0")
        before = (await stand_in.state())["media"]
        assert (await stand_in.say_wav(wav))["seconds"] == pytest.approx(2.0, abs=0.001)
        await asyncio.sleep(3.6)
        played = await recorded(page)
        after = (await stand_in.state())["media"]
        if all(before[name] == after[name] for name in ("frames_dropped", "page")):
            break
    loud = np.flatnonzero(np.abs(played) > 100)
    assert (loud[-1] - loud[0]) / SAMPLE_RATE_HZ == pytest.approx(2.0, abs=0.002)
    got = measure(played[loud[0] + 1600 : loud[0] + 1600 + 24_000])
    assert got.hz == pytest.approx(880, abs=0.5)
    assert got.dbfs == pytest.approx(-16, abs=0.2)


async def test_output_through_a_media_element(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", media_element_output=True)
    await in_call(page, stand_in, phone)
    assert await page.evaluate("players.at(-1).target") == "MediaStreamAudioDestinationNode"
    await stand_in.post("/settings", media_element_output=False)


async def bursts(page: Page, stand_in: StandIn) -> dict[str, list[dict[str, float]]]:
    """Three bursts of 200 ms every 600 ms in both directions; the marks that they left."""
    await stand_in.request("DELETE", "/marks")
    pause = np.zeros(round(0.4 * SAMPLE_RATE_HZ), dtype=np.int16)
    burst = tone([1000], 0.2, -20)
    await stand_in.say_wav(wav_bytes(np.concatenate([pause, burst, pause, burst, pause, burst, pause])))
    await page.evaluate("for (const at of [0.3, 0.9, 1.5]) speak(0.1, at, 0.2)")
    await asyncio.sleep(2.8)
    return await stand_in.marks()


def regular(marks: list[dict[str, float]], within_s: float) -> bool:
    """Whether three bursts were marked 600 ms apart, by their frames and by the clock."""
    frames_s = np.diff([mark["frame"] for mark in marks]) / SAMPLE_RATE_HZ
    clock_s = np.diff([mark["at"] for mark in marks])
    if len(marks) != 3:
        return False
    return bool(np.all(np.abs(frames_s - 0.6) <= within_s) and np.all(np.abs(clock_s - frames_s) <= 0.04))


async def test_marks_tell_the_first_sample_of_each_burst(page: Page, stand_in: StandIn, phone: str) -> None:
    await in_call(page, stand_in, phone)
    events = {event["event"]: event["at"] for event in (await stand_in.marks())["events"]}
    assert events["ring"] < events["accepted"] <= events["active"]
    proven: set[str] = set()
    # A machine that is held up holds the bursts up too, and marks that: each direction needs one quiet moment.
    for _ in range(5):
        began = time.time()
        marks = await bursts(page, stand_in)
        assert all(began < mark["at"] < time.time() for kind in ("emitted", "received") for mark in marks[kind])
        # The far end's pauses grow by 60 ms or shrink by 20 where the jitter buffer uses them.
        proven |= {
            kind for kind, within_s in (("emitted", 0.062), ("received", 0.001)) if regular(marks[kind], within_s)
        }
        if len(proven) == 2:
            break
    assert proven == {"emitted", "received"}, f"never regular: {marks}"


async def test_marks_are_in_this_machines_time(page: Page, stand_in: StandIn, phone: str) -> None:
    await in_call(page, stand_in, phone)
    best = 1.0
    # The worklet's reading was taken between the sending and the arrival: the narrower that was, the more it proves.
    for _ in range(300):
        clock = await stand_in.get("/clock")
        took = clock["received"] - clock["sent"]
        assert clock["sent"] - 0.001 <= clock["worklet"] <= clock["received"] + 0.001
        if took < best:
            best = took
            offset = clock["worklet"] - (clock["sent"] + clock["received"]) / 2
        if best < 0.0015:
            break
    # What a reading proves is as wide as its round trip, and that depends on the machine: no bound on it here.
    assert abs(offset) <= best / 2 + 0.0005
