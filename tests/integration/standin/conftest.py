"""One stand-in, one Chromium and one tab for all tests of this folder; the default settings for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.standin.page import FAKE_DEVICES, WAJS, WATCH, WITH_WAJS, Page, open_tab
from tests.standin.schemas import Settings
from tests.standin.server import StandIn
from tests.support.chromium import ChromiumProcess, chromium

NUMBERS = itertools.count(4915100000001)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def running() -> AsyncIterator[StandIn]:
    async with StandIn() as stand_in:
        yield stand_in


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser(running: StandIn) -> AsyncIterator[ChromiumProcess]:
    async with chromium(running.flags) as process:
        yield process


@pytest.fixture(scope="session")
def wajs() -> str:
    return WITH_WAJS + WAJS.read_text()


@pytest.fixture
def phone() -> str:
    """A number that the page has never heard of: it keeps what it learns of one."""
    return str(next(NUMBERS))


@pytest_asyncio.fixture(loop_scope="package")
async def stand_in(running: StandIn) -> StandIn:
    await running.request("POST", "/hangup")
    await running.post("/settings", **Settings().model_dump())
    await running.request("DELETE", "/marks")
    return running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def tab(running: StandIn, browser: ChromiumProcess, wajs: str) -> AsyncIterator[Page]:
    async with open_tab(browser.http_url, running.url, FAKE_DEVICES, wajs) as tab:
        yield tab


@pytest_asyncio.fixture(loop_scope="package")
async def page(stand_in: StandIn, tab: Page) -> Page:
    """The tab with wa-js and a fake microphone, ready for calls; loaded anew only where a test left it unfit."""
    await tab.wait_for("WPP.isFullReady")
    if await tab.evaluate("WPP.conn.getStreamData().mode === 'CONFLICT'"):
        await tab.send("Page.reload")
    await tab.wait_for("WPP.isFullReady && WPP.conn.isAuthenticated()")
    await stand_in.wait_for(lambda state: state["page"]["stack_ready"] and state["page"]["call"] is None)
    await tab.evaluate("importNamespace('WAWebCallRingtone').stopCallRingtone()")
    await tab.evaluate("globalThis.fakeGain?.gain.cancelScheduledValues(0); speak(0, 0, 0)")
    await tab.evaluate(f"globalThis.told ? (told.length = 0) : {WATCH}")
    return tab
