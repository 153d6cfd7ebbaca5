"""A node helper of the gateway's own, for accounts that name neither a Chrome nor a helper."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from gateway.browser.endpoint import BrowserEndpoint, HttpEndpoint
from gateway.browser.errors import HelperError
from gateway.browser.ownership import OPENING_URL

_MAX_LINE_BYTES: Final = 64 * 1024
_PACKAGE: Final = Path(__file__).resolve().parents[2] / "node_helper"
"""Where the helper is in a checkout and in the container image."""


@dataclass(frozen=True, slots=True)
class LocalHelperSettings:
    """How the helper is started.

    Attributes:
        profile: Chrome's user data folder; it holds the WhatsApp session, so it must outlive restarts.
        node: the Node program.
        package: folder of the helper.
        chrome: path of Chrome; None lets the helper look for one.
        flags: Chrome flags after the helper's own.
        url: first page; as it is, the gateway takes it, and is in it before the page's own code.
        port: of the helper's API on loopback; 0 takes a free one.
        cdp_port: of its CDP relay on loopback; 0 takes a free one.
        start_timeout_s: until its ready line; Node starts in a fraction of a second, Chrome is not waited for.
        stop_timeout_s: for Chrome to write its profile and the helper to end; it has bounds of its own below this.
        restart_min_s: pause before an ended helper is started again, doubled at each failure.
        restart_max_s: cap of that pause.
        environment: variables on top of this process's own.
    """

    profile: Path
    node: str = "node"
    package: Path = _PACKAGE
    chrome: str | None = None
    flags: Sequence[str] = ()
    url: str = OPENING_URL
    port: int = 0
    cdp_port: int = 0
    start_timeout_s: float = 20.0
    stop_timeout_s: float = 12.0
    restart_min_s: float = 0.5
    restart_max_s: float = 30.0
    environment: Mapping[str, str] = field(default_factory=dict)


class LocalHelper:
    """A child process with the node helper, restarted when it ends, gone when the block ends or the gateway does.

    The token is made anew for each `LocalHelper` and known to nobody else. The ports are fixed by the first start, so
    that the endpoints stay true over restarts.
    """

    def __init__(self, settings: LocalHelperSettings) -> None:
        self._settings = settings
        self._token = secrets.token_urlsafe(32)
        self._ports = (settings.port, settings.cdp_port)
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("gateway.browser.local_helper")
        self.restarts = 0
        self.detail = "not started"
        self.on_status: Callable[[], None] | None = None

    @property
    def pid(self) -> int | None:
        """The helper's process id, None while it is not running."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    @property
    def browser_endpoint(self) -> BrowserEndpoint:
        """The CDP relay."""
        return HttpEndpoint("127.0.0.1", self._ports[1], token=self._token, setting="chromeRemoteURL")

    @property
    def helper_endpoint(self) -> HttpEndpoint:
        """The helper's API."""
        return HttpEndpoint("127.0.0.1", self._ports[0], token=self._token, setting="nodeRemoteHelper")

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="local-helper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._stop()

    async def _start(self) -> None:
        settings = self._settings
        main = settings.package / "src" / "main.js"
        node = shutil.which(settings.node)
        if node is None:
            raise HelperError(
                "Node is not installed, so no local Chrome can be started; install nodejs 20 or set chromeRemoteURL"
            )
        if not (settings.package / "node_modules").is_dir() or not main.is_file():
            raise HelperError(
                "The node helper's packages are not installed; run npm ci in node_helper, or set chromeRemoteURL"
            )
        variables = {
            "PONTE_HELPER_HOST": "127.0.0.1",
            "PONTE_HELPER_CDP_HOST": "127.0.0.1",
            "PONTE_HELPER_PORT": str(self._ports[0]),
            "PONTE_HELPER_CDP_PORT": str(self._ports[1]),
            "PONTE_HELPER_TOKEN": self._token,
            "PONTE_HELPER_PROFILE": str(settings.profile),
            "PONTE_HELPER_FLAGS": " ".join(f'"{flag}"' for flag in settings.flags),
            "PONTE_HELPER_CHROME": settings.chrome or "",
            "PONTE_HELPER_URL": settings.url,
        }
        # Nothing of the gateway's own secrets goes to a process that starts Chrome.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PONTE_")}
        self._process = await asyncio.create_subprocess_exec(
            node, str(main), "--with-parent",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**inherited, **settings.environment, **variables},
            start_new_session=True, limit=_MAX_LINE_BYTES,
        )  # fmt: skip
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(settings.start_timeout_s):
                ready = json.loads(await self._process.stdout.readline() or b"null")
            self._ports = (int(ready["port"]), int(ready["cdp_port"]))
        except TimeoutError:
            raise HelperError(
                f"The node helper was not ready within {settings.start_timeout_s:g} s; its log on stderr says why"
            ) from None
        except (ValueError, TypeError, KeyError):
            raise HelperError("The node helper ended at its start; its log on stderr says why") from None
        self.detail = "running"
        self._log.info("local_helper.started", pid=self._process.pid, port=self._ports[0], cdp_port=self._ports[1])

    async def _supervise(self) -> None:
        pause_s = self._settings.restart_min_s
        while True:
            assert self._process is not None
            status = await self._process.wait()
            self.restarts += 1
            self.detail = f"the node helper ended (status {status}) and is started again"
            self._log.warning("local_helper.ended", status=status, restarts=self.restarts)
            self._tell()
            await self._stop()
            await asyncio.sleep(pause_s)
            try:
                await self._start()
            except (HelperError, OSError) as error:
                self.detail = str(error)
                self._log.warning("local_helper.not_started", detail=str(error))
                await self._stop()
                pause_s = min(pause_s * 2, self._settings.restart_max_s)
            else:
                pause_s = self._settings.restart_min_s
            self._tell()

    async def _stop(self) -> None:
        """End the helper and everything in its process group, Chrome included."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.stop_timeout_s):
                    await process.wait()
        # A helper that was killed could not end its Chrome, which is in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await process.wait()

    def _tell(self) -> None:
        if self.on_status is None:
            return
        try:
            self.on_status()
        except Exception:
            self._log.exception("local_helper.status_callback_failed")
