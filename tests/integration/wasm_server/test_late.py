"""A page that was open before the gateway came: the bundle arrives late, and the next call works all the same."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from gateway.browser.cdp import connect_cdp
from gateway.browser.endpoint import parse_browser_url
from gateway.browser.settings import BrowserSettings
from tests.integration.wasm_server.rig import RATE_HZ, rig
from tests.standin.server import StandIn
from tests.support.audio import fit_sine, sine
from tests.support.chromium import chromium

pytestmark = [pytest.mark.integration, pytest.mark.alone]


async def test_a_page_already_open_takes_calls_after_a_late_injection() -> None:
    async with StandIn() as stand_in, chromium(stand_in.flags) as browser:
        async with connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()) as cdp:
            await cdp.send("Target.createTarget", {"url": stand_in.url})
            await stand_in.wait_for(lambda state: state["page"]["stack_ready"], 20)
        async with rig(stand_in, browser) as there:
            assert there.page.late
            call_id = await stand_in.ring("+5511987654321")
            await there.until(lambda: there.of_type("call.incoming"))
            await there.page.call("startMedia", {"codec": "PCMU"})
            await there.page.call("accept", call_id)
            await there.until_state(6)
            there.wire.say(sine(1000, -20, 30, RATE_HZ))
            await stand_in.post("/say", tone_hz=700, seconds=30, level_dbfs=-20)

            async def heard(hz: float, up: bool) -> bool:
                sound = there.wire.heard(0.5) if up else (await stand_in.heard(0.5)).astype(np.float64) / 32768
                if not sound.size or not np.any(sound):
                    return False
                fit = fit_sine(sound, RATE_HZ if up else 16000)
                return abs(fit.hz - hz) < 1 and abs(fit.dbfs + 20) < 1.5

            for hz, up in ((700, True), (1000, False)):
                deadline = time.monotonic() + 15
                while not await heard(hz, up):
                    assert time.monotonic() < deadline, f"{hz} Hz was not heard"
                    await asyncio.sleep(0.2)
            assert (await there.page.call("stats"))["worklet"] == "wasm"
            await there.page.call("end", call_id)
            await there.until(lambda: there.of_type("call.gone"))
