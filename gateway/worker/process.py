"""Keeps one media worker running: starts it, watches it, starts it again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from gateway.config import child_environment
from gateway.domain.errors import PonteError, Unavailable
from gateway.domain.finish import finish
from gateway.media.built_in import PlaneSettings
from gateway.media.compiled import packet_path
from gateway.worker.channel import Channel, Handler
from gateway.worker.figures import Family

_START_S: Final = 30.0  # Python and aiortc are loaded in one; a machine that does other things takes longer
_LOG_LINE_BYTES: Final = 65_536
_SILENT_LOG_KEYS: Final = frozenset({"event", "level", "timestamp"})
_LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical"})


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How long a worker is waited for.

    Attributes:
        look_s: between two questions whether it is well.
        look_timeout_s: for the answer; a worker that owes two is ended.
        stop_s: for it to stop by itself.
        first_pause_s: before it is started again.
        longest_pause_s: the cap of that pause, which doubles; and how long it has to live for the pause to be short
            again.
    """

    look_s: float = 3.0
    look_timeout_s: float = 5.0
    stop_s: float = 5.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a worker logs; see `gateway.config`."""

    level: str = "info"
    drop_pii: bool = False


class WorkerProcess:
    """One worker, and the channel to whichever process it is now.

    Args:
        number: tells it from the others in logs and metrics.
        settings: of its plane.
        handlers: of what it says.
        on_up: called when it can be asked.
        on_down: called when its process is gone, and with it all that was in it.
        logs: what it logs.
        limits: how long it is waited for.
        module: that is run.

    Attributes:
        number: as given.
        channel: to the process; None while there is none.
        pid: of the process.
        restarts: times that it was started again.
        figures: its metrics as it told them last; none while there is no process.
        settled: set once the first process can be asked, or has ended.
        ended_by: why the last process that ended did; a sentence.
    """

    def __init__(
        self,
        number: int,
        settings: PlaneSettings,
        handlers: Mapping[str, Handler],
        *,
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[], None] = lambda: None,
        logs: LogSettings | None = None,
        limits: WorkerLimits | None = None,
        module: str = "gateway.worker",
    ) -> None:
        self.number = number
        self.channel: Channel | None = None
        self.pid: int | None = None
        self.restarts = 0
        self.figures: tuple[Family, ...] = ()
        self.settled = asyncio.Event()
        self.ended_by = ""
        self._settings = settings
        self._handlers = {"log": self._log_line, **handlers}
        self._on_up = on_up
        self._on_down = on_down
        self._logs = logs or LogSettings()
        self._limits = limits or WorkerLimits()
        self._module = module
        self._last_word = ""
        self._log = structlog.get_logger("ponte.media_worker").bind(worker=number)

    def ask_channel(self) -> Channel:
        """Return the channel.

        Raises:
            Unavailable: there is no process now.
        """
        if self.channel is None:
            raise Unavailable("The media worker is being started again")
        return self.channel

    async def run(self) -> None:
        """Keep it running until cancelled."""
        limits = self._limits
        pause_s = limits.first_pause_s
        while True:
            began_s = time.monotonic()
            why = await self._live()
            self.ended_by = why
            self.settled.set()
            if time.monotonic() - began_s > limits.longest_pause_s:
                pause_s = limits.first_pause_s
            self.restarts += 1
            self._log.error("media_worker_ended", reason=why, restart_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.longest_pause_s)

    async def _live(self) -> str:
        """Run one process to its end; returns why it ended."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, str(theirs.fileno()), str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),), env=child_environment(), limit=_LOG_LINE_BYTES,
                start_new_session=True,  # Ctrl-C is for the gateway, which stops its workers itself
            )  # fmt: skip
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                return f"it cannot be started: {error.strerror}"
            raise
        finally:
            theirs.close()
        self._last_word = ""
        channel = Channel(self._handlers, name="The media worker")
        why, polite = "", True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_words(process))
            try:
                await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=ours)
                why = await self._attend(channel, process)
                polite = False
            finally:
                # Its last words are read after that, up to their end.
                await finish(self._end(channel, process, polite=polite))
        return why or f"exit status {process.returncode}" + (f": {self._last_word}" if self._last_word else "")

    async def _attend(self, channel: Channel, process: asyncio.subprocess.Process) -> str:
        try:
            await channel.ask(
                "start", self._settings, self._logs.level, drop_pii=self._logs.drop_pii, timeout_s=_START_S
            )
        except PonteError as error:
            return "" if channel.closed.is_set() else str(error)
        self.channel, self.pid = channel, process.pid
        self._log.info("media_worker_started", pid=process.pid, packet_path=packet_path().value)
        self._on_up()
        self.settled.set()
        owed = 0
        while owed < 2:
            try:
                self.figures = await channel.ask("figures", timeout_s=self._limits.look_timeout_s)
                owed = 0
            except Unavailable:
                owed += 1
            except PonteError as error:  # it lives, and its calls with it
                owed = 0
                self._log.error("media_worker_figures_failed", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.look_s):
                    await channel.closed.wait()
            if channel.closed.is_set():
                return ""
        return "it did not answer any more"

    async def _end(self, channel: Channel, process: asyncio.subprocess.Process, *, polite: bool) -> None:
        up, self.channel, self.pid, self.figures = self.channel is not None, None, None, ()
        polite = polite and up and not channel.closed.is_set()
        if up and not polite:
            self._on_down()
        if polite:
            with contextlib.suppress(PonteError):
                await channel.ask("stop", timeout_s=self._limits.stop_s)
        await channel.close()
        try:
            async with asyncio.timeout(self._limits.stop_s if polite else 0):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if polite:
            self._on_down()

    async def _read_words(self, process: asyncio.subprocess.Process) -> None:
        """Log what the process writes by itself: of a start that failed, of a crash."""
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # longer than any line of ours
                continue
            if not line:
                return
            self._last_word = line.decode(errors="replace").rstrip()
            self._log.warning("media_worker_says", text=self._last_word)

    def _log_line(self, line: str) -> None:
        """Log a line of the worker's log as ours."""
        try:
            entry: dict[str, Any] = json.loads(line)
            level = entry.get("level", "info")
            event = str(entry.pop("event", "media_worker_says"))
        except (ValueError, AttributeError, TypeError):
            self._log.warning("media_worker_says", text=line)
            return
        values = {key: value for key, value in entry.items() if key not in _SILENT_LOG_KEYS}
        getattr(self._log, level if level in _LEVELS else "info")(event, **values)
