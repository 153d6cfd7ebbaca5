"""A page that is let go of and taken again without a reload, whose service worker was answered by us, in Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.browser import BrowserSettings, CdpConnection, Claim, PageTarget, connect_cdp, open_page
from gateway.browser.endpoint import BrowserEndpoint, parse_browser_url
from tests.integration.browser.site import (
    STRICT,
    URL,
    Reply,
    Server,
    chromium_flags,
    make_assets,
    strict_site,
    until,
)
from tests.support.chromium import chromium

pytestmark = pytest.mark.integration

SCRIPT = {**STRICT, "Cross-Origin-Resource-Policy": "same-origin"}
OWN_SOUND = """(async () => {
  const context = new AudioContext();
  await context.audioWorklet.addModule(own.createScriptURL("/own.js"));
  const node = new AudioWorkletNode(context, "own");
  await context.close();
  const worker = new Worker(own.createScriptURL("/line.js"));
  const said = await new Promise((resolve, reject) => {
    worker.onmessage = ({data}) => resolve(data);
    worker.onerror = ({message}) => reject(new Error(message));
  });
  worker.terminate();
  return [node.context.state, said];
})()"""
"""What a page's call begins with: a context, a worklet, and a worker, whose script the service worker gives."""

UPDATE = """(async () => {
  const changed = new Promise((resolve) =>
    navigator.serviceWorker.addEventListener("controllerchange", resolve, {once: true}));
  await (await navigator.serviceWorker.getRegistration()).update();
  await changed;
  return true;
})()"""


@contextlib.asynccontextmanager
async def place() -> AsyncIterator[tuple[Server, BrowserEndpoint, CdpConnection]]:
    """The strict page with sounds of its own, a Chromium, and a connection that only looks."""
    async with strict_site() as site, chromium(chromium_flags(site)) as browser:
        own = b"registerProcessor('own', class extends AudioWorkletProcessor { process() { return true; } });"
        site.replies["/own.js"] = Reply(own, "text/javascript", headers=SCRIPT)
        site.replies["/line.js"] = Reply(b"postMessage('line')", "text/javascript", headers=SCRIPT)
        endpoint = parse_browser_url(browser.ws_url)
        async with connect_cdp(endpoint, BrowserSettings()) as looker:
            yield site, endpoint, looker


async def take(cdp: CdpConnection, claim: Claim | None = None) -> PageTarget:
    page = await open_page(cdp, url=URL, assets=make_assets(), helper=None, claim=claim, timeout_s=20)
    await page.evaluate("workerReady")
    return page


async def service_workers(looker: CdpConnection) -> set[str]:
    infos = (await looker.send("Target.getTargets"))["targetInfos"]
    return {info["targetId"] for info in infos if info["type"] == "service_worker"}


async def use_audio(page: PageTarget) -> None:
    assert await page.call("worklet") == "worklet runs"
    for _ in range(2):
        assert await page.evaluate(OWN_SOUND) == ["closed", "line"]


@pytest.mark.parametrize("killed", [False, True], ids=["let_go", "killed"])
async def test_a_page_that_is_taken_again_keeps_its_service_worker(killed: bool) -> None:
    """Chrome had it installed anew at each worker that the page started, which took 1 to 6 s at each call."""
    async with place() as (_, endpoint, looker):
        kept: set[str] = set()
        for _ in range(3):
            async with connect_cdp(endpoint, BrowserSettings()) as cdp:
                page = await take(cdp)
                kept = kept or await service_workers(looker)
                assert len(kept) == 1
                await use_audio(page)
                assert await service_workers(looker) == kept
                if killed:
                    cdp._websocket.transport.abort()
                    await cdp.closed.wait()
                else:
                    await page.close()


async def test_a_page_that_a_gateway_let_go_of_keeps_its_service_worker_while_there_is_none() -> None:
    async with place() as (_, endpoint, looker):
        async with connect_cdp(endpoint, BrowserSettings()) as cdp:
            page = await take(cdp)
            kept = await service_workers(looker)
            await use_audio(page)
            await page.close()
        session = (await looker.send("Target.attachToTarget", {"targetId": page.target_id, "flatten": True}))[
            "sessionId"
        ]
        for _ in range(2):
            said = await looker.send(
                "Runtime.evaluate",
                {"expression": OWN_SOUND, "awaitPromise": True, "returnByValue": True, "userGesture": True},
                session_id=str(session),
            )
            assert said["result"].get("value") == ["closed", "line"], said
        assert await service_workers(looker) == kept


async def test_a_page_whose_last_owner_is_gone_only_later_keeps_its_service_worker() -> None:
    """The connection of a machine that lost its power ends long after the next gateway has the page."""
    async with (
        place() as (_, endpoint, looker),
        connect_cdp(endpoint, BrowserSettings()) as cdp,
        contextlib.AsyncExitStack() as first,
    ):
        lost = await first.enter_async_context(connect_cdp(endpoint, BrowserSettings()))
        await use_audio(await take(lost, Claim(refresh_s=30, lease_s=0)))
        page = await take(cdp, Claim(refresh_s=0.2, lease_s=0))
        kept = await service_workers(looker)
        await first.aclose()
        renewed = "globalThis[Symbol.for('ponte.owner')].at"
        before = await page.evaluate(renewed)

        async def renewed_twice() -> bool:
            return bool(await page.evaluate(f"{renewed} > {before} + 400"))

        await until(renewed_twice)
        await use_audio(page)
        assert await service_workers(looker) == kept


async def test_a_service_worker_that_the_page_replaced_is_not_installed_over_and_over() -> None:
    async with place() as (site, endpoint, looker), connect_cdp(endpoint, BrowserSettings()) as cdp:
        page = await take(cdp)
        await use_audio(page)
        before = await service_workers(looker)
        site.replies["/sw.js"].body += b"\n// a newer one"
        await page.evaluate(UPDATE)

        async def replaced() -> bool:
            return not before & await service_workers(looker)

        await until(replaced)
        after = await service_workers(looker)
        assert len(after) == 1
        await use_audio(page)
        assert await service_workers(looker) == after
