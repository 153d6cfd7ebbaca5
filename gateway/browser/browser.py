"""Keeps one connection to one Chrome up, for as long as its account wants it."""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gateway.browser.cdp import CdpConnection, connect_cdp
from gateway.browser.endpoint import BrowserEndpoint
from gateway.browser.settings import BrowserSettings
from gateway.domain.errors import PonteError, Unavailable


@dataclass(frozen=True, slots=True)
class BrowserStatus:
    """Where the connection to Chrome is.

    Attributes:
        connected: whether commands can be sent.
        detail: a sentence: why it is not connected, or Chrome's version.
        code: slug of the last error; empty when connected.
        failures: failed tries since the last connection.
        next_try_s: seconds from then until the next try; 0 when connected.
    """

    connected: bool
    detail: str
    code: str = ""
    failures: int = 0
    next_try_s: float = 0.0


def backoff_s(failures: int, settings: BrowserSettings, chance: float, lost_s: float = math.inf) -> float:
    """Return the pause before the next try.

    Args:
        failures: tries that failed in a row, from 1.
        settings: bounds and the share that is random.
        chance: uniform in [0, 1).
        lost_s: since a connection was lost; infinite where there was none.
    """
    doubled = settings.backoff_min_s * 2.0 ** min(failures - 1, 30)
    capped = min(doubled, settings.recovery_max_s if lost_s < settings.recovery_s else settings.backoff_max_s)
    return capped * (1.0 - settings.backoff_jitter * chance)


class Browser:
    """The connection to one Chrome; made again, with capped backoff, whenever it is lost.

    Args:
        endpoint: where Chrome is.
        settings: time-outs and bounds.
    """

    def __init__(self, endpoint: BrowserEndpoint, *, settings: BrowserSettings | None = None) -> None:
        self._endpoint = endpoint
        self._settings = settings or BrowserSettings()
        self._name = secrets.token_hex(16)
        self._connection: CdpConnection | None = None
        self._changed = asyncio.Condition()
        self._log = structlog.get_logger("gateway.browser").bind(chrome=str(endpoint))
        self.status = BrowserStatus(False, "Chrome was not asked yet", "starting")
        self.on_status: Callable[[], None] | None = None

    @property
    def connection(self) -> CdpConnection | None:
        """The open connection, if there is one."""
        connection = self._connection
        return None if connection is None or connection.closed.is_set() else connection

    async def run(self) -> None:
        """Hold the connection until cancelled."""
        failures = 0
        lost_at_s = -math.inf
        while True:
            try:
                async with connect_cdp(self._endpoint, self._settings, controller=self._name) as connection:
                    failures = 0
                    await self._set(connection, BrowserStatus(True, connection.version.product))
                    try:
                        await self._keep_alive(connection)
                    finally:
                        lost_at_s = time.monotonic()
                    error: PonteError = Unavailable(f"The connection to Chrome was lost: {connection.reason}")
            except PonteError as caught:
                error = caught
            except OSError as caught:
                error = Unavailable(f"The connection to Chrome failed in the operating system: {caught.strerror}")
            failures += 1
            pause_s = backoff_s(failures, self._settings, random.random(), time.monotonic() - lost_at_s)
            await self._set(None, BrowserStatus(False, str(error), error.code, failures, pause_s))
            await asyncio.sleep(pause_s)

    async def wait_connected(self) -> CdpConnection:
        """Return the open connection, waiting for it as long as it takes; callers set their own time-out."""
        async with self._changed:
            while (connection := self.connection) is None:
                await self._changed.wait()
            return connection

    async def _set(self, connection: CdpConnection | None, status: BrowserStatus) -> None:
        before, self.status = self.status, status
        if status.connected:
            self._log.info("browser.connected", version=status.detail)
        elif before.connected or before.detail != status.detail:
            self._log.warning("browser.disconnected", code=status.code, detail=status.detail)
        async with self._changed:
            self._connection = connection
            self._changed.notify_all()
        if self.on_status is not None:
            try:
                self.on_status()
            except Exception:
                self._log.exception("browser.status_callback_failed")

    async def _keep_alive(self, connection: CdpConnection) -> None:
        """Return when the connection is closed, or when Chrome is silent for too long."""
        settings = self._settings
        while not connection.closed.is_set():
            silent_s = time.monotonic() - connection.last_heard
            if silent_s < settings.keepalive_s:
                try:
                    async with asyncio.timeout(settings.keepalive_s - silent_s):
                        await connection.closed.wait()
                except TimeoutError:
                    continue
                return
            try:
                await connection.send("Browser.getVersion", timeout_s=settings.keepalive_timeout_s)
            except Unavailable:
                await connection.close("Chrome does not answer any more")
                return
