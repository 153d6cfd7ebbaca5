"""The dashboard in a real Chromium: what it asks for and says is kept, and axe looks at what it shows."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from gateway.config import Settings
from gateway.store.store import Store
from tests.support.chromium import BASE_FLAGS, CHROMIUM
from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import running

ROOT: Final = Path(__file__).resolve().parents[2]
_AXE: Final = ROOT / "gateway" / "api" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PHONE_SIZE: Final = (360, 740)
DESK_SIZE: Final = (1280, 900)
# What a test provokes: Chromium itself writes each answer that is no success, and a cut stream, to the console.
_NOT_OURS: Final = re.compile(r"Failed to load resource: ")


@dataclass(frozen=True, slots=True)
class Gateway:
    """``ponte serve``, running.

    Attributes:
        url: where its API and dashboard are.
        key: of the account ``acme``.
        admin_key: of who runs it.
        wasm_port: of its wasm server.
        sip_port: free, for the listener.
    """

    url: str
    key: str
    admin_key: str
    wasm_port: int
    sip_port: int


@asynccontextmanager
async def gateway_alone(folder: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Gateway]:
    """Start the service, without Chrome and PBX.

    Args:
        folder: for its state and its log.
        environment: more settings.
    """
    first = free_ports(3)
    state = folder / "state"
    store = await Store.open(Settings(state_dir=state))
    try:
        _, key = await store.keys.create("acme")
        _, admin_key = await store.admin_keys.create(label="test")
    finally:
        await store.close()
    env = {name: value for name, value in os.environ.items() if not name.startswith("PONTE_")} | {
        "PONTE_STATE_DIR": str(state),
        "PONTE_API_HOST": LOOPBACK,
        "PONTE_API_PORT": str(first),
        "PONTE_WASM_HOST": LOOPBACK,
        "PONTE_WASM_PORT": str(first + 1),
        "PONTE_SIP_HOST": LOOPBACK,
        "PONTE_MEDIA_WORKERS": "0",  # no call is made
        "PONTE_LOG_FORMAT": "json",
        **(environment or {}),
    }
    argv = [sys.executable, "-m", "gateway.cli", "serve"]
    async with running("gateway", argv, log=folder / "gateway.log", env=env, cwd=ROOT) as process:
        await process.wait_line(lambda line: '"ready"' in line and line.startswith("{"), what="ready", timeout_s=40)
        yield Gateway(f"http://{LOOPBACK}:{first}", key, admin_key, first + 1, first + 2)


@dataclass(slots=True)
class Dashboard:
    """One tab.

    Attributes:
        page: the tab.
        url: the gateway's.
        requested: every URL that it asked for.
        said: errors on its console, and what it threw.
    """

    page: Page
    url: str
    requested: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def sign_in(self, key: str, *, label: str = "API key", button: str = "Sign in") -> None:
        """Sign in from the first page."""
        await self.page.goto(self.url)
        await self.page.get_by_label(label).fill(key)
        await self.page.get_by_role("button", name=button).click()
        await expect(self.page.locator("#main h1")).to_be_visible(timeout=20_000)

    async def go(self, path: str) -> Locator:
        """Go to a view by its path, and return its title once it is there."""
        await self.page.evaluate("path => { location.hash = '#' + path }", path)
        title = self.page.locator("main h1")
        await expect(title).to_be_visible()
        await expect(self.page.locator("main .busy")).to_have_count(0, timeout=20_000)
        return title

    async def check_access(self, what: str) -> None:
        """Have axe look at what is shown, and see that nothing stands out sideways.

        Raises:
            AssertionError: naming what is wrong and where.
        """
        await self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = await self.page.evaluate("async () => (await axe.run()).violations")
        told = [(one["id"], one["help"], [node["html"][:200] for node in one["nodes"]]) for one in found]
        assert not told, f"{what}: {json.dumps(told, indent=1)}"
        wide, screen = await self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= screen, f"{what}: {wide} px wide on a screen of {screen}"

    def check_traffic(self) -> None:
        """See that nothing but the gateway was asked, and that nothing went wrong in the page.

        Raises:
            AssertionError: it was, or did.
        """
        hosts = {urlsplit(url).netloc for url in self.requested if not url.startswith(("data:", "blob:"))}
        assert hosts == {urlsplit(self.url).netloc}
        assert self.said == []


@asynccontextmanager
async def browser(flags: Sequence[str] = ()) -> AsyncIterator[Browser]:
    """Start a Chromium for dashboards.

    Args:
        flags: more of its switches.
    """
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*BASE_FLAGS, *flags])
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def dashboard(
    started: Browser, url: str, *, language: str = "en-US", size: tuple[int, int] = DESK_SIZE, dark: bool = False
) -> AsyncIterator[Dashboard]:
    """Open a tab for the dashboard, which is not signed in.

    Args:
        started: the browser.
        url: the gateway's.
        language: of the browser.
        size: of the screen, in pixels.
        dark: whether the system wants dark pages.
    """
    context = await started.new_context(
        locale=language, viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
    )
    try:
        tab = Dashboard(await context.new_page(), url)
        tab.page.on("request", lambda request: tab.requested.append(request.url))
        tab.page.on("pageerror", lambda error: tab.said.append(str(error)))

        def on_console(message: Any) -> None:
            if message.type == "error" and not _NOT_OURS.match(message.text):
                tab.said.append(message.text)

        tab.page.on("console", on_console)
        yield tab
    finally:
        await context.close()
