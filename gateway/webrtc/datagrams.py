"""A UDP socket as asyncio's protocols know it, with nothing between it and the packet path."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from gateway.media.sockets import SocketWatch

_PACKET_BYTES: Final = 2048  # over an Ethernet MTU


class Datagrams(asyncio.DatagramTransport):
    """A transport of one socket, for a protocol that takes what comes to it.

    What the kernel does not take at once is dropped: media is late by then, and ICE and DTLS repeat themselves.

    Args:
        opened: bound and not blocking; closed with the transport.
        protocol: takes what is given to nobody else.
        watch: tells when there is a packet.

    Attributes:
        on_packet: takes each datagram before the protocol, with its sender and the monotonic instant in seconds; false:
            it is the protocol's.
    """

    def __init__(self, opened: socket.socket, protocol: asyncio.DatagramProtocol, watch: SocketWatch) -> None:
        super().__init__({"socket": opened, "sockname": opened.getsockname()})
        self._opened = opened
        self._protocol = protocol
        self._watch = watch
        self._closed = False
        self.on_packet: Callable[[bytes, Any, float], bool] = lambda data, address, now_s: False
        self._recvfrom = opened.recvfrom
        self._sendto = opened.sendto
        self._loop = asyncio.get_running_loop()
        protocol.connection_made(self)
        watch.watch(opened, self._readable)

    def _readable(self, now_s: float) -> None:
        try:
            data, address = self._recvfrom(_PACKET_BYTES)
        except OSError:  # nothing there after all, or an ICMP error of an earlier packet
            return
        if not self.on_packet(data, address, now_s):
            self._protocol.datagram_received(data, address)

    def send_now(self, data: bytes, address: tuple[str, int]) -> bool:
        """Send *data* to *address*; false where it was dropped."""
        try:
            self._sendto(data, address)
        except OSError:
            return False
        return True

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send *data* to *addr*, or drop it."""
        self.send_now(data, addr)

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing waits here."""
        return 0

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Close the socket; the protocol is told in the next turn of the event loop."""
        if not self._closed:
            self._closed = True
            self._watch.forget(self._opened)
            self._opened.close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """See `close`: there is nothing to wait for."""
        self.close()
