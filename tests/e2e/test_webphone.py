"""Browsers as phones, through everything: JsSIP and SIP.js in Chromium call WhatsApp and are rung by it, no PBX."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.demo.call import CALLEE, CALLER
from tests.demo.world import Ports, World, WorldOptions, world
from tests.e2e.test_keys import digits_in
from tests.support.audio import Samples, fit_sine, level_dbfs, sine
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK, free_ports
from tests.support.webphone import Webphone, webphones

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(180)]

USER, PASSWORD = "alice", "a long secret"
BROWSER_HZ, PERSON_HZ, LEVEL_DBFS = 1000.0, 440.0, -18.0
RATE_HZ = 16_000
QUIET_DBFS = -60.0


@asynccontextmanager
async def house(folder: Path, phones: int) -> AsyncIterator[tuple[World, list[Webphone], str, str]]:
    """Everything but a SIP server, and browsers; URLs of both WebSocket listeners."""
    first = free_ports(2)
    pem = Authority(folder / "tls").issue(LOOPBACK, "localhost")
    environment = {
        "PONTE_SIP_WS_PORT": str(first),
        "PONTE_SIP_WSS_PORT": str(first + 1),
        "PONTE_SIP_TLS_CERTIFICATE": str(pem.certificate),
        "PONTE_SIP_TLS_KEY": str(pem.key),
    }
    options = WorldOptions(folder, Ports.free(), tap=False, environment=environment)
    flags = [f"--ignore-certificate-errors-spki-list={pem.spki}"]
    async with world(options, print) as here, webphones(phones, flags=flags) as browsers:
        body = await here.configuration()
        await here.configure(
            {**body, "sipServer": "", "sipUser": "", "sipPass": "", "sipListenUser": USER, "sipListenSecret": PASSWORD}
        )
        await wait_part(here, page="READY", media="connected", listener="listening", phones="none")
        yield here, browsers, f"ws://{LOOPBACK}:{first}", f"wss://{LOOPBACK}:{first + 1}"


async def wait_part(here: World, **wanted: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        state: dict[str, Any] = (await here.status())["state"]
        if all(state[name]["state"] == value for name, value in wanted.items()):
            return
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.1)


async def wait_call(here: World, state: str | None) -> None:
    await here.far_end.wait_for(
        lambda told: told["call"] is None if state is None else bool(told["call"]) and told["call"]["state"] == state,
        what=f"call {state}",
        timeout_s=20,
    )


def is_tone(samples: Samples, rate_hz: int, hz: float) -> bool:
    if not np.any(samples):
        return False
    fit = fit_sine(samples, rate_hz)
    return abs(fit.hz - hz) < 1 and abs(fit.dbfs - LEVEL_DBFS) < 1.5 and fit.sinad_db >= 30


async def person_hears(here: World, hz: float | None) -> None:
    """The far end hears the tone with its level and little else; None: silence."""
    deadline = time.monotonic() + 15
    while True:
        samples, rate_hz = await here.far_end.heard(0.5)
        good = level_dbfs(samples) < QUIET_DBFS if hz is None else is_tone(samples, rate_hz, hz)
        if good:
            print("far end hears", None if hz is None else fit_sine(samples, rate_hz))
            return
        found = fit_sine(samples, rate_hz) if np.any(samples) else None
        assert time.monotonic() < deadline, (level_dbfs(samples), found)
        await asyncio.sleep(0.1)


async def browser_hears(phone: Webphone, here: World, hz: float) -> None:
    await here.far_end.say(sine(hz, LEVEL_DBFS, 30, RATE_HZ), RATE_HZ)
    samples, rate_hz = await phone.wait_heard(lambda found, rate: is_tone(found[-rate // 2 :], rate, hz), timeout_s=15)
    samples = samples[-rate_hz // 2 :]
    found = fit_sine(samples, rate_hz) if np.any(samples) else None
    assert is_tone(samples, rate_hz, hz), (level_dbfs(samples), found)
    print("browser hears", found)


async def call_up(here: World, phone: Webphone, *, count: int = 1, video: bool = False) -> None:
    await phone.dial(CALLEE, video=video)
    await wait_call(here, "ringing")
    await here.far_end.answer()
    await phone.wait_event("confirmed", count=count)


async def test_browsers_call_and_are_rung_with_no_pbx_between(tmp_path: Path) -> None:
    async with house(tmp_path, 3) as (here, (one, two, stranger), ws, wss):
        # a wrong password registers nobody and never rings WhatsApp
        await stranger.open("jssip", url=ws, user=USER, password="wrong")
        assert (await stranger.wait_event("registrationFailed"))[1] == 401
        await stranger.dial(CALLEE)
        assert (await stranger.wait_event("failed"))[2] == 401
        assert (await here.far_end.state())["call"] is None
        assert (await here.status())["state"]["phones"]["state"] == "none"

        # JsSIP over WS: a call with audio both ways, keys, hold, a restart of ICE, hung up by the browser
        await one.open("jssip", url=ws, user=USER, password=PASSWORD, hz=BROWSER_HZ, dbfs=LEVEL_DBFS)
        await one.wait_event("registered")
        await wait_part(here, phones="registered")
        await call_up(here, one, video=True)
        assert await one.do("answered") == [["audio", True], ["video", False]]
        assert (await one.events())[2:4] == [["progress", 180], ["accepted", 200]]
        await person_hears(here, BROWSER_HZ)
        await browser_hears(one, here, PERSON_HZ)
        assert await one.do("codec") == "audio/opus"  # the browser's first, which the page speaks too
        await one.do("dtmf", "5", "RFC2833")
        await asyncio.sleep(1.5)
        assert digits_in(*await here.far_end.heard(3)) == "5"
        assert await one.do("hold")
        await person_hears(here, None)
        assert await one.do("unhold")
        await person_hears(here, BROWSER_HZ)
        assert await one.do("restartIce")
        await asyncio.sleep(1.0)
        await person_hears(here, BROWSER_HZ)
        await browser_hears(one, here, PERSON_HZ)
        await one.do("hangup")
        await wait_call(here, None)

        # hung up by the person
        await call_up(here, one, count=2)
        await here.far_end.hang_up()
        ended = await one.wait_event("ended", count=2)
        assert ended[1] == "remote"
        assert "cause=16" in ended[4]
        await wait_call(here, None)

        # SIP.js over WSS: a WhatsApp call rings both; the first that answers has it
        await two.open("sipjs", url=wss, user=USER, password=PASSWORD, hz=BROWSER_HZ, dbfs=LEVEL_DBFS)
        await two.wait_event("registered")
        await here.far_end.ring(CALLER, name="Maria")
        for phone in (one, two):
            assert (await phone.wait_event("ringing"))[1:] == [CALLER.lstrip("+"), "Maria"]
        await one.do("answer")
        await one.wait_event("confirmed", count=3)
        await two.wait_event("ended")
        await wait_call(here, "active")
        await person_hears(here, BROWSER_HZ)
        await browser_hears(one, here, PERSON_HZ)
        await here.far_end.hang_up()
        await one.wait_event("ended", count=3)
        await wait_call(here, None)

        # a page that is closed is not rung any more; SIP.js answers and is heard
        await one.page.close()
        await here.far_end.ring(CALLER, name="Maria")
        await two.wait_event("ringing", count=2)
        await two.do("answer")
        await two.wait_event("confirmed")
        await person_hears(here, BROWSER_HZ)
        await browser_hears(two, here, PERSON_HZ)
        # a page that is closed in a call sends no BYE, and is missed all the same
        await two.page.close()
        await wait_call(here, None)
