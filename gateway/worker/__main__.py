"""``python -m gateway.worker FD PARENT_PID``: a media worker; `gateway.worker.process` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from gateway.ops.logs import configure_logging
from gateway.ops.tied import tie
from gateway.worker.channel import Channel

if TYPE_CHECKING:
    from gateway.media.built_in import PlaneSettings
    from gateway.media.sockets import SocketPoll
    from gateway.worker.work import Figures, MediaWork

_FAREWELL_S: Final = 2  # for the peers to be told of the end; then the process is gone, whatever hangs
# Of a packet for others, where they are many: with 50 calls four or five are taken together, and the median packet is
# half a millisecond late; with 20 it is two, and 0.3 ms.
_WAIT_S: Final = 0.0007
_YOUNG: Final = 10_000  # containers made and not freed between two looks of the collector at the youngest


class _LogStream(io.StringIO):
    """Gives each line of the log to the gateway; never waits for it. Any thread may write; made in the loop's."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if not line.strip():
                continue
            if threading.get_ident() == self._thread:
                self._channel.mention("log", line)
            else:  # a recorder's; the channel's transport is the loop's alone
                with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                    self._loop.call_soon_threadsafe(self._channel.mention, "log", line)
        return len(text)


class _Worker:
    """The process's life: made by `start`, ended by `stop` or when the gateway is gone."""

    def __init__(self) -> None:
        self._handlers: dict[str, object] = {"start": self._start, "stop": self._stop}
        self.channel = Channel(self._handlers, name="the gateway")  # type: ignore[arg-type]
        self._stopping = asyncio.Event()
        self._work: MediaWork | None = None
        self._telling: asyncio.Task[None] | None = None
        self._poll: SocketPoll | None = None

    async def run(self, end: socket.socket) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: self.channel, sock=end)
        waits = [asyncio.ensure_future(one.wait()) for one in (self.channel.closed, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not self._stopping.is_set():
            signal.alarm(_FAREWELL_S + 1)
            await self._end()
        for wait in waits:
            wait.cancel()
        await self.channel.close()

    async def _start(self, settings: PlaneSettings, log_level: str, *, drop_pii: bool) -> None:
        # Only now: the gateway that waits for the channel should not wait for aiortc.
        from gateway.media.sockets import SocketPoll
        from gateway.worker.built_in import built_in_plane
        from gateway.worker.work import Figures, MediaWork

        configure_logging(log_format="json", level=log_level, drop_pii=drop_pii, stream=_LogStream(self.channel))
        figures = Figures()
        self._poll = SocketPoll(_WAIT_S)
        self._work = MediaWork(built_in_plane(settings, self._poll), self.channel, figures)
        self._handlers.update(self._work.verbs)
        self._telling = asyncio.get_running_loop().create_task(self._work.tell_figures(), name="figures")
        _tame_collector(figures)

    async def _stop(self) -> None:
        await self._end()
        self._stopping.set()

    async def _end(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
        if self._work is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._work.close()
        if self._poll is not None:
            self._poll.close()


def _tame_collector(figures: Figures) -> None:
    """Keep the garbage collector's pauses below what is heard.

    What was made up to here (modules, code) lives as long as the process, and is not looked at again. A packet makes no
    cycles, so that the youngest are looked at seldom; calls do (aiortc's), and the oldest are still few.
    """
    began_s = longest_s = 0.0

    def measure(phase: str, info: dict[str, int]) -> None:
        nonlocal began_s, longest_s
        if phase == "start":
            began_s = time.perf_counter()
        elif (took_s := time.perf_counter() - began_s) > longest_s:
            longest_s = took_s
            figures.gc_pause.set(took_s)

    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)
    gc.callbacks.append(measure)


def _soon_over(gateway: int) -> None:
    if os.getppid() != gateway:
        signal.alarm(_FAREWELL_S + 2)


def main(run: Callable[[Coroutine[Any, Any, None]], None] | None = None) -> None:
    """Run the worker on the socket that was inherited.

    Args:
        run: runs a coroutine on an event loop; None: on uvloop's.
    """
    faulthandler.enable()
    # The gateway says when to stop: a service manager tells all processes of a unit, and a terminal its foreground.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[1]))
    end.setblocking(False)
    # The end of the channel says that the gateway is gone; this is for a worker that has no time to read it.
    gateway = int(sys.argv[2])
    signal.signal(signal.SIGHUP, lambda number, stack: _soon_over(gateway))
    tie(gateway, signal.SIGHUP)
    if run is None:
        import uvloop

        run = uvloop.run

    async def work() -> None:
        await _Worker().run(end)

    run(work())


if __name__ == "__main__":
    main()
