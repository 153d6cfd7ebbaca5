"""The Playwright page of a CDP target, for the user's script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.browser.endpoint import BrowserEndpoint
from gateway.browser.http import resolve
from gateway.browser.settings import HttpSettings
from gateway.domain.errors import ConfigError, Unavailable


@asynccontextmanager
async def playwright_page(endpoint: BrowserEndpoint, target_id: str, http: HttpSettings) -> AsyncIterator[Any]:
    """Connect Playwright to Chrome and find the page of a target; the page stays open when the block ends.

    Args:
        endpoint: Chrome's debugging port or the relay before it.
        target_id: of the page.
        http: how the endpoint is resolved.

    Raises:
        ConfigError: Playwright is not installed.
        Unavailable: Chrome or the page cannot be had.
    """
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        raise ConfigError(
            "A script needs Playwright, which is not installed: install ponte with its extra `script`", "page_script"
        ) from None
    target = (await resolve(endpoint, http))[0]
    scheme = "https" if endpoint.secure else "http"
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.connect_over_cdp(
                f"{scheme}://{target.netloc}", headers=target.headers, timeout=1000 * http.timeout_s
            )
        except Error as error:
            raise Unavailable(f"Playwright does not reach Chrome: {error.message.splitlines()[0]}") from None
        try:
            yield await _find(browser, target_id)
        finally:
            await browser.close()  # of a browser that was connected to, this ends the connection alone


async def _find(browser: Any, target_id: str) -> Any:
    for context in browser.contexts:
        for page in context.pages:
            session = await context.new_cdp_session(page)
            try:
                info = await session.send("Target.getTargetInfo")
            finally:
                await session.detach()
            if info["targetInfo"]["targetId"] == target_id:
                return page
    raise Unavailable("Playwright does not see the page")
