"""A person at the dashboard: a Chromium by Playwright, signed in, and looked at by axe-core."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from tests.support.chromium import CHROMIUM

_ROOT: Final = Path(__file__).resolve().parents[2]
_AXE: Final = _ROOT / "gateway" / "api" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    # a microphone that beeps, allowed without asking; and ICE on a machine that has loopback only
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
)
DESK: Final = ViewportSize(width=1280, height=900)
MOBILE: Final = ViewportSize(width=360, height=740)
WAIT_MS: Final = 20_000

Language = Literal["en-GB", "pt-BR"]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A tab with the dashboard.

    Attributes:
        page: the tab.
        url: where the dashboard is.
        said: what the tab complained of: errors of scripts, of the policy, of requests.
    """

    page: Page
    url: str
    said: list[str] = field(default_factory=list)

    async def sign_in(self, key: str) -> None:
        """Sign in by the form."""
        await self.page.goto(self.url)
        await self.page.locator("input[name=key]").fill(key)
        await self.page.locator("main form button[type=submit]").click()
        await expect(self.page.locator("nav").first).to_be_attached(timeout=WAIT_MS)

    async def go(self, path: str) -> None:
        """Open the view at *path*, and wait for its title."""
        await self.page.evaluate("path => { location.hash = path; }", path)
        await expect(self.page.locator("main h1")).to_be_visible(timeout=WAIT_MS)

    async def is_sound(self) -> None:
        """What is shown has no fault that axe-core finds, and fits a telephone's screen.

        Raises:
            AssertionError: with the faults.
        """
        for size in (MOBILE, DESK):
            await self.page.set_viewport_size(size)
            faults = await self._axe()
            assert not faults, (self.page.url, size, faults)
            wide, seen = await self.page.evaluate("[document.body.scrollWidth, document.documentElement.clientWidth]")
            assert wide <= seen, (self.page.url, size, wide)
        assert self.said == []

    async def _axe(self) -> list[Any]:
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        found: list[Any] = await self.page.evaluate(
            """async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(
                (one) => [one.id, one.help, ...one.nodes.map((node) => node.html.slice(0, 200))])"""
        )
        return found


@contextlib.asynccontextmanager
async def dashboards(url: str) -> AsyncIterator[Opener]:
    """Start a Chromium for the length of the block, and open tabs of the dashboard at *url* in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield Opener(browser, url)
        finally:
            await browser.close()


@dataclass(frozen=True, slots=True)
class Opener:
    _browser: Browser
    _url: str

    async def open(
        self, language: Language = "en-GB", *, size: ViewportSize = DESK, colours: Literal["light", "dark"] = "light"
    ) -> Dashboard:
        """Open a tab of a person who is not signed in yet."""
        context = await self._browser.new_context(
            locale=language, viewport=size, color_scheme=colours, reduced_motion="reduce"
        )
        page = await context.new_page()
        page.set_default_timeout(WAIT_MS)
        dashboard = Dashboard(page, self._url)
        page.on("console", lambda told: dashboard.said.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: dashboard.said.append(str(error)))
        return dashboard
