"""Injection into a page with a strict CSP, Trusted Types and a catch-all service worker, in a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.browser import (
    Assets,
    Browser,
    BrowserSettings,
    CdpConnection,
    CdpError,
    ConnectionLost,
    PageError,
    PageGone,
    PageTarget,
    connect_cdp,
    open_page,
    parse_browser_url,
)
from gateway.browser.opening import PERMISSIONS, grant_permissions
from gateway.domain.errors import PeerTimeout, Unavailable
from tests.integration.browser.site import (
    ASK_WORKER,
    URL,
    Reply,
    Server,
    chromium_flags,
    make_assets,
    strict_site,
    until,
)
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = pytest.mark.integration


class Told:
    """What a page told its subscriber, in order."""

    def __init__(self, page: PageTarget | None = None) -> None:
        self.log: list[object] = []
        self._changed = asyncio.Event()
        if page is not None:
            page.subscribe(self.event, lambda: self._add("document"), lambda why: self._add(("gone", why)))

    def event(self, event: dict[str, Any]) -> None:
        self._add(event["type"])

    def _add(self, item: object) -> None:
        self.log.append(item)
        self._changed.set()

    async def until(self, count: int, timeout_s: float = 10) -> list[object]:
        async with asyncio.timeout(timeout_s):
            while len(self.log) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.log


@contextlib.asynccontextmanager
async def connected(url: str | None = None) -> AsyncIterator[tuple[Server, ChromiumProcess, CdpConnection]]:
    async with (
        strict_site() as site,
        chromium(chromium_flags(site), url) as browser,
        connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings()) as cdp,
    ):
        yield site, browser, cdp


async def opened(cdp: CdpConnection, assets: Assets | None = None) -> PageTarget:
    return await open_page(cdp, url=URL, assets=assets or make_assets(), helper=None, timeout_s=20)


async def test_a_strict_page_gets_the_bundle_before_its_own_code_and_keeps_it_over_reloads() -> None:
    async with connected() as (site, _, cdp):
        page = await opened(cdp)
        assert not page.late
        assert await page.evaluate("seenAtStart") == "object"
        assert await page.call("probe") == {"abi": 1, "state": "READY", "isolated": True}
        assert await page.evaluate("[typeof __ponteConfig, WPP.version]") == ["undefined", "test"]
        assert await page.call("echo", 1, "a\u2028</script>\"'\\", {"b": [None, True]}) == [
            1, "a\u2028</script>\"'\\", {"b": [None, True]},
        ]  # fmt: skip
        assert await page.call("gesture") is True
        assert await page.call("compile") is True
        assert await page.call("answer", "offer") == await page.connect_media("offer") == "answer to offer"
        with pytest.raises(PageError) as refused:
            await page.call("fail")
        assert (refused.value.page_code, refused.value.sentence) == ("not_on_whatsapp", "no such account")
        with pytest.raises(PeerTimeout):
            await page.call("hang", timeout_s=0.2)

        # The worklet is answered although a service worker stands between page and network.
        assert await page.evaluate("workerReady") is True
        assert await page.evaluate("navigator.serviceWorker.controller !== null") is True
        assert await page.call("worklet") == "worklet runs"

        # The frame of the same origin got no bundle, and what it said through the binding was not believed.
        assert await page.evaluate("[frames[0].ponteInFrame, typeof frames[0].__ponteEmit]") == [
            "undefined",
            "function",
        ]
        told = Told(page)
        assert told.log == ["page.state"]
        await page.call("emit", {"type": "call.incoming", "id": "1"})
        assert await told.until(2) == ["page.state", "call.incoming"]

        await page.reload()
        assert (await told.until(4))[2:] == ["document", "page.state"]
        assert await page.evaluate("seenAtStart") == "object"
        assert await page.evaluate("workerReady") is True
        assert await page.call("worklet") == "worklet runs"
        assert not [path for path, _ in site.requests if "ponte" in path]
        permissions = (
            "['microphone', 'local-network-access', 'local-network', 'loopback-network', 'persistent-storage']"
        )
        states = (
            f"Promise.all({permissions}.map(name => navigator.permissions.query({{name}}).then(found => found.state)))"
        )
        assert await page.evaluate(states) == ["granted"] * 5


async def test_an_open_page_is_taken_late_and_a_second_injection_changes_nothing() -> None:
    async with connected(URL) as (_, browser, cdp):

        async def loaded() -> bool:
            infos = (await cdp.send("Target.getTargets"))["targetInfos"]
            return any(info["title"] == "strict" for info in infos)

        await until(loaded)
        page = await opened(cdp)
        assert page.late
        assert await page.evaluate("seenAtStart") == "undefined"
        assert (await page.call("probe"))["state"] == "READY"
        await page.evaluate("__ponte.mine = 1; workerReady")

        # The gateway was restarted: another connection finds the page with its bundle.
        await page.close()
        async with connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings()) as other:
            again = await opened(other)
            assert again.target_id == page.target_id
            assert again.late
            assert await again.evaluate("[__ponte.mine, typeof __ponteConfig]") == [1, "undefined"]
            told = Told(again)
            await again.call("emit", {"type": "log"})
            assert await told.until(1) == ["log"]
            await again.close()
            with pytest.raises(PageGone):
                await again.call("probe")

        page = await opened(cdp)
        assert page.late
        told = Told(page)
        await page.reload()
        assert "document" in await told.until(2)
        assert not page.late
        assert await page.call("worklet") == "worklet runs"
        pages = [info for info in (await cdp.send("Target.getTargets"))["targetInfos"] if info["url"] == URL]
        assert len(pages) == 1


async def test_another_origin_gets_nothing() -> None:
    async with connected() as (site, _, cdp):
        page = await opened(cdp)
        told = Told(page)
        other = f"https://localhost:{site.port}/"
        await page.send("Page.navigate", {"url": other})

        async def arrived() -> bool:
            found = await page.evaluate("[location.origin + '/', typeof workerReady, globalThis.seenAtStart]")
            return bool(found == [other, "object", "undefined"])

        await until(arrived)
        await page.evaluate("__ponteEmit(JSON.stringify({type: 'spoofed'}))")
        with pytest.raises(PageError, match="not_injected"):
            await page.call("probe")
        assert told.log == ["page.state", "document"]  # the one that was there is gone
        await page.send("Page.navigate", {"url": URL})
        assert await told.until(4) == ["page.state", "document", "document", "page.state"]


async def test_a_page_that_went_away_or_could_not_be_loaded_anew_is_given_up_and_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.browser.page._RETURN_S", 0.5)
    async with connected() as (site, _, cdp):
        page = await opened(cdp)
        await page.evaluate("workerReady")
        told = Told(page)
        site.replies["/"] = Reply(status=500)  # Chrome shows its own page under our URL
        await page.reload()
        why = "The page left https://web.whatsapp.com, or could not be loaded"
        assert await told.until(3) == ["page.state", "document", ("gone", why)]
        site.replies["/"] = Reply(b"<!doctype html><title>plain</title>")
        again = await opened(cdp)
        assert again.target_id == page.target_id
        assert await again.evaluate("document.title") == "plain"

        told = Told(again)
        await again.send("Page.navigate", {"url": f"https://localhost:{site.port}/"})
        assert await told.until(3) == ["page.state", "document", ("gone", why)]
        other = await opened(cdp)
        assert other.target_id != page.target_id
        assert await other.evaluate("document.title") == "plain"


async def test_a_crashed_page_is_replaced_although_its_service_worker_died_with_it() -> None:
    async with connected() as (_, _, cdp):
        page = await opened(cdp)
        await page.evaluate("workerReady")
        await page.call("worklet")
        told = Told(page)
        waiting = asyncio.ensure_future(page.call("hang", timeout_s=30))
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable):
            await page.send("Page.crash", timeout_s=5)
        assert (await told.until(2))[1] == ("gone", "The page crashed")
        with pytest.raises(PageGone):
            await waiting
        async with asyncio.timeout(10):
            again = await opened(cdp)
        assert again.target_id != page.target_id
        assert await again.evaluate("workerReady") is True
        assert await again.call("worklet") == "worklet runs"
        assert (await cdp.send("Target.closeTarget", {"targetId": again.target_id}))["success"]
        assert (await Told(again).until(2))[1] == ("gone", "The page was closed")


async def test_a_killed_chrome_comes_back_and_is_injected_again() -> None:
    async with strict_site() as site:
        flags = chromium_flags(site)
        async with chromium(flags) as first:
            # The full form, with an id that the second Chrome does not have.
            async with connect_cdp(parse_browser_url(first.ws_url), BrowserSettings()) as cdp:
                url = f"{first.ws_url}{cdp.version.websocket_path}"
            browser = Browser(parse_browser_url(url), settings=BrowserSettings(backoff_max_s=0.5))
            changes: list[bool] = []
            browser.on_status = lambda: changes.append(browser.status.connected)
            run = asyncio.ensure_future(browser.run())
            try:
                async with asyncio.timeout(10):
                    page = await opened(await browser.wait_connected())
                told = Told(page)
                first.kill()
                gone = (await told.until(2, timeout_s=2))[1]
                assert isinstance(gone, tuple)
                assert gone[1].startswith("The connection to Chrome was lost")
                with pytest.raises((ConnectionLost, PageGone)):
                    await page.call("probe")

                async def unreachable() -> bool:
                    return browser.status.code == "chrome_unreachable"

                await until(unreachable, 5)
                assert "Nothing listens" in browser.status.detail
                async with chromium(flags, port=first.port):
                    async with asyncio.timeout(10):
                        page = await opened(await browser.wait_connected())
                    assert (await page.call("probe"))["state"] == "READY"
                    assert browser.status.connected
                assert changes[0] is True
                assert False in changes
            finally:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)


async def test_a_page_that_cannot_load_is_tried_again_and_said_so() -> None:
    async with connected() as (site, _, cdp):
        unreachable = "https://web.whatsapp.com:1/"
        with pytest.raises(Unavailable, match=r"cannot load https://web.whatsapp.com:1: net::ERR_"):
            await open_page(cdp, url=unreachable, assets=make_assets(), helper=None)

        # Chrome's error page under the page's URL, as it is left by a start without a network.
        site.replies["/"] = Reply(status=500)
        target = (await cdp.send("Target.createTarget", {"url": URL}))["targetId"]
        session = (await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]

        async def shown() -> bool:
            # Until then Chrome lists the page now with its address and now without.
            with contextlib.suppress(CdpError):  # the document changes at this moment
                asked = await cdp.send("Runtime.evaluate", {"expression": "location.protocol"}, session_id=session)
                return bool(asked["result"].get("value") == "chrome-error:")
            return False

        await until(shown)
        await cdp.send("Target.detachFromTarget", {"sessionId": session})
        site.replies["/"] = Reply(b"<!doctype html><title>plain</title>")
        page = await opened(cdp)
        assert await page.evaluate("document.title") == "plain"


async def test_a_bundle_that_fails_is_said_so() -> None:
    async with connected() as (_, _, cdp):
        with pytest.raises(Unavailable, match="bundle failed in the page: no wasm"):
            await opened(cdp, make_assets(page_js='throw new Error("no wasm");'))
        # The next try, with a bundle that works, takes the same page.
        page = await opened(cdp, make_assets())
        assert page.late


async def test_a_chrome_that_is_silent_is_let_go_of_and_found_again() -> None:
    async with chromium() as process:
        quick = BrowserSettings(keepalive_s=0.2, keepalive_timeout_s=2.0, backoff_max_s=0.3)
        browser = Browser(parse_browser_url(process.ws_url), settings=quick)
        run = asyncio.ensure_future(browser.run())
        try:
            async with asyncio.timeout(10):
                first = await browser.wait_connected()
            await asyncio.sleep(0.6)
            assert not first.closed.is_set()  # it is asked for a sign of life, and gives one
            # As a half-open TCP connection looks: no end, and no answer.
            os.kill(process.pid, signal.SIGSTOP)
            async with asyncio.timeout(15):
                await first.closed.wait()
            assert first.reason == "Chrome does not answer any more"
            os.kill(process.pid, signal.SIGCONT)
            async with asyncio.timeout(20):
                second = await browser.wait_connected()
            assert (await second.send("Browser.getVersion"))["product"] == second.version.product
        finally:
            os.kill(process.pid, signal.SIGCONT)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)


async def test_dialogs_do_not_stop_the_page() -> None:
    async with connected() as (_, _, cdp):
        page = await opened(cdp)
        assert await page.evaluate("confirm('sure?')") is True


async def test_permissions_that_this_chrome_does_not_know_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected() as (_, _, cdp):
        assert await grant_permissions(cdp, "https://web.whatsapp.com") == list(PERMISSIONS)
        monkeypatch.setattr("gateway.browser.opening.PERMISSIONS", ("notOne", *PERMISSIONS, "notTwo"))
        assert await grant_permissions(cdp, "https://web.whatsapp.com") == list(PERMISSIONS)


def agents(site: Server) -> dict[str, str]:
    """The name by which Chrome asked for each path, at the last time."""
    return {path: headers.get("user-agent", "") for path, headers in site.requests}


async def test_a_page_and_its_service_worker_ask_by_an_ordinary_name() -> None:
    async with connected() as (site, _, cdp):
        page = await opened(cdp)
        await page.evaluate(ASK_WORKER)
        assert "Headless" not in await page.evaluate("navigator.userAgent")
        asked = agents(site)
        assert {"/", "/frame", "/asked"} <= asked.keys()
        # the script of the worker itself is asked for before anybody is told that there is one
        assert [path for path, agent in asked.items() if "Headless" in agent] in ([], ["/sw.js"])
        await page.close()


async def test_the_name_that_the_helper_gives_its_chrome_holds_for_service_workers_too() -> None:
    name = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
    async with (
        strict_site() as site,
        chromium([*chromium_flags(site), f"--user-agent={name}"]) as browser,
        connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings()) as cdp,
    ):
        page = await opened(cdp)
        assert await page.evaluate(ASK_WORKER) == name
        asked = agents(site)
        assert {"/", "/sw.js", "/asked"} <= asked.keys()
        assert set(asked.values()) == {name}
        await page.close()
