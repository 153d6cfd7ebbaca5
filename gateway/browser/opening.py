"""Opens the page: takes the one that is open, or opens one, and makes it ready for calls."""

from __future__ import annotations

import contextlib
from typing import Final

import structlog

from gateway.browser.assets import Assets
from gateway.browser.cdp import CdpConnection
from gateway.browser.errors import CdpError, ChromeUnreachable
from gateway.browser.helper import HelperClient
from gateway.browser.inject import Injection, build_injection, origin_of
from gateway.browser.page import PageTarget
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


async def open_page(
    browser: CdpConnection,
    *,
    url: str,
    assets: Assets,
    helper: HelperClient | None,
    driver: str = "whatsapp",
    timeout_s: float = 45,
) -> PageTarget:
    """Attach to the open page of the origin of *url*, else open one; the page has the bundle when this returns.

    Args:
        browser: the connection.
        url: the page's address.
        assets: what is injected.
        helper: the node helper beside this Chrome, if there is one.
        driver: which of the bundle's drivers is to run.
        timeout_s: until a document must have taken the bundle. WhatsApp Web loads some 20 MB.

    Raises:
        Unavailable: the page did not load, crashed, or did not take the bundle; the text says which.
        ConfigError: *url* is not one of http or https.
    """
    injection = build_injection(assets, url=url, driver=driver)
    await grant_permissions(browser, injection.origin)
    page = await _take_open_page(browser, injection, helper)
    try:
        if page is not None:
            if await page.evaluate("location.origin", user_gesture=False) == injection.origin:
                await page.inject_late()
            else:
                # Chrome's error page stands there under the page's URL: it was opened while its host was not reachable.
                await _navigate(page, injection, url)
        else:
            page = await _open_new_page(browser, injection, helper, url)
        await page.wait_injected(timeout_s)
    except BaseException:
        if page is not None:
            await page.close()
        raise
    return page


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
    return PageTarget(browser, target_id=target_id, session_id=session_id, injection=injection, helper=helper)


async def _take_open_page(
    browser: CdpConnection, injection: Injection, helper: HelperClient | None
) -> PageTarget | None:
    """Attach to the first page of the origin, by URL; one that does not react is closed, so that it is replaced."""
    infos = (await browser.send("Target.getTargets")).get("targetInfos", [])
    found = sorted(
        (str(info.get("url", "")), str(info.get("targetId", "")))
        for info in infos
        if info.get("type") == "page" and origin_of(str(info.get("url", ""))) == injection.origin
    )
    for _, target_id in found:
        try:
            page = await _attach(browser, target_id, injection, helper)
        except Unavailable:
            continue  # closed since the list was made
        try:
            await page.check_alive()
            await page.prepare()
        except Unavailable as error:
            await page.close()
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


async def _open_new_page(
    browser: CdpConnection, injection: Injection, helper: HelperClient | None, url: str
) -> PageTarget:
    try:
        created = await browser.send("Target.createTarget", {"url": "about:blank"})
    except CdpError as error:
        raise ChromeUnreachable(f"Chrome does not open a new page: {error.text}") from None
    page = await _attach(browser, str(created.get("targetId", "")), injection, helper)
    try:
        # The script is in place before the first byte of the page is asked for.
        await page.prepare()
        # A service worker that lost its process in a page's crash holds up every later navigation of its origin.
        # Nothing of the origin is open now, and a worker that was well starts again when it is needed.
        with contextlib.suppress(CdpError):  # an experimental domain: a Chrome may come without it
            await page.send("ServiceWorker.enable")
            await page.send("ServiceWorker.stopAllWorkers")
            await page.send("ServiceWorker.disable")
        await _navigate(page, injection, url)
    except BaseException:
        await page.close()
        with contextlib.suppress(Unavailable, CdpError):
            await browser.send("Target.closeTarget", {"targetId": page.target_id}, timeout_s=5)
        raise
    return page


async def _navigate(page: PageTarget, injection: Injection, url: str) -> None:
    navigated = await page.send("Page.navigate", {"url": url}, timeout_s=30)
    if failure := navigated.get("errorText"):
        raise Unavailable(f"Chrome cannot load {injection.origin}: {failure}; see whether its host has a way there")
