"""Two gateways and one page: one has it, the other one is told so, and takes over from one that died."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.browser import BrowserSettings, CdpConnection, Claim, PageOwned, PageTarget, connect_cdp, open_page
from gateway.browser.endpoint import parse_browser_url
from tests.integration.browser.site import URL, chromium_flags, make_assets, strict_site, until
from tests.integration.browser.test_page import Told
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = pytest.mark.integration


@contextlib.asynccontextmanager
async def gateways() -> AsyncIterator[tuple[ChromiumProcess, CdpConnection, CdpConnection]]:
    """Two connections to one Chromium."""
    async with strict_site() as site, chromium(chromium_flags(site)) as browser:
        endpoint = parse_browser_url(browser.ws_url)
        async with connect_cdp(endpoint, BrowserSettings()) as one, connect_cdp(endpoint, BrowserSettings()) as other:
            yield browser, one, other


async def take(cdp: CdpConnection, claim: Claim | None = None) -> PageTarget:
    return await open_page(cdp, url=URL, assets=make_assets(), helper=None, claim=claim, timeout_s=20)


async def pages(cdp: CdpConnection) -> int:
    infos = (await cdp.send("Target.getTargets"))["targetInfos"]
    return len([info for info in infos if info["type"] == "page" and info["url"] in {URL, "about:blank#ponte"}])


async def test_a_second_gateway_is_refused_until_the_first_lets_go_or_dies() -> None:
    async with gateways() as (_, one, other):
        first = await take(one)
        await first.evaluate("__ponte.mine = 1")
        for _ in range(2):
            with pytest.raises(PageOwned, match="Another gateway, or another account, drives this page already"):
                await take(other)
        assert await pages(other) == 1
        told = Told(first)
        await first.reload()
        assert await told.until(3) == ["page.state", "document", "page.state"]
        with pytest.raises(PageOwned):
            await take(other)
        assert not first.gone
        await first.close()
        second = await take(other)
        # It dies: its claim is fresh, but it is attached no more.
        await other.close()
        third = await take(one)
        assert third.target_id == second.target_id == first.target_id
        assert third.late is False


async def test_an_owner_that_is_attached_and_silent_loses_the_page_and_learns_it() -> None:
    async with gateways() as (_, one, other):
        silent = await take(one, Claim(refresh_s=1.5, lease_s=0.3))
        told = Told(silent)
        found: list[PageTarget] = []

        async def taken() -> bool:
            with contextlib.suppress(PageOwned):
                found.append(await take(other, Claim(lease_s=0.3)))
            return bool(found)

        await until(taken)
        assert (await told.until(2))[1] == ("gone", "Another gateway took the page")
        assert (await found[0].call("probe"))["state"] == "READY"


async def until_settled(cdp: CdpConnection, pause_s: float) -> PageTarget | None:
    """Try until there is a page, or somebody else has it."""
    for _ in range(20):
        try:
            return await take(cdp)
        except PageOwned as error:
            if "drives this page already" in str(error):
                return None
        await asyncio.sleep(pause_s)
    raise AssertionError("they give way to each other for ever")


async def test_two_gateways_that_come_at_once_open_one_page() -> None:
    async with gateways() as (_, one, other):
        found = await asyncio.gather(until_settled(one, 0.05), until_settled(other, 0.17))
        assert len([page for page in found if page is not None]) == 1
        assert await pages(one) == 1


async def test_two_gateways_that_both_found_themselves_alone_open_one_page() -> None:
    async with gateways() as (_, one, other):
        blind = Blind(one), Blind(other)
        found = await asyncio.gather(until_settled(blind[0], 0.05), until_settled(blind[1], 0.17))  # type: ignore[arg-type]
        assert min(connection.asked for connection in blind) > _BLIND, "each loaded its page"
        assert len([page for page in found if page is not None]) == 1
        assert await pages(one) == 1


_BLIND = 2


class Blind:
    """A connection to Chrome that is not told of any page but its own, the first times that it asks.

    They are: before it opens a page, and before it loads it.
    """

    def __init__(self, cdp: CdpConnection) -> None:
        self._cdp = cdp
        self.asked = 0
        self._opened = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._cdp, name)

    async def send(self, method: str, params: dict[str, object] | None = None, **more: object) -> dict[str, object]:
        result: dict[str, object] = await self._cdp.send(method, params, **more)  # type: ignore[arg-type]
        if method == "Target.createTarget":
            self._opened = str(result["targetId"])
        if method == "Target.getTargets":
            self.asked += 1
            if self.asked <= _BLIND:
                infos = result["targetInfos"]
                assert isinstance(infos, list)
                result["targetInfos"] = [info for info in infos if info["targetId"] == self._opened]
        return result
