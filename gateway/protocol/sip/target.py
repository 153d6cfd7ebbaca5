"""`sipServer` as the SIP side uses it (docs/ARCHITECTURE.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.domain import hosts
from gateway.domain.errors import ConfigError
from gateway.protocol.sip.flow import bracketed, default_port, is_ip

_FIELD: Final = "sipServer"


@dataclass(frozen=True, slots=True)
class SipServer:
    """Where the PBX is.

    Attributes:
        host: name or IP address; IPv6 without brackets.
        port: port, or None to look for NAPTR and SRV records and then take the transport's own.
        transport: ``udp``, ``tcp``, ``tls``, ``ws`` or ``wss``; None when the text names none: NAPTR and SRV decide,
            else UDP.
    """

    host: str
    port: int | None = None
    transport: str | None = None

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP literal: then nothing is looked up."""
        return is_ip(self.host)

    @property
    def effective_transport(self) -> str:
        """The transport where no record names one."""
        return self.transport or "udp"

    @property
    def effective_port(self) -> int:
        """The port where no record names one."""
        return self.port or default_port(self.effective_transport)

    @property
    def domain(self) -> str:
        """The host part of our URIs: host, and the port where one was given."""
        host = bracketed(self.host)
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return self.domain + (f";transport={self.transport}" if self.transport else "")


def parse_sip_server(text: str) -> SipServer:
    """Read ``host[:port]``, ``IP[:port]``, ``[v6]:port``, each with an optional ``;transport=udp|tcp|tls|ws|wss``.

    Raises:
        ConfigError: it is none of these; the sentence says what is wrong.
    """
    try:
        found = hosts.parse_sip_server(text.strip())
    except ValueError as error:
        raise ConfigError(f"sipServer {error}", _FIELD) from None
    return SipServer(found.host.rstrip(".").lower(), found.port, found.transport)
