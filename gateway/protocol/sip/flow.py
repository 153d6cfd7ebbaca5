"""Where messages go: flows and the outputs of the core. Pure values."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass, field
from typing import Final

HostPort = tuple[str, int]
TRANSPORTS: Final = ("udp", "tcp", "tls", "ws", "wss")
_DEFAULT_PORTS: Final = {"tls": 5061, "ws": 80, "wss": 443}  # RFC 3261 section 19.1.2, RFC 7118 section 5


@dataclass(frozen=True, slots=True)
class Flow:
    """A way to a peer: one UDP socket and a remote address, or one connection.

    Attributes:
        transport: ``udp``, ``tcp``, ``tls``, ``ws`` or ``wss``.
        listener: key of the listening socket it belongs to; 0 for an endpoint's own socket.
        local: the address by which the peer reaches us; goes in Via and Contact.
        remote: the peer. The host may be a name in a flow that we chose ourselves, never in one made from a packet.
        fallback: where to connect when the connection from *remote* is gone (RFC 3261 section 18.2.2).
        connectable: False for a connection that the peer opened: its source port listens to nobody.
        server_name: whom the peer's certificate must name (RFC 5922 section 7.2) and the Host of a WebSocket; empty:
            the host that is connected to.
        spare: whether there is another way, so that nobody should wait long for this one.
    """

    transport: str
    listener: int
    local: HostPort
    remote: HostPort
    fallback: HostPort | None = None
    connectable: bool = True
    server_name: str = ""
    spare: bool = field(default=False, compare=False)

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats lost messages itself."""
        return self.transport != "udp"

    @property
    def is_websocket(self) -> bool:
        """Whether it is a WebSocket: its peer can be reached by this very connection only (RFC 7118 section 5)."""
        return self.transport in {"ws", "wss"}


@dataclass(frozen=True, slots=True)
class Transmit:
    """Bytes to send on a flow."""

    flow: Flow
    data: bytes


def default_port(transport: str) -> int:
    """Return the port where none is written."""
    return _DEFAULT_PORTS.get(transport, 5060)


@functools.lru_cache(maxsize=1024)
def is_ip(host: str) -> bool:
    """Return whether *host* is an IPv4 or IPv6 literal without brackets; asked for every message, so remembered."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """Return *host* as it is written before a port: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def host_port(address: HostPort) -> str:
    """Return ``host:port``, IPv6 in brackets."""
    return f"{bracketed(address[0])}:{address[1]}"
