"""UDP sockets of the packet path, watched for the event loop.

Most of what a packet costs is not the work on it but being woken up for it: a switch of processes, cold caches, the
event loop's own turn. A process that does nothing else (a media worker) therefore has one `SocketPoll` for all its
sockets: one turn of the loop takes every packet that is there, and under load it lets packets gather for a fraction
of a millisecond.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

OnReadable = Callable[[float], None]
"""Takes one packet off its socket, or none; told the monotonic instant in seconds."""

_MOST_PACKETS: Final = 256  # in one turn of the loop: with all of them it takes some 5 ms
_RATE_OVER_S: Final = 0.1  # how long packets are counted for


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
        pause_s: how long packets are let gather where more than one is expected to come in that time: what a packet is
            late by at most, and half of it on average. 0: never. The event loop stands still meanwhile, which is for
            processes that do nothing but media.

    Attributes:
        pausing: packets are let gather now.
    """

    def __init__(self, *, pause_s: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._readers: dict[int, OnReadable] = {}
        self._pause_s = pause_s
        self.pausing = False
        self._counted = 0
        self._counted_from_s = 0.0
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
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._readers.clear()

    def _turn(self) -> None:
        if self.pausing:
            time.sleep(self._pause_s)
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
        self._count(len(ready), now_s)

    def _count(self, packets: int, now_s: float) -> None:
        """Find out whether a pause is worth it: where it saves a turn."""
        self._counted += packets
        over_s = now_s - self._counted_from_s
        if over_s >= _RATE_OVER_S:
            self.pausing = self._pause_s > 0 and self._counted * self._pause_s > over_s
            self._counted, self._counted_from_s = 0, now_s
