"""Pairs of UDP ports for RTP and RTCP (RFC 3550 section 11: RTP even, RTCP the next)."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import ConfigError, Unavailable

MAX_TRIES: Final = 64  # ports of the range that other programs hold
_EXPEDITED: Final = 46 << 2  # DSCP EF, what networks put voice first by (RFC 3246, RFC 4594)
_BUFFER_BYTES: Final = 262_144  # over a second of packets of 20 ms with a stalled event loop


class PortPool:
    """Which even ports of a range are free. A port that was given back rests before it is given out again.

    Late packets of the old call (a phone that missed the BYE) must not enter the next one.

    Args:
        low: lowest port that may be used.
        high: highest.
        rest_s: seconds that a port rests.
        clock: monotonic seconds.
        shuffle: puts the ports in the order of their use; by default one that cannot be guessed.

    Raises:
        ConfigError: the range holds no pair.
    """

    def __init__(
        self,
        low: int,
        high: int,
        *,
        rest_s: float,
        clock: Callable[[], float],
        shuffle: Callable[[list[int]], None] | None = None,
    ) -> None:
        if not 1024 <= low <= high <= 65535:
            raise ConfigError("The RTP port range must lie within 1024 to 65535", "rtp_ports")
        ports = list(range(low + low % 2, high, 2))
        if not ports:
            raise ConfigError("The RTP port range holds no even port with an odd one after it", "rtp_ports")
        (shuffle or random.SystemRandom().shuffle)(ports)
        self._free = deque(ports)
        self._resting: deque[tuple[float, int]] = deque()
        self._rest_s = rest_s
        self._clock = clock

    def take(self) -> int:
        """Return a free even port.

        Raises:
            Unavailable: none is free.
        """
        now = self._clock()
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        if not self._free:
            raise Unavailable("All RTP ports are in use; widen the RTP port range")
        return self._free.popleft()

    def skip(self, port: int) -> None:
        """Give back *port*, which another program holds: it is the last to be tried again."""
        self._free.append(port)

    def give_back(self, port: int) -> None:
        """Give back *port* after a call."""
        self._resting.append((self._clock() + self._rest_s, port))


@dataclass(frozen=True, slots=True)
class PortPair:
    """Two bound sockets.

    Attributes:
        port: the even one.
        rtp: bound to it.
        rtcp: bound to the next.
        wildcard: they are bound to all addresses, because the one asked for is not of this machine.
    """

    port: int
    rtp: socket.socket
    rtcp: socket.socket
    wildcard: bool

    def close(self) -> None:
        """Close both."""
        self.rtp.close()
        self.rtcp.close()


def open_pair(pool: PortPool, address: str) -> PortPair:
    """Bind a pair of *pool*.

    Args:
        pool: gives the ports.
        address: IP address to bind to. One that this machine does not have (the outside of a NAT) binds to all.

    Raises:
        Unavailable: no pair is free.
        ConfigError: *address* is no IP address.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    except ValueError:
        raise ConfigError("The address for RTP is no IP address", "rtp_address") from None
    host = address
    for _ in range(MAX_TRIES):
        port = pool.take()
        sockets: list[socket.socket] = []
        try:
            for offset in (0, 1):
                sockets.append(bind_udp(family, host, port + offset))
        except OSError as error:
            for opened in sockets:
                opened.close()
            pool.skip(port)
            if error.errno == errno.EADDRNOTAVAIL and host == address:
                host = "::" if family == socket.AF_INET6 else "0.0.0.0"
            elif error.errno not in {errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL}:
                raise Unavailable(f"No UDP socket for RTP: {error.strerror}") from error
            continue
        return PortPair(port, sockets[0], sockets[1], host != address)
    raise Unavailable("Other programs hold the RTP ports; move the RTP port range")


def bind_udp(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    """Return a socket for voice, bound to *host* and *port*.

    Raises:
        OSError: it cannot be bound.
    """
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED)
        else:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED)
        opened.bind((host, port))
    except OSError:
        opened.close()
        raise
    return opened
