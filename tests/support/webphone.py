"""WebRTC SIP clients (JsSIP, SIP.js) in a headless Chromium of their own, driven by Playwright."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from playwright.async_api import Page, async_playwright

from tests.support.audio import Samples
from tests.support.chromium import chromium

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "tests" / "webphone"
_ESBUILD: Final = ROOT / "wasm_server" / "page" / "node_modules" / ".bin" / "esbuild"
_PAGE: Final = '<!doctype html><meta charset="utf-8"><title>webphone</title><script src="page.js"></script>'
# Without it ICE never ends gathering on a machine with loopback only; the autoplay switch stands for a user's click.
_FLAGS: Final = ("--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required")

Kind = Literal["jssip", "sipjs"]


@dataclass(frozen=True, slots=True)
class Webphone:
    """One client in a tab of its own.

    Attributes:
        page: the tab.
    """

    page: Page

    async def open(
        self, kind: Kind, *, url: str, user: str, password: str, register: bool = True, hz: float = 1000.0,
        dbfs: float = -18.0,
    ) -> None:  # fmt: skip
        """Make the client and connect it.

        Args:
            kind: which library.
            url: of the WebSocket.
            user: also of the digest.
            password: its secret.
            register: whether to register.
            hz: the tone that it speaks.
            dbfs: its level.
        """
        await self.page.evaluate(
            "([kind, options]) => webphone.open(kind, options)",
            [
                kind,
                {
                    "url": url, "uri": f"sip:{user}@ponte.example", "user": user, "password": password,
                    "register": register, "hz": hz, "dbfs": dbfs,
                },
            ],
        )  # fmt: skip

    async def do(self, command: str, *arguments: object) -> Any:
        """Call a method of the client."""
        return await self.page.evaluate(
            "([command, values]) => webphone.phone[command](...values)", [command, list(arguments)]
        )

    async def dial(self, number: str, *, video: bool = False) -> None:
        """Call *number*; *video*: offer that too (JsSIP only)."""
        await self.do("dial", f"sip:{number}@ponte.example", video)

    async def events(self) -> list[list[Any]]:
        """Return what happened so far, each a name and its details."""
        found: list[list[Any]] = await self.page.evaluate("() => webphone.phone.events")
        return found

    async def wait_event(self, name: str, *, count: int = 1, timeout_s: float = 20.0) -> list[Any]:
        """Wait for the *count*-th event of that name and return it.

        Raises:
            TimeoutError: it did not come; the message has what came instead.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            events = await self.events()
            found = [event for event in events if event[0] == name]
            if len(found) >= count:
                return found[count - 1]
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {name!r} ({count}) within {timeout_s:g} s, but {events}")
            await asyncio.sleep(0.03)

    async def heard(self) -> tuple[Samples, int]:
        """Return what was heard in the last two thirds of a second, and its rate."""
        answer = await self.page.evaluate("() => webphone.sound.heard()")
        return np.array(answer["samples"], dtype=np.float64), int(answer["rate_hz"])

    async def wait_heard(
        self, wanted: Callable[[Samples, int], bool], *, timeout_s: float = 10.0
    ) -> tuple[Samples, int]:
        """Listen until *wanted* says yes to what is heard; return it, or at the end of the time what was heard last."""
        deadline = time.monotonic() + timeout_s
        while True:
            samples, rate_hz = await self.heard()
            if wanted(samples, rate_hz) or time.monotonic() > deadline:
                return samples, rate_hz
            await asyncio.sleep(0.1)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve *folder* over HTTP on loopback, which counts as a secure origin."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


async def _bundle(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        str(_ESBUILD), str(FOLDER / "src" / "page.js"), "--bundle", "--format=iife", "--log-level=error",
        f"--outfile={folder / 'page.js'}", cwd=FOLDER,
    )  # fmt: skip
    async with asyncio.timeout(60):
        if await process.wait() != 0:
            raise RuntimeError("The clients could not be bundled; were the npm packages of tests/webphone installed?")


@contextlib.asynccontextmanager
async def webphones(count: int = 1, *, flags: Sequence[str] = ()) -> AsyncIterator[list[Webphone]]:
    """Start a Chromium with *count* clients, each in a tab of its own, for the length of the block.

    Args:
        count: how many.
        flags: more switches for Chromium.
    """
    folder = Path(tempfile.mkdtemp(prefix="ponte-webphone-"))
    try:
        await _bundle(folder)
        (folder / "index.html").write_text(_PAGE)
        with _served(folder) as url:
            async with chromium([*_FLAGS, *flags]) as browser, async_playwright() as playwright:
                connected = await playwright.chromium.connect_over_cdp(browser.http_url)
                phones = []
                for _ in range(count):
                    context = await connected.new_context()
                    page = await context.new_page()
                    await page.goto(url)
                    phones.append(Webphone(page))
                yield phones
                await connected.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
