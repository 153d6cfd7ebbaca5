"""The gateway's side of the node helper: its client, CDP through its relay, and a helper of the gateway's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.browser import (
    Browser,
    BrowserSettings,
    ChromeUnauthorized,
    HelperClient,
    HelperError,
    HttpSettings,
    LocalHelper,
    LocalHelperSettings,
    connect_cdp,
    list_pages,
    open_page,
)
from tests.integration.browser.site import URL, chromium_flags, make_assets, strict_site, until
from tests.support.chromium import BASE_FLAGS, chromium
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration


def settings(profile: Path, flags: Sequence[str] = ()) -> LocalHelperSettings:
    return LocalHelperSettings(profile=profile, flags=[*BASE_FLAGS[1:], *flags], restart_min_s=0.05)


@contextlib.asynccontextmanager
async def running(helper: LocalHelper) -> AsyncIterator[HelperClient]:
    async with helper:
        client = HelperClient(helper.helper_endpoint)

        async def up() -> bool:
            return bool((await client.health())["status"] == "ok")

        await until(up, 30)
        yield client


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_page_is_driven_through_the_relay_and_its_media_through_the_helper(tmp_path: Path) -> None:
    async with strict_site() as site:
        helper = LocalHelper(settings(tmp_path, chromium_flags(site)))
        async with running(helper) as client:
            browser = Browser(helper.browser_endpoint, settings=BrowserSettings(backoff_max_s=0.5))
            run = asyncio.ensure_future(browser.run())
            try:
                async with asyncio.timeout(20):
                    cdp = await browser.wait_connected()
                page = await open_page(cdp, url=URL, assets=make_assets(), helper=client, timeout_s=20)
                assert await page.evaluate("navigator.userAgent.includes('Headless')") is False
                assert await client.webrtc(page.target_id, "v=0 offer") == "answer to v=0 offer"
                assert await page.connect_media("v=0 offer") == "answer to v=0 offer"
                pages = await list_pages(helper.browser_endpoint, HttpSettings())
                assert page.target_id in [info.target_id for info in pages]

                # Chrome dies: page lost at once, Chrome back within seconds, page injected again.
                gone: list[str] = []
                page.subscribe(lambda event: None, lambda: None, gone.append)
                before = await client.browser()
                os.kill(before["pid"], signal.SIGKILL)
                async with asyncio.timeout(2):
                    await cdp.closed.wait()
                assert gone
                async with asyncio.timeout(20):
                    again = await open_page(
                        await browser.wait_connected(), url=URL, assets=make_assets(), helper=client, timeout_s=20
                    )
                assert (await again.call("probe"))["state"] == "READY"
                after = await client.browser()
                assert after["restarts"] == before["restarts"] + 1
                assert after["last_exit"] == "killed by SIGKILL"

                # Beside another Chrome a helper cannot reach the page; the CDP connection does all the same.
                elsewhere = HelperClient(replace(helper.helper_endpoint, port=free_ports()))
                await again.close()
                third = await open_page(
                    await browser.wait_connected(), url=URL, assets=make_assets(), helper=elsewhere, timeout_s=20
                )
                assert third.target_id == again.target_id
                assert await third.connect_media("v=0 offer") == "answer to v=0 offer"
            finally:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
        assert not alive(after["pid"])


async def test_a_gateway_that_was_cut_off_is_one_again_when_it_is_back(tmp_path: Path) -> None:
    """Chrome waits for the answers of each connection that it has: to a request for the worklet's script for one."""
    async with strict_site() as site:
        helper = LocalHelper(settings(tmp_path, chromium_flags(site)))
        async with running(helper) as client:
            name = "0123456789abcdef"
            async with (
                connect_cdp(helper.browser_endpoint, BrowserSettings(), controller=name) as deaf,
                connect_cdp(helper.browser_endpoint, BrowserSettings()) as other,
            ):
                before = await open_page(deaf, url=URL, assets=make_assets(), helper=client, timeout_s=20)
                async with connect_cdp(helper.browser_endpoint, BrowserSettings(), controller=name) as back:
                    async with asyncio.timeout(5):
                        await deaf.closed.wait()
                    page = await open_page(back, url=URL, assets=make_assets(), helper=client, timeout_s=20)
                    assert page.target_id == before.target_id
                    assert not other.closed.is_set()


async def test_errors_of_the_helper_say_what_to_do(tmp_path: Path) -> None:
    helper = LocalHelper(settings(tmp_path))
    async with running(helper) as client:
        for token in (None, "wrong"):
            with pytest.raises(HelperError, match="PONTE_HELPER_TOKEN") as refused:
                await HelperClient(replace(helper.helper_endpoint, token=token)).health()
            assert refused.value.status == 401
            with pytest.raises(ChromeUnauthorized, match="PONTE_HELPER_TOKEN"):
                async with connect_cdp(replace(helper.browser_endpoint, token=token), BrowserSettings()):
                    pass
        with pytest.raises(HelperError, match="no page with this id") as missing:
            await client.webrtc("0123456789", "v=0")
        assert missing.value.status == 404
        async with connect_cdp(helper.browser_endpoint, BrowserSettings()) as cdp:
            target = (await cdp.send("Target.createTarget", {"url": "about:blank"}))["targetId"]
            with pytest.raises(HelperError, match="does not have the bundle") as bare:
                await client.webrtc(target, "v=0")
            assert bare.value.status == 409
        pid = (await client.browser())["pid"]
        await client.restart()

        async def restarted() -> bool:
            now = await client.browser()
            return bool(now["state"] == "running" and now["pid"] != pid)

        await until(restarted, 20)
    with pytest.raises(HelperError, match="Nothing listens"):
        await client.health()
    async with chromium() as browser:
        with pytest.raises(HelperError, match="it may be another service"):
            await HelperClient(replace(helper.helper_endpoint, port=browser.port)).health()


async def test_a_helper_of_the_gateways_own_is_started_again_on_the_same_ports(tmp_path: Path) -> None:
    helper = LocalHelper(settings(tmp_path))
    async with running(helper) as client:
        first, chrome = helper.pid, (await client.browser())["pid"]
        endpoints = helper.browser_endpoint, helper.helper_endpoint
        assert first is not None
        os.kill(first, signal.SIGKILL)

        async def up() -> bool:
            with contextlib.suppress(HelperError):
                return helper.pid != first and bool((await client.health())["status"] == "ok")
            return False

        await until(up, 30)
        assert helper.restarts == 1
        assert endpoints == (helper.browser_endpoint, helper.helper_endpoint)
        assert not alive(chrome)
        last = (await client.browser())["pid"]
    assert helper.pid is None
    assert not alive(last)


async def test_what_a_local_helper_needs_is_named(tmp_path: Path) -> None:
    with pytest.raises(HelperError, match="Node is not installed"):
        await LocalHelper(replace(settings(tmp_path), node="no-such-node")).__aenter__()
    with pytest.raises(HelperError, match="run npm ci"):
        await LocalHelper(replace(settings(tmp_path), package=tmp_path)).__aenter__()
    with pytest.raises(HelperError, match="ended at its start"):
        await LocalHelper(settings(tmp_path, ["--disable-web-security"])).__aenter__()


GATEWAY = """
import asyncio, pathlib, sys
from gateway.browser import LocalHelper, LocalHelperSettings

async def main():
    profile = pathlib.Path(sys.argv[1])
    async with LocalHelper(LocalHelperSettings(profile=profile, flags=sys.argv[2:])) as helper:
        print(helper.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_helper_and_chrome_end_when_the_gateway_is_killed(tmp_path: Path) -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GATEWAY, str(tmp_path), *BASE_FLAGS[1:],
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert gateway.stdout is not None
    try:
        async with asyncio.timeout(20):
            while not (line := await gateway.stdout.readline()).strip().isdigit():
                assert line
        helper = int(line)

        async def chrome_started() -> bool:
            return (tmp_path / "chrome.pid").exists()

        await until(chrome_started, 20)
        chrome = int((tmp_path / "chrome.pid").read_text())
        gateway.kill()

        async def ended() -> bool:
            return not alive(helper) and not alive(chrome)

        await until(ended, 15)
    finally:
        with contextlib.suppress(ProcessLookupError):
            gateway.kill()
        await gateway.wait()
