"""The page is as strict as the real one, and the unmodified wa-js becomes ready on it."""

from __future__ import annotations

import pytest

from tests.integration.standin.page import Page, PageError, open_tab
from tests.standin.server import StandIn
from tests.support.chromium import ChromiumProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="package")]


async def reported(stand_in: StandIn, count: int) -> list[dict[str, str]]:
    state = await stand_in.wait_for(lambda state: len(state["csp_reports"]) == count)
    reports: list[dict[str, str]] = state["csp_reports"]
    return reports


async def test_wajs_becomes_ready_without_a_word_to_the_policy(page: Page, stand_in: StandIn) -> None:
    reports = len((await stand_in.state())["csp_reports"])
    await page.send("Page.reload")
    await page.wait_for("WPP.isFullReady && WPP.conn.isAuthenticated()")
    assert await page.evaluate("[WPP.isFullReady, WPP.conn.isAuthenticated(), WPP.conn.isMainReady()]") == [True] * 3
    assert await page.evaluate("WPP.conn.getMyUserId().toString()") == "4930901820@c.us"
    assert await page.evaluate("[WPP.whatsapp.CallStore, WPP.whatsapp.functions.getVoipStackInterface].every(Boolean)")
    assert await page.evaluate("[crossOriginIsolated, typeof SharedArrayBuffer]") == [True, "function"]
    assert len((await stand_in.state())["csp_reports"]) == reports


async def test_modules_come_late(stand_in: StandIn, browser: ChromiumProcess) -> None:
    watch = "globalThis.seen = []; setInterval(() => seen.push(" + (
        "globalThis.require ? Object.keys(require('__debug').modulesMap).includes('WAWebVoipStackInterface') : null"
        "), 20);"
    )
    async with open_tab(browser.http_url, stand_in.url, watch) as tab:
        await tab.wait_for("seen.includes(true)")
        assert await tab.evaluate("seen.filter((there) => there === false).length") > 10


async def test_late_injection_works(stand_in: StandIn, browser: ChromiumProcess, wajs: str) -> None:
    async with open_tab(browser.http_url, stand_in.url) as tab:
        await stand_in.wait_for(lambda state: state["page"]["stack_ready"])
        await tab.evaluate(wajs + ";null")
        await tab.wait_for("WPP.isFullReady && WPP.conn.isAuthenticated()")


async def test_the_policy_holds_and_tells(stand_in: StandIn, browser: ChromiumProcess) -> None:
    attempts = {
        "eval('1')": "require-trusted-types-for",
        "new Function('return 1')()": "require-trusted-types-for",
        "document.createElement('script').src = '/static/app.js'": "require-trusted-types-for",
        "document.body.innerHTML = '<b>x</b>'": "require-trusted-types-for",
        "new Worker('/static/voip/worker.js')": "require-trusted-types-for",
        "trustedTypes.createPolicy('ours', {})": "trusted-types",
        "fetch('http://10.1.2.3:9080/manifest.json')": "connect-src",
        "fetch('https://elsewhere.example/')": "connect-src",
    }
    blob = "new AudioContext().audioWorklet.addModule(URL.createObjectURL(new Blob([''], {type: 'text/javascript'})))"
    async with open_tab(browser.http_url, stand_in.url) as tab:
        before = len((await stand_in.wait_for(lambda state: state["page"]["stack_ready"]))["csp_reports"])
        for number, (attempt, directive) in enumerate(attempts.items(), start=before + 1):
            with pytest.raises(PageError):
                await tab.evaluate(f"(async () => {{ await ({attempt}); }})()")
            reports = await reported(stand_in, number)
            assert reports[-1]["effective-directive"] == directive, attempt
        with pytest.raises(PageError):  # refused, if without a report
            await tab.evaluate(blob)


async def test_service_worker_takes_every_request(page: Page) -> None:
    await page.wait_for("Boolean(navigator.serviceWorker.controller)")
    taken = await page.evaluate(
        "performance.getEntriesByType('resource').map((entry) => [entry.name, entry.workerStart > 0])"
    )
    assert len(taken) > 10
    assert [name for name, through_worker in taken if not through_worker] == []


async def test_page_has_no_audio_device(stand_in: StandIn, browser: ChromiumProcess) -> None:
    async with open_tab(browser.http_url, stand_in.url) as tab:
        await tab.wait_for("document.readyState === 'complete'")
        assert await tab.evaluate("navigator.mediaDevices.enumerateDevices().then((all) => all.length)") == 0
        with pytest.raises(PageError):
            await tab.evaluate("navigator.mediaDevices.getUserMedia({audio: true}).then(() => 1)")


async def test_logged_out_shows_a_qr_code_and_logs_in_without_a_reload(
    stand_in: StandIn, browser: ChromiumProcess, wajs: str
) -> None:
    await stand_in.post("/settings", logged_in=False)
    async with open_tab(browser.http_url, stand_in.url, wajs) as tab:
        await tab.wait_for("WPP.isFullReady")
        assert await tab.evaluate("WPP.conn.isAuthenticated()") is False
        assert await tab.evaluate("document.querySelectorAll('canvas').length") == 1
        refused = await stand_in.request("POST", "/ring", json={"from": "491511234567"})
        assert (refused.status_code, refused.json()["error"]) == (409, "The page is logged out.")
        await tab.evaluate("globalThis.sameDocument = true")
        await stand_in.post("/settings", logged_in=True)
        await tab.wait_for("WPP.conn.isAuthenticated() && WPP.conn.getStreamData().mode === 'MAIN'")
        assert await tab.evaluate("[sameDocument, document.querySelectorAll('canvas').length]") == [True, 0]
        await stand_in.post("/settings", logged_in=False)
        await tab.wait_for("!WPP.conn.isAuthenticated() && document.querySelector('canvas') !== null")


async def test_a_second_page_displaces_the_first(page: Page, stand_in: StandIn, browser: ChromiumProcess) -> None:
    async with open_tab(browser.http_url, stand_in.url):
        await page.wait_for("WPP.conn.getStreamData().mode === 'CONFLICT'")
        await stand_in.wait_for(lambda state: state["page"]["stack_ready"])
