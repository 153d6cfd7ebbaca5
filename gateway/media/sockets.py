"""UDP sockets of the packet path, watched for the event loop.

Most of what a packet costs is not the work on it but being woken up for it: a switch of processes, cold caches, the
event loop's own turn. A process that does nothing else (a media worker) therefore has one `SocketPoll` for all its
sockets: one turn of the loop takes every packet that is there, and where packets are many they are taken at fixed
instants, several at a time.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from gateway.media.pace import Pace

OnReadable = Callable[[float], None]
"""Takes one packet off its socket, or none; told the monotonic instant in seconds."""

_MOST_PACKETS: Final = 256  # in one turn of the loop: with all of them it takes some 5 ms


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

    Args:
        pace: says when packets are taken. Where it lets them gather the event loop stands still meanwhile, which is
            for processes that do nothing but media.
    """

    def __init__(self, pace: Pace) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._readers: dict[int, OnReadable] = {}
        self._pace = pace
        self._next: asyncio.Handle | None = None  # the next turn; None: it is when the loop sees a packet
        self._due_s = 0.0
        self._loop.add_reader(self._epoll.fileno(), self._turn)

    def watch(self, opened: socket.socket, on_readable: OnReadable) -> None:
        """See `SocketWatch`."""
        self._readers[opened.fileno()] = on_readable
        self._epoll.register(opened.fileno(), select.EPOLLIN)

    def forget(self, opened: socket.socket) -> None:
        """See `SocketWatch`."""
        if self._readers.pop(opened.fileno(), None) is not None:
            self._epoll.unregister(opened.fileno())

    def close(self) -> None:
        """Watch nothing any more. The sockets are their owners'."""
        if self._epoll.closed:
            return
        if self._next is not None:
            self._next.cancel()
        else:
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._readers.clear()

    def _turn(self) -> None:
        if self._next is not None:
            # Asleep, and not in the loop, which would wake up for each packet.
            wait_s = self._due_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
        readers = self._readers
        ready = self._epoll.poll(0, _MOST_PACKETS)
        now_s = time.monotonic()
        for descriptor, _ in ready:
            reader = readers.get(descriptor)  # one before it may have had it forgotten
            if reader is not None:
                try:
                    reader(now_s)
                except Exception as error:
                    self._loop.call_exception_handler({"message": "A packet could not be handled", "exception": error})
        self._pace.count(len(ready), now_s)
        if not self._epoll.closed:
            self._follow(now_s)

    def _follow(self, now_s: float) -> None:
        """Have the next turn when the pace says."""
        period_s = self._pace.period_s
        if period_s:
            if self._next is None:
                self._loop.remove_reader(self._epoll.fileno())
            self._due_s = now_s + period_s
            self._next = self._loop.call_soon(self._turn)  # the loop looks at all else before
        elif self._next is not None:
            self._next = None
            self._loop.add_reader(self._epoll.fileno(), self._turn)
