"""The Chromium that the gateway drives: with the node helper in front of it, or all alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import httpx2

from tests.support.chromium import BASE_FLAGS, CHROMIUM
from tests.support.far_host import FarHost
from tests.support.ports import LOOPBACK
from tests.support.processes import Process, ProcessFailed, running

UrlForm = Literal["ws", "http", "full"]

_HELPER: Final = Path("node_helper")


class Chrome(Protocol):
    """A running Chromium, as far as the demo handles it.

    Attributes:
        helper_url: of the node helper; empty where there is none.
        cdp_port: what the gateway connects to.
    """

    helper_url: str
    cdp_port: int

    async def pid(self) -> int:
        """The browser process."""
        ...

    async def restarted(self) -> None:
        """Return when a Chromium that was killed is there again."""
        ...

    async def url(self, form: UrlForm) -> str:
        """The value for ``chromeRemoteURL``."""
        ...


async def kill(chrome: Chrome) -> None:
    """``kill -9`` the Chromium and wait until there is another one."""
    os.kill(await chrome.pid(), signal.SIGKILL)
    await chrome.restarted()


async def _version(port: int, token: str | None, host: str = LOOPBACK) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(timeout=5) as http:
        response = await http.get(f"http://{host}:{port}/json/version", headers=headers)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer


async def _url(form: UrlForm, port: int, token: str | None, host: str = LOOPBACK) -> str:
    if form == "full":
        path = str((await _version(port, token, host))["webSocketDebuggerUrl"]).partition("/devtools/")[2]
        return f"ws://{host}:{port}/devtools/{path}"
    return f"{form}://{host}:{port}"


class PlainChrome:
    """A Chromium with nothing beside it; started again by us when it was killed."""

    helper_url = ""

    def __init__(self, folder: Path, port: int, flags: Sequence[str], stack: AsyncExitStack) -> None:
        self.cdp_port = port
        self._folder, self._flags, self._stack = folder, flags, stack
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it.

        Raises:
            ProcessFailed: it does not listen in time.
        """
        argv = [
            CHROMIUM, *BASE_FLAGS, f"--user-data-dir={self._folder / 'profile'}",
            f"--remote-debugging-port={self.cdp_port}", *self._flags, "about:blank",
        ]  # fmt: skip
        # The programs that ran before and were killed stay on the stack; ending them again does nothing.
        self._process = await self._stack.enter_async_context(
            running("chromium", argv, log=self._folder / "chromium.log")
        )
        await _until_listening(self._process, self.cdp_port, None)

    async def pid(self) -> int:
        """The browser process."""
        assert self._process is not None
        return self._process.pid

    async def restarted(self) -> None:
        """Start it again."""
        assert self._process is not None
        await self._process.wait_end(timeout_s=10)
        await self.start()

    async def url(self, form: UrlForm) -> str:
        """The value for ``chromeRemoteURL``."""
        return await _url(form, self.cdp_port, None)


class HelperChrome:
    """A Chromium that the node helper starts and supervises, behind the helper's relay."""

    def __init__(
        self,
        start: Callable[[], Awaitable[Process]],
        port: int,
        cdp_port: int,
        token: str,
        host: str = LOOPBACK,
    ) -> None:
        self.helper_url = f"http://{host}:{port}"
        self.cdp_port = cdp_port
        self._host = host
        self._start, self._token = start, token
        self._process: Process | None = None
        self._killed: int | None = None

    async def browser(self) -> dict[str, Any]:
        """What the helper says of its Chromium."""
        async with httpx2.AsyncClient(timeout=5) as http:
            response = await http.get(
                f"{self.helper_url}/v1/browser", headers={"authorization": f"Bearer {self._token}"}
            )
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
            return answer

    async def pid(self) -> int:
        """The browser process."""
        self._killed = int((await self.browser())["pid"])
        return self._killed

    async def ready(self) -> None:
        """Wait for a running Chromium that is not the one that was killed."""
        async with asyncio.timeout(40):
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    browser = await self.browser()
                    if browser.get("state") == "running" and browser.get("pid") not in (None, self._killed):
                        return
                await asyncio.sleep(0.1)

    async def start(self) -> None:
        """Start the helper, and wait for its Chromium.

        Raises:
            ProcessFailed: it did not start.
        """
        self._process = await self._start()
        await self.ready()

    async def kill_helper(self) -> None:
        """``kill -9`` the helper; its Chromium is left to whoever starts the next one."""
        assert self._process is not None
        await self.pid()
        self._process.signal(signal.SIGKILL)
        await self._process.wait_end(timeout_s=10)

    async def restarted(self) -> None:
        """Wait until the helper has started another one."""
        await self.ready()

    async def url(self, form: UrlForm) -> str:
        """The value for ``chromeRemoteURL``."""
        return await _url(form, self.cdp_port, self._token, self._host)


async def _until_listening(process: Process, port: int, token: str | None) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                await _version(port, token)
                return
            if not process.alive():
                raise ProcessFailed(f"{process.name} ended; its last words:\n{process.tail()}")
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def plain_chrome(folder: Path, *, cdp_port: int, flags: Sequence[str]) -> AsyncIterator[PlainChrome]:
    """Run a Chromium without a helper for the length of the block.

    Args:
        folder: for profile and log.
        cdp_port: what it listens on.
        flags: switches beside the usual ones.
    """
    async with AsyncExitStack() as stack:
        chrome = PlainChrome(folder, cdp_port, flags, stack)
        await chrome.start()
        yield chrome


def helper_command(root: Path) -> list[str]:
    """How the node helper is started.

    Raises:
        FileNotFoundError: it is not there.
    """
    package = json.loads((root / _HELPER / "package.json").read_text())
    return shlex.split(package["scripts"]["start"])


@contextlib.asynccontextmanager
async def helper_chrome(
    folder: Path,
    *,
    root: Path,
    port: int,
    cdp_port: int,
    token: str,
    flags: Sequence[str],
    far: FarHost | None = None,
) -> AsyncIterator[HelperChrome]:
    """Run the node helper and its Chromium for the length of the block.

    Args:
        folder: for profile and log.
        root: the source tree.
        port: of the helper's HTTP.
        cdp_port: of its relay.
        token: that it wants.
        flags: switches of the Chromium beside the helper's own.
        far: the host that they run on, if not this one.
    """
    host = far.address if far else LOOPBACK
    env = {
        "PONTE_HELPER_HOST": host, "PONTE_HELPER_PORT": str(port),
        "PONTE_HELPER_CDP_HOST": host, "PONTE_HELPER_CDP_PORT": str(cdp_port),
        "PONTE_HELPER_TOKEN": token, "PONTE_HELPER_PROFILE": str(folder / "profile"),
        "PONTE_HELPER_CHROME": CHROMIUM,
        "PONTE_HELPER_FLAGS": shlex.join([*BASE_FLAGS, *flags]),
    }  # fmt: skip
    argv = [*(far.prefix if far else ()), *helper_command(root)]
    async with AsyncExitStack() as stack:

        async def start() -> Process:
            process = await stack.enter_async_context(
                running("node helper", argv, log=folder / "helper.log", env=env, cwd=root / _HELPER)
            )
            await process.wait_line(lambda line: '"ready"' in line, what="ready line", timeout_s=30)
            return process

        chrome = HelperChrome(start, port, cdp_port, token, host)
        await chrome.start()
        yield chrome
