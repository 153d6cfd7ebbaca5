"""Opens the page: takes the one that is open, or opens one, and makes it ready for calls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog

from gateway.browser.assets import Assets
from gateway.browser.cdp import CdpConnection
from gateway.browser.errors import CdpError, ChromeUnreachable, PageOwned
from gateway.browser.helper import HelperClient
from gateway.browser.inject import Injection, build_injection, origin_of
from gateway.browser.ownership import OPENING_URL, Claim
from gateway.browser.page import PageTarget
from gateway.browser.user_agent import without_headless
from gateway.domain.errors import PeerTimeout, Unavailable

PERMISSIONS: Final = (
    "audioCapture",
    # A later Chrome asks before a public page may reach a private address, by ICE too; 156 knows all three names.
    "localNetwork",
    "localNetworkAccess",
    "loopbackNetwork",
    # The grant refuses whatever it does not name: WhatsApp Web keeps its keys in storage that must not be evicted.
    "durableStorage",
    "notifications",
)
_UNKNOWN: Final = "Unknown permission type: "
_CLOSING_S: Final = 2.0  # Chrome takes some 10 ms; a loaded machine more
_AT_ONCE: Final = "Another gateway opens this page at the same time; it is tried again"


async def open_page(
    browser: CdpConnection,
    *,
    url: str,
    assets: Assets,
    helper: HelperClient | None,
    driver: str = "whatsapp",
    claim: Claim | None = None,
    timeout_s: float = 45,
) -> PageTarget:
    """Attach to the open page of the origin of *url*, else open one; the page has the bundle when this returns.

    Args:
        browser: the connection.
        url: the page's address.
        assets: what is injected.
        helper: the node helper beside this Chrome, if there is one.
        driver: which of the bundle's drivers is to run.
        claim: as whom the page is taken; None: as a new owner.
        timeout_s: until a document must have taken the bundle. WhatsApp Web loads some 20 MB.

    Raises:
        PageOwned: another gateway drives it.
        Unavailable: the page did not load, crashed, or did not take the bundle; the text says which.
        ConfigError: *url* is not one of http or https.
    """
    injection = build_injection(assets, url=url, driver=driver, claim=claim)
    await grant_permissions(browser, injection.origin)
    page = await _take_open_page(browser, injection, helper)
    opened = page is None
    try:
        if page is not None:
            if await page.evaluate("location.origin", user_gesture=False) == injection.origin:
                await page.inject_late()
            else:
                # The first page of a Chrome that a helper started, or one whose gateway died before it sent it on. Or
                # Chrome's error page, under the page's URL: it was opened while its host was not reachable.
                if await page.evaluate("location.protocol", user_gesture=False) != "chrome-error:":
                    await page.stop_workers()  # under an error page of the origin it would hold up the navigation
                await _navigate(page, injection, url)
        else:
            page = await _open_new_page(browser, injection, helper, url)
        await page.wait_injected(timeout_s)
        if opened:
            await _stay_alone(browser, page, injection.origin)
    except BaseException:
        if page is not None:
            await page.close()
        raise
    return page


@contextlib.asynccontextmanager
async def throwaway_page(
    browser: CdpConnection, *, url: str, assets: Assets, driver: str = "whatsapp", timeout_s: float = 45
) -> AsyncIterator[PageTarget]:
    """Open *url* in a browser context of its own, which knows no login; page and context are gone after the block.

    Args:
        browser: the connection.
        url: the page's address.
        assets: what is injected.
        driver: which of the bundle's drivers is to run.
        timeout_s: until the document must have taken the bundle.

    Raises:
        Unavailable: the page did not load, or did not take the bundle.
    """
    injection = build_injection(assets, url=url, driver=driver)
    context = await browser.send("Target.createBrowserContext", {"disposeOnDetach": True})
    own: dict[str, object] = {"browserContextId": str(context.get("browserContextId", ""))}
    try:
        created = await browser.send("Target.createTarget", {"url": "about:blank", **own})
        page = await _attach(browser, str(created.get("targetId", "")), injection, None)
        try:
            await page.prepare()
            await _navigate(page, injection, url)
            await page.wait_injected(timeout_s)
            yield page
        finally:
            await page.close()
    finally:
        with contextlib.suppress(Unavailable, CdpError):
            await browser.send("Target.disposeBrowserContext", own, timeout_s=5)


async def grant_permissions(browser: CdpConnection, origin: str) -> list[str]:
    """Grant what calls need to *origin*, in one call: each call takes back what earlier ones granted.

    Returns:
        The names that this Chrome knows.

    Raises:
        CdpError: Chrome refused it for another reason than an unknown name.
    """
    wanted = list(PERMISSIONS)
    while True:
        try:
            await browser.send("Browser.grantPermissions", {"origin": origin, "permissions": list(wanted)})
        except CdpError as error:
            unknown = error.text.partition(_UNKNOWN)[2].strip()
            if unknown not in wanted:
                raise
            wanted.remove(unknown)
        else:
            return wanted


async def _attach(
    browser: CdpConnection, target_id: str, injection: Injection, helper: HelperClient | None
) -> PageTarget:
    try:
        result = await browser.send("Target.attachToTarget", {"targetId": target_id, "flatten": True})
    except CdpError as error:
        raise Unavailable(f"Chrome does not let the gateway attach to the page: {error.text}") from None
    session_id = str(result.get("sessionId", ""))
    page = PageTarget(browser, target_id=target_id, session_id=session_id, injection=injection, helper=helper)
    version = await browser.send("Browser.getVersion")
    page.user_agent = without_headless(str(version.get("userAgent", "")), str(version.get("product", "")))
    return page


def _candidates(infos: list[dict[str, Any]], origin: str) -> list[dict[str, Any]]:
    """The pages that may be the one, in an order that is the same for everybody."""
    pages = [info for info in infos if info.get("type") == "page"]
    ids = {info.get("targetId") for info in pages}
    return sorted(
        (
            info
            for info in pages
            if info.get("url") == OPENING_URL
            # A window that a page opened beside itself has the page's origin too.
            or (origin_of(str(info.get("url", ""))) == origin and info.get("openerId") not in ids)
        ),
        key=lambda info: (info.get("url") == OPENING_URL, str(info.get("url", "")), str(info.get("targetId", ""))),
    )


async def _pages(browser: CdpConnection, origin: str) -> list[dict[str, Any]]:
    return _candidates((await browser.send("Target.getTargets")).get("targetInfos", []), origin)


async def _take_open_page(
    browser: CdpConnection, injection: Injection, helper: HelperClient | None
) -> PageTarget | None:
    """Attach to the first page of the origin, by URL; one that does not react is closed, so that it is replaced."""
    listed_s = time.monotonic()
    for info in await _pages(browser, injection.origin):
        target_id = str(info.get("targetId", ""))
        try:
            page = await _attach(browser, target_id, injection, helper)
        except Unavailable:
            continue  # closed since the list was made
        try:
            await page.check_alive()
            # An owner that was not attached when the list was made is dead, if it was not quicker than we since then.
            since_s = time.monotonic() - listed_s
            await page.claim(injection.claim.lease_s if info.get("attached") else since_s)
            await page.prepare()
        except PageOwned:
            await page.close()
            raise
        except Unavailable as error:
            await page.close()
            if not await _exists(browser, target_id):
                continue  # closed since the list was made: nobody waits for it
            if info.get("attached"):
                raise  # it is somebody's, who may be waiting for it
            if not browser.closed.is_set():
                await _replace(browser, target_id, error)
            continue
        except BaseException:
            await page.close()
            raise
        return page
    return None


async def _replace(browser: CdpConnection, target_id: str, why: Exception) -> None:
    structlog.get_logger("gateway.browser").warning("page.unresponsive_closed", target_id=target_id, detail=str(why))
    with contextlib.suppress(CdpError, PeerTimeout):
        await browser.send("Target.closeTarget", {"targetId": target_id})
    # Chrome answers before the page is gone; one that is still there would look like another gateway's.
    deadline = time.monotonic() + _CLOSING_S
    while await _exists(browser, target_id):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.05)


async def _exists(browser: CdpConnection, target_id: str) -> bool:
    infos = (await browser.send("Target.getTargets")).get("targetInfos", [])
    return any(info.get("targetId") == target_id for info in infos)


async def _open_new_page(
    browser: CdpConnection, injection: Injection, helper: HelperClient | None, url: str
) -> PageTarget:
    try:
        created = await browser.send("Target.createTarget", {"url": OPENING_URL})
    except CdpError as error:
        raise ChromeUnreachable(f"Chrome does not open a new page: {error.text}") from None
    page = await _attach(browser, str(created.get("targetId", "")), injection, helper)
    mine = True
    try:
        try:
            await page.claim(injection.claim.lease_s)
        except PageOwned:
            mine = False  # it found our page before we did, and has a use for it
            raise
        if [info for info in await _pages(browser, injection.origin) if info.get("targetId") != page.target_id]:
            raise PageOwned(_AT_ONCE)
        # The script is in place before the first byte of the page is asked for.
        await page.prepare()
        await page.stop_workers()
        await _navigate(page, injection, url)
    except BaseException:
        await page.close()
        if mine:
            with contextlib.suppress(Unavailable, CdpError):
                await browser.send("Target.closeTarget", {"targetId": page.target_id}, timeout_s=5)
        raise
    return page


async def _stay_alone(browser: CdpConnection, page: PageTarget, origin: str) -> None:
    """Close *page*, which was opened and has loaded, where another gateway's has too.

    Two gateways did find themselves alone at the same time, once in some hundred tries on a busy machine. Who loads
    last finds the other one's page here.

    Raises:
        PageOwned: it was closed.
    """
    loaded = [info for info in await _pages(browser, origin) if info.get("url") != OPENING_URL]
    if any(info.get("targetId") != page.target_id for info in loaded):
        with contextlib.suppress(Unavailable, CdpError):
            await browser.send("Target.closeTarget", {"targetId": page.target_id}, timeout_s=5)
        raise PageOwned(_AT_ONCE)


async def _navigate(page: PageTarget, injection: Injection, url: str) -> None:
    navigated = await page.send("Page.navigate", {"url": url}, timeout_s=30)
    if failure := navigated.get("errorText"):
        raise Unavailable(f"Chrome cannot load {injection.origin}: {failure}; see whether its host has a way there")
