"""Programs that run beside a test or the demo: logged to a file, and dead when we are dead, killed or not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The shell opens the log and becomes the program, so that the pid that the reaper prints is the program's own.
_TO_LOG: Final = 'log="$1"; shift; exec "$@" >>"$log" 2>&1'
_POLL_S: Final = 0.03


class ProcessFailed(Exception):
    """A program ended, or did not come up in time; carries the end of its log."""


@dataclass(slots=True)
class Process:
    """A running program.

    Attributes:
        name: what messages call it.
        pid: its process id; it leads a process group of its own.
        log: file that gets its standard output and error.
    """

    name: str
    pid: int
    log: Path

    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def lines(self) -> list[str]:
        """Every whole line that it has printed so far."""
        if not self.log.exists():
            return []
        return self.log.read_text(errors="replace").rpartition("\n")[0].splitlines()

    def tail(self, count: int = 15) -> str:
        """The last lines that it printed."""
        return "\n".join(self.lines()[-count:])

    async def wait_for(self, found: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Wait until *found* says yes.

        Args:
            found: asked every few hundredths of a second.
            what: what is waited for, for the message.
            timeout_s: how long at most.

        Raises:
            ProcessFailed: the program ended first, or the time was up.
        """
        deadline = time.monotonic() + timeout_s
        while not found():
            if not self.alive():
                raise ProcessFailed(f"{self.name} ended before {what}; its last words:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name}: no {what} within {timeout_s:g} s; its last words:\n{self.tail()}")
            await asyncio.sleep(_POLL_S)

    async def wait_line(self, wanted: Callable[[str], bool], *, what: str, timeout_s: float) -> str:
        """Wait for a line of its output, and give it.

        Raises:
            ProcessFailed: as in :meth:`wait_for`.
        """
        match: list[str] = []

        def found() -> bool:
            match[:] = [line for line in self.lines() if wanted(line)][:1]
            return bool(match)

        await self.wait_for(found, what=what, timeout_s=timeout_s)
        return match[0]

    async def wait_end(self, *, timeout_s: float | None) -> None:
        """Wait until it has ended; None waits for as long as it takes.

        Raises:
            TimeoutError: it still runs.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def caller_environment() -> dict[str, str]:
    """This process's environment without the caller's own settings of Ponte."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PONTE_")}


@contextlib.asynccontextmanager
async def running(
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    end_timeout_s: float = 15,
) -> AsyncIterator[Process]:
    """Run a program for the length of the block; at its end SIGTERM, and SIGKILL three seconds later.

    Args:
        name: what messages call it.
        argv: program and arguments.
        log: file that its output is added to, in a folder that exists.
        env: variables on top of :func:`caller_environment`.
        cwd: folder that it runs in.
        end_timeout_s: how long its end may take.

    Raises:
        ProcessFailed: it could not be started.
    """
    command = [str(Path(__file__).with_name("reaper.py")), "-", "/bin/sh", "-c", _TO_LOG, name, str(log), *argv]
    reaper = await asyncio.create_subprocess_exec(
        sys.executable, *command,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**caller_environment(), **(env or {})}, cwd=cwd,
        # A signal to the whole group (Ctrl-C, a terminal that closes, `timeout`) is for us: killed by it, the reaper
        # could not end its program any more.
        start_new_session=True,
    )  # fmt: skip
    assert reaper.stdin is not None
    assert reaper.stdout is not None
    try:
        async with asyncio.timeout(end_timeout_s):
            first = await reaper.stdout.readline()
        if not first:
            raise ProcessFailed(f"{name} could not be started: {argv[0]}")
        yield Process(name, int(first), log)
    finally:
        reaper.stdin.close()
        try:
            async with asyncio.timeout(end_timeout_s):
                await reaper.wait()
        except TimeoutError:
            reaper.kill()
            await reaper.wait()
