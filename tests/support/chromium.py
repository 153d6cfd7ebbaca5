"""A headless Chromium of the test's own: a free port, a profile that goes away, dead when the test is dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHROMIUM: Final = "/usr/bin/chromium"
BASE_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # tests run as root in a container; production keeps the sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--password-store=basic",
)


@dataclass(slots=True)
class ChromiumProcess:
    """A running Chromium.

    Attributes:
        host: address of the CDP port, always loopback.
        port: the CDP port.
        pid: the browser process; its process group holds everything that it started.
        profile: the user data folder.
    """

    host: str
    port: int
    pid: int
    profile: Path
    _reaper: asyncio.subprocess.Process

    @property
    def http_url(self) -> str:
        """The CDP address in its ``http`` form."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The CDP address in its ``ws`` form, without a path."""
        return f"ws://{self.host}:{self.port}"

    def alive(self) -> bool:
        """Whether the browser process still runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """Kill the browser process at once, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


async def _listening(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def _active_port(profile: Path, reaper: asyncio.subprocess.Process, chromium: ChromiumProcess) -> int:
    # Chromium writes the file in one go once it listens: first line the port, second the path. Only for port 0.
    path = profile / "DevToolsActivePort"
    while True:
        if chromium.port and await _listening(chromium.host, chromium.port):
            return chromium.port
        if path.exists() and len(lines := path.read_text().splitlines()) >= 2:
            return int(lines[0])
        if reaper.returncode is not None or not chromium.alive():
            raise RuntimeError("Chromium ended before it listened; its own words are on stderr")
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def chromium(
    extra_flags: Sequence[str] = (),
    url: str | None = None,
    *,
    port: int = 0,
    start_timeout_s: float = 30,
) -> AsyncIterator[ChromiumProcess]:
    """Start a headless Chromium and end it with the block, or with this process.

    Args:
        extra_flags: command line switches after the usual ones.
        url: page to open first; ``about:blank`` when left out.
        port: CDP port; 0 takes a free one. A fixed one serves a "restarted" Chromium.
        start_timeout_s: how long Chromium may take until its CDP port listens.

    Raises:
        TimeoutError: it did not listen in time.
        RuntimeError: it ended at once.
    """
    profile = Path(tempfile.mkdtemp(prefix="ponte-chromium-"))
    reaper = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("reaper.py")), str(profile),
        CHROMIUM, *BASE_FLAGS, f"--user-data-dir={profile}", f"--remote-debugging-port={port}",
        *extra_flags, url or "about:blank",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=None if os.environ.get("PONTE_TEST_CHROMIUM_LOG") else asyncio.subprocess.DEVNULL,
        start_new_session=True,  # a signal to our whole group must not take the reaper before its Chromium
    )  # fmt: skip
    assert reaper.stdin is not None
    assert reaper.stdout is not None
    try:
        async with asyncio.timeout(start_timeout_s):
            pid = int(await reaper.stdout.readline())
            process = ChromiumProcess("127.0.0.1", port, pid, profile, reaper)
            process.port = await _active_port(profile, reaper, process)
        yield process
    finally:
        reaper.stdin.close()
        try:
            async with asyncio.timeout(10):
                await reaper.wait()
        except TimeoutError:
            reaper.kill()
            await reaper.wait()
