"""An account's way to a page that was there before it: the real bundle in the stand-in, and Chromium."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from gateway.accounts.checks import AccountChecks, check
from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.accounts.page_link import PageLink
from gateway.browser import BrowserSettings, CdpConnection, LocalHelperSettings, connect_cdp, parse_browser_url
from gateway.browser.ownership import OPENING_URL
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.ids import AccountId
from gateway.media.page_side import LegFactory, PagePort
from gateway.page.driver import PageCall
from gateway.webrtc.leg import WebRtcLeg
from tests.integration.browser.site import until
from tests.integration.wasm_server.rig import serve
from tests.standin.server import StandIn
from tests.support.chromium import ChromiumProcess, chromium
from tests.support.ports import free_ports
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
async def link(
    browser: ChromiumProcess,
    stand_in: StandIn,
    wasm_port: int,
    *,
    make_leg: LegFactory = WebRtcLeg,
    on_incoming: Callable[[PageCall], None] = lambda call: None,
    on_change: Callable[[], None] = lambda: None,
) -> AsyncIterator[PageLink]:
    """A running page link, with Chrome and the assets found."""
    settings = PageLinkSettings(
        browser=BrowserSettings(), page_url=stand_in.url, local_helper=no_helper, poll_s=0.3, retry_max_s=0.5
    )
    config = PageLinkConfig(AccountId("one"), browser.ws_url, None, "127.0.0.1", wasm_port)
    found = PageLink(config, settings, side=PagePort(make_leg), on_change=on_change, on_incoming=on_incoming)
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


def session_state(one: PageLink) -> str:
    return one.session.status.state.value


async def test_a_page_that_was_there_and_is_gone_is_lost_until_it_is_back(wasm_port: int) -> None:
    """DETACHED is the page of a Chrome that nobody has reached yet, LOST one that was driven."""
    states: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(StandIn())
        browser = await stack.enter_async_context(chromium(stand_in.flags, port=free_ports()))

        def on_change() -> None:
            if states[-1:] != [one.page.state]:
                states.append(one.page.state)

        one = await stack.enter_async_context(link(browser, stand_in, wasm_port, on_change=on_change))

        async def ready() -> bool:
            return one.page.state == "READY"

        async def lost() -> bool:
            return one.page.state == "LOST" and one.line is None and "Nothing listens" in one.page.detail

        await until(ready, 30)
        assert "LOST" not in states
        states.clear()
        browser.kill()
        await until(lost, 15)
        assert set(states) == {"LOST"}
        assert session_state(one) == "LOST"
        async with chromium(stand_in.flags, port=browser.port):
            await until(ready, 40)
            assert session_state(one) == "READY"


async def test_a_chrome_that_nobody_reached_yet_is_not_lost_but_detached(wasm_port: int) -> None:
    async with StandIn() as stand_in, chromium(stand_in.flags) as browser:
        nobody = replace(browser, port=free_ports())
        async with link(nobody, stand_in, wasm_port) as one:

            async def told() -> bool:
                return "Nothing listens" in one.page.detail

            await until(told, 10)
            assert one.page.state == "DETACHED"
            assert session_state(one) == "DETACHED"


class SlowLeg(WebRtcLeg):
    """A leg that is up some time after the page is READY, as on a slow machine or line."""

    async def offer(self) -> str:
        await asyncio.sleep(4)
        return await super().offer()


async def test_a_call_that_rings_before_the_leg_of_a_page_loaded_anew_is_up_is_told_once_it_is(wasm_port: int) -> None:
    heard: list[tuple[bool, PageCall]] = []
    made: list[WebRtcLeg] = []

    def make_leg(**how: Any) -> WebRtcLeg:
        made.append(SlowLeg(**how) if made else WebRtcLeg(**how))
        return made[-1]

    async with StandIn() as stand_in, chromium(stand_in.flags) as browser:

        def on_incoming(call: PageCall) -> None:
            heard.append((one.line is not None, call))

        async with link(browser, stand_in, wasm_port, make_leg=make_leg, on_incoming=on_incoming) as one:

            async def ready() -> bool:
                return one.line is not None

            async def loading() -> bool:
                return one.page.state == "LOADING"

            async def page_ready() -> bool:
                return one.page.state == "READY" and one.line is None

            await until(ready, 30)
            assert one._target is not None
            await one._target.reload()
            await until(loading, 30)
            await until(page_ready, 20)
            await stand_in.ring("+5511987654321")

            async def told() -> bool:
                return bool(heard)

            await until(told, 15)
            await asyncio.sleep(0.5)
            assert [(up, call.peer.phone) for up, call in heard] == [(True, "5511987654321")]


async def test_a_chrome_whose_policy_leaves_no_udp_is_told_with_what_to_do(wasm_port: int, tmp_path: Path) -> None:
    policy = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
    async with StandIn() as stand_in, chromium([*stand_in.flags, policy]) as browser:
        async with link(browser, stand_in, wasm_port) as one:

            async def degraded() -> bool:
                return one.page.state == "DEGRADED"

            await until(degraded, 30)
            assert "Chrome gives WebRTC no UDP" in one.page.detail
            assert "--webrtc-ip-handling-policy=default" in one.page.detail
            assert one.line is None
            # and by ponte doctor
            config = BridgeConfig(enabled=True, chrome_remote_url=browser.ws_url, wasm_server_port=wasm_port)
            checks = AccountChecks(Settings(state_dir=tmp_path, page_url=stand_in.url), config)
            results = {name: await check(name, fix, work) for name, fix, work in checks.all()[:3]}
        assert results["chrome"].ok
        assert not results["page"].ok
        assert "--webrtc-ip-handling-policy=default" in results["page"].detail


async def test_a_page_whose_modules_come_with_a_pause_is_read_all_the_same(wasm_port: int) -> None:
    """wa-js takes the modules for complete too early then, and fails in the middle of its start."""
    async with (
        StandIn() as stand_in,
        chromium(stand_in.flags) as browser,
        connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()) as cdp,
        asyncio.TaskGroup() as group,
    ):
        target = (await cdp.send("Target.createTarget", {"url": OPENING_URL}))["targetId"]
        session = (await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        paused = asyncio.Event()

        async def let_on(params: dict[str, Any]) -> None:
            paused.set()
            await asyncio.sleep(3)  # far longer than wa-js waits for the next module
            await cdp.send("Fetch.continueRequest", {"requestId": params["requestId"]}, session_id=session)

        def on_paused(params: dict[str, Any], _: str | None) -> None:
            group.create_task(let_on(params))

        async def listed() -> bool:  # else the gateway may open a page of its own
            infos = (await cdp.send("Target.getTargets"))["targetInfos"]
            return any(info["targetId"] == target and info["url"] == OPENING_URL for info in infos)

        await until(listed)
        cdp.on("Fetch.requestPaused", on_paused)
        # What the service worker fetches for the page is no request of the page's own, and could not be held back.
        await cdp.send("Network.enable", session_id=session)
        await cdp.send("Network.setBypassServiceWorker", {"bypass": True}, session_id=session)
        await cdp.send("Fetch.enable", {"patterns": [{"urlPattern": "*/modules/jids.js"}]}, session_id=session)
        async with link(browser, stand_in, wasm_port) as one:

            async def ready() -> bool:
                return one.page.state == "READY"

            await until(ready, 40)
        assert paused.is_set()
