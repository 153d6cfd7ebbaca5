"""The network to Chrome is cut, the rest goes on: helper, Chromium and stand-in are behind a router that drops all.

``PONTE_TEST_LONG_CUT_S`` (seconds, for example 60) is the length of the long cut; usually it lasts only until the
gateway has given the page up, which is all that a longer one does too, and a few seconds more.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.demo.world import Ports, World, WorldOptions, world
from tests.support.audio import Samples, fit_sine, level_dbfs, sine, write_wav
from tests.support.far_host import FarHost, far_host, may_have_far_host
from tests.support.wire import stream_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not may_have_far_host(), reason="cutting a network needs root, ip, nsenter and unshare"),
]

PERSON_HZ, PHONE_HZ, LEVEL_DBFS = 437.0, 1013.0, -18.0
PERSON_RATE_HZ = 16_000
SHORT_CUT_S = 5.0
LONG_CUT_S = float(os.environ.get("PONTE_TEST_LONG_CUT_S", "0"))
# Ten seconds of silence until Chrome is asked, and ten for its answer (gateway.browser.settings).
GIVEN_UP_S = 20.0


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def far(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FarHost]:
    async with far_host(tmp_path_factory.mktemp("network")) as host:
        yield host


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory, far: FarHost) -> AsyncIterator[World]:
    """The whole product, READY, its page on the other host."""
    async with world(WorldOptions(tmp_path_factory.mktemp("world"), Ports.free(), far=far), print) as one:
        await one.configure(await one.configuration())
        await one.wait_ready(print)
        yield one


async def call(here: World, folder: Path) -> int:
    """Have a call in which both sides play a tone and hear the other's; the mark of the phone's events before it."""
    write_wav(folder / "tone.wav", sine(PHONE_HZ, LEVEL_DBFS, 100, here.phone.rate_hz), here.phone.rate_hz)
    here.phone.play(folder / "tone.wav")
    await here.far_end.say(sine(PERSON_HZ, LEVEL_DBFS, 100, PERSON_RATE_HZ), PERSON_RATE_HZ)
    mark = here.phone.mark()
    await here.far_end.ring("+5511988887777", name="Maria")
    await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
    await both_hear(here)
    return mark


async def hang_up(here: World, mark: int) -> None:
    await here.far_end.hang_up()
    await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
    await here.far_end.wait_for(lambda state: state["call"] is None, what="end of the call", timeout_s=10)


async def both_hear(here: World, timeout_s: float = 15) -> None:
    """Return when the last half second was the other's tone, on both sides."""
    deadline = time.monotonic() + timeout_s
    while True:
        person, phone = await here.far_end.heard(0.5), at_phone(here)
        if is_tone(*person, PHONE_HZ) and is_tone(phone, 8000, PERSON_HZ):
            return
        levels = level_dbfs(person[0]), level_dbfs(phone)
        assert time.monotonic() < deadline, (levels, here.gateway.tail(40))
        await asyncio.sleep(0.1)


def at_phone(here: World) -> Samples:
    packets = here.tap.rtp(since_s=time.time() - 0.5, target=here.phone.rtp_ports)
    return stream_of(packets).samples if packets else sine(0, -120, 0.5, 8000)


def is_tone(samples: Samples, rate_hz: int, hz: float) -> bool:
    if len(samples) < rate_hz * 0.4 or level_dbfs(samples) < LEVEL_DBFS - 3:
        return False
    fit = fit_sine(samples, rate_hz)
    return abs(fit.hz - hz) < 1 and abs(fit.dbfs - LEVEL_DBFS) < 1.5 and fit.sinad_db >= 20


async def test_a_cut_of_5_s_is_survived_by_the_call(here: World, far: FarHost, tmp_path: Path) -> None:
    mark = await call(here, tmp_path)
    await far.cut()
    await asyncio.sleep(SHORT_CUT_S)
    assert level_dbfs(at_phone(here)) < -60, "the network was not cut"
    mended_s = time.monotonic()
    await far.mend()
    await both_hear(here, timeout_s=5)
    print(f"both hear each other {time.monotonic() - mended_s:.2f} s after the cut")
    assert (await here.status())["state"]["page"]["state"] == "READY"
    assert not any(event.type == "CALL_CLOSED" for event in here.phone.events[mark:])
    await hang_up(here, mark)


async def test_a_long_cut_ends_the_call_and_the_account_is_ready_again_after_it(
    here: World, far: FarHost, tmp_path: Path
) -> None:
    mark = await call(here, tmp_path)
    since_s = time.time()
    await far.cut()
    try:
        ended = await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=GIVEN_UP_S + 5)
        print(f"the call ended {ended.at_s - since_s:.1f} s after the cut")
        byes = [found for found in here.tap.sip(since_s=since_s) if found.method == "BYE" and found.status is None]
        assert byes
        assert "cause=41" in byes[-1].headers["reason"], byes[-1].headers
        await here.wait_lost(timeout_s=5)
        page = (await here.status())["state"]["page"]
        assert page["detail"], page
        await asyncio.sleep(max(3.0, since_s + LONG_CUT_S - time.time()))
    finally:
        await far.mend()
    mended_s = time.monotonic()
    # The pause between two tries is 10 s at most.
    await here.wait_ready(print, timeout_s=30)
    print(f"ready {time.monotonic() - mended_s:.1f} s after the network was back")
    # The person's side of the call went on alone; it is ended as soon as the page is in reach.
    await here.far_end.wait_for(lambda state: state["call"] is None, what="end of the call", timeout_s=10)
    await hang_up(here, await call(here, tmp_path))
