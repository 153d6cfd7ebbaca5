"""UDP sockets of the packet path, watched for the event loop.

Most of what a packet costs is not the work on it but being woken up for it: a switch of processes, cold caches, the
event loop's own turn. A process that does nothing else (a media worker) therefore has one `SocketPoll` for all its
sockets: one turn of the loop takes every packet that is there, and where packets are many only some of the sockets
wake it up.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from gateway.media.wakers import CYCLE_S, wakers

OnReadable = Callable[[float], None]
"""Takes one packet off its socket, or none; told the monotonic instant in seconds."""

_MOST_PACKETS: Final = 256  # in one turn of the loop: with all of them it takes some 5 ms
_SURVEY_S: Final = CYCLE_S * 1.25  # a packet of each stream, a late one too
_SURVEY_EACH_S: Final = 1.0  # clocks drift apart by 0.1 ms meanwhile, and calls come and go
_LONGEST_S: Final = 0.005  # that a packet waits where those that should wake us up stay away


class SocketWatch(Protocol):
    """Tells when a socket can be read."""

    def watch(self, opened: socket.socket, on_readable: OnReadable) -> None:
        """Call *on_readable* whenever *opened*, which does not block, has a packet."""

    def forget(self, opened: socket.socket) -> None:
        """Do so no more; to be called before it is closed. What is not watched changes nothing."""


class LoopWatch:
    """The running event loop by itself: good where packets are few."""

    def watch(self, opened: socket.socket, on_readable: OnReadable) -> None:
        """See `SocketWatch`."""
        asyncio.get_running_loop().add_reader(opened.fileno(), lambda: on_readable(time.monotonic()))

    def forget(self, opened: socket.socket) -> None:
        """See `SocketWatch`."""
        asyncio.get_running_loop().remove_reader(opened.fileno())


class SocketPoll:
    """All sockets of a process, in one object that the running event loop watches.

    Once a second it is found out when in their 20 ms the packets of each socket come; then those sockets wake the loop
    up whose packets come just after others'. One that is new, or was silent meanwhile, wakes it up in any case.

    Args:
        wait_s: how long a packet that keeps its time may wait for others, so that they are taken together.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._loop = asyncio.get_running_loop()
        self._every = select.epoll()
        self._waking = select.epoll()
        self._readers: dict[int, OnReadable] = {}
        self._wakers: set[int] = set()
        self._arrivals: dict[int, float] | None = None  # when packets came, while that is being found out
        self._until_s = 0.0  # until when it is, or is not
        self._tick: asyncio.TimerHandle | None = None  # while some sockets wake nobody up
        self._loop.add_reader(self._waking.fileno(), self._turn)

    def watch(self, opened: socket.socket, on_readable: OnReadable) -> None:
        """See `SocketWatch`."""
        descriptor = opened.fileno()
        self._readers[descriptor] = on_readable
        self._every.register(descriptor, select.EPOLLIN)
        self._waking.register(descriptor, select.EPOLLIN)
        self._wakers.add(descriptor)

    def forget(self, opened: socket.socket) -> None:
        """See `SocketWatch`."""
        descriptor = opened.fileno()
        if self._readers.pop(descriptor, None) is None:
            return
        self._every.unregister(descriptor)
        if descriptor in self._wakers:
            self._waking.unregister(descriptor)
            self._wakers.discard(descriptor)

    def close(self) -> None:
        """Watch nothing any more. The sockets are their owners'."""
        if self._every.closed:
            return
        self._loop.remove_reader(self._waking.fileno())
        self._stop_ticking()
        self._every.close()
        self._waking.close()
        self._readers.clear()

    def _turn(self) -> None:
        readers = self._readers
        ready = self._every.poll(0, _MOST_PACKETS)
        now_s = time.monotonic()
        for descriptor, _ in ready:
            reader = readers.get(descriptor)  # one before it may have had it forgotten
            if reader is not None:
                try:
                    reader(now_s)
                except Exception as error:
                    self._loop.call_exception_handler({"message": "A packet could not be handled", "exception": error})
        if self._arrivals is not None:
            self._arrivals.update((descriptor, now_s) for descriptor, _ in ready)
        if now_s >= self._until_s and not self._every.closed:
            self._survey(now_s)

    def _survey(self, now_s: float) -> None:
        """Begin to find out when packets come, or end it and choose who wakes us up by it."""
        arrivals, self._arrivals = self._arrivals, None
        if arrivals is None:
            self._stop_ticking()
            self._wake_by(set(self._readers))
            self._arrivals = {}
            self._until_s = now_s + _SURVEY_S
            return
        self._until_s = now_s + _SURVEY_EACH_S
        waiting = arrivals.keys() - wakers(arrivals, self._wait_s)
        if waiting:
            self._wake_by(self._readers.keys() - waiting)
            self._tick = self._loop.call_later(_LONGEST_S, self._ticked)

    def _wake_by(self, chosen: set[int]) -> None:
        for descriptor in self._wakers - chosen:
            self._waking.unregister(descriptor)
        for descriptor in chosen - self._wakers:
            self._waking.register(descriptor, select.EPOLLIN)
        self._wakers = chosen

    def _ticked(self) -> None:
        self._tick = self._loop.call_later(_LONGEST_S, self._ticked)
        self._turn()

    def _stop_ticking(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
