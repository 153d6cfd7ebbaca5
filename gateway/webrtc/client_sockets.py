"""UDP sockets for a call with a WebRTC client: one port of the RTP range, on each address that is named to it."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import Unavailable
from gateway.media.ports import MAX_TRIES, PortPool, bind_udp

MAX_ADDRESSES: Final = 16  # more only slow the checks down; a host with many container networks has that many


@dataclass(frozen=True, slots=True)
class SocketSet:
    """Bound sockets, all of one port.

    Attributes:
        port: the port, to be given back to the pool.
        sockets: in the order of the addresses.
    """

    port: int
    sockets: Sequence[socket.socket]


def open_set(pool: PortPool, addresses: Sequence[str]) -> SocketSet:
    """Bind one port on each of *addresses*; those that are none of this machine are passed over.

    Raises:
        Unavailable: no port is free, or no address is this machine's.
    """
    wanted = list(dict.fromkeys(addresses))[:MAX_ADDRESSES]
    for _ in range(MAX_TRIES):
        port = pool.take()
        opened: list[socket.socket] = []
        taken = False
        for address in wanted:
            try:
                version = ipaddress.ip_address(address).version
                opened.append(bind_udp(socket.AF_INET6 if version == 6 else socket.AF_INET, address, port))
            except ValueError:
                continue
            except OSError as error:
                taken = error.errno in {errno.EADDRINUSE, errno.EACCES}
                if taken:
                    break
        if opened and not taken:
            return SocketSet(port, opened)
        for one in opened:
            one.close()
        if not taken:
            pool.skip(port)
            raise Unavailable("No network address for WebRTC; is the interface up?")
        pool.skip(port)
    raise Unavailable("Other programs hold the RTP ports; move the RTP port range")
