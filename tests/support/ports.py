"""Free loopback ports for servers that must be told their port before they start."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

LOOPBACK: Final = "127.0.0.1"
# Below the range that the kernel hands out by itself (32768 and up), so that a port found free is not taken by
# an outgoing connection before its server binds it, and below the gateway's RTP.
FIRST_PORT: Final = 20_000
LAST_PORT: Final = 29_998


@contextlib.contextmanager
def _held(port: int, kind: socket.SocketKind) -> Iterator[None]:
    with socket.socket(socket.AF_INET, kind) as held:
        if kind is socket.SOCK_STREAM:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((LOOPBACK, port))
        yield


def _free(first: int, count: int) -> bool:
    with ExitStack() as stack:
        try:
            for port in range(first, first + count):
                stack.enter_context(_held(port, socket.SOCK_STREAM))
                stack.enter_context(_held(port, socket.SOCK_DGRAM))
        except OSError:
            return False
    return True


def _own_range() -> tuple[int, int]:
    """Give each worker of pytest-xdist a part of the range: what one found free must not be taken by the other."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = (LAST_PORT - FIRST_PORT) // workers // 2 * 2
    lowest = FIRST_PORT + share * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return lowest, lowest + share


def free_ports(count: int = 1, *, tries: int = 200) -> int:
    """Find *count* neighbouring ports that are free for TCP and UDP on loopback, the first one even.

    Args:
        count: how many in a row.
        tries: places to try before giving up.

    Returns:
        The first port.

    Raises:
        OSError: nothing was free in *tries* places.
    """
    lowest, highest = _own_range()
    for _ in range(tries):
        first = random.randrange(lowest, highest - count, 2)
        if _free(first, count):
            return first
    raise OSError(f"no {count} free ports in a row found on {LOOPBACK}")
