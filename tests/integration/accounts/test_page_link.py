"""An account's way to a page that was there before it: the real bundle in the stand-in, and Chromium."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.accounts.page_link import PageLink
from gateway.browser import BrowserSettings, CdpConnection, LocalHelperSettings, connect_cdp, parse_browser_url
from gateway.domain.ids import AccountId
from gateway.media.page_side import PagePort
from gateway.webrtc.leg import WebRtcLeg
from tests.integration.browser.site import until
from tests.integration.wasm_server.rig import serve
from tests.standin.server import StandIn
from tests.support.chromium import ChromiumProcess, chromium
from wasm_server.app import create_app
from wasm_server.build import build, default_directory

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

TOUCHED = "navigator.mediaDevices.enumerateDevices().then(() => { globalThis.first = true; })"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wasm_port() -> AsyncIterator[int]:
    directory = default_directory()
    await asyncio.to_thread(build, directory)
    async with serve(create_app(directory)) as url:
        yield urlsplit(url).port or 0


def no_helper(account: AccountId) -> LocalHelperSettings:
    raise AssertionError("no helper is started here")


@contextlib.asynccontextmanager
async def link(browser: ChromiumProcess, stand_in: StandIn, wasm_port: int) -> AsyncIterator[PageLink]:
    """A running page link, with Chrome and the assets found."""
    settings = PageLinkSettings(
        browser=BrowserSettings(), page_url=stand_in.url, local_helper=no_helper, poll_s=0.3, retry_max_s=0.5
    )
    config = PageLinkConfig(AccountId("one"), browser.ws_url, None, "127.0.0.1", wasm_port)
    found = PageLink(config, settings, side=PagePort(WebRtcLeg), on_change=lambda: None, on_incoming=lambda call: None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(found.run())
        try:
            yield found
        finally:
            running.cancel()


class OpenPage:
    """A page that somebody opened before the gateway came, and looks at."""

    def __init__(self, cdp: CdpConnection, session: str) -> None:
        self._cdp = cdp
        self._session = session

    async def evaluate(self, expression: str) -> object:
        params: dict[str, object] = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await self._cdp.send("Runtime.evaluate", params, session_id=self._session)
        return answer["result"].get("value")


@contextlib.asynccontextmanager
async def open_before(browser: ChromiumProcess, stand_in: StandIn) -> AsyncIterator[OpenPage]:
    async with connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()) as cdp:
        target = (await cdp.send("Target.createTarget", {"url": stand_in.url}))["targetId"]
        attached = await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        await stand_in.wait_for(lambda state: state["page"]["stack_ready"], 20)
        yield OpenPage(cdp, str(attached["sessionId"]))


async def test_a_page_that_was_at_the_microphone_is_loaded_anew_once_its_call_is_over(wasm_port: int) -> None:
    async with StandIn() as stand_in, chromium(stand_in.flags) as browser, open_before(browser, stand_in) as page:
        await page.evaluate(TOUCHED)
        await stand_in.ring("+5511987654321")
        async with link(browser, stand_in, wasm_port) as one:

            async def ready() -> bool:
                return one.line is not None

            await until(ready, 30)
            assert one.page.state == "READY"
            assert "had asked for a microphone before the gateway came" in one.page.detail
            await asyncio.sleep(1)  # three looks at whether a call runs
            assert await page.evaluate("globalThis.first") is True
            await stand_in.post("/hangup")

            async def loaded_anew() -> bool:
                return await page.evaluate("globalThis.first === undefined") is True

            await until(loaded_anew, 15)
            await page.evaluate("globalThis.second = true")
            await until(ready, 30)
            assert one.page.detail == ""
            await asyncio.sleep(1)
            assert await page.evaluate("globalThis.second") is True

            # Another gateway for the same page says so, and has it when the first one is gone.
            async with link(browser, stand_in, wasm_port) as other:

                async def told() -> bool:
                    return "Another gateway, or another account, drives this page" in other.page.detail

                await until(told, 10)
                assert other.page.state == "DETACHED"
                assert one.line is not None
