"""Reading `sipServer` (docs/ARCHITECTURE.md, section 1)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import ConfigError
from gateway.protocol.sip.flow import bracketed

_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_TRANSPORTS: Final = ("udp", "tcp", "tls", "wss")
_LATER: Final = ("tls", "wss")
_FIELD: Final = "sipServer"


@dataclass(frozen=True, slots=True)
class SipServer:
    """Where the PBX is.

    Attributes:
        host: name or IP address; IPv6 without brackets.
        port: port, or None to look for SRV records and then take 5060.
        transport: ``udp`` or ``tcp``; None when the text names none: SRV decides, else UDP.
    """

    host: str
    port: int | None = None
    transport: str | None = None

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP literal: then nothing is looked up."""
        return _ip(self.host) is not None

    @property
    def domain(self) -> str:
        """The host part of our URIs: host, and the port where one was given."""
        host = bracketed(self.host)
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return self.domain + (f";transport={self.transport}" if self.transport else "")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def parse_sip_server(text: str) -> SipServer:
    """Read ``host[:port]``, ``IP[:port]``, ``[v6]:port``, each with an optional ``;transport=udp|tcp``.

    Raises:
        ConfigError: it is none of these; the sentence says what is wrong.
    """
    address, *params = text.strip().split(";")
    transport = _transport(params)
    host, port_text = _split(address.strip())
    port: int | None = None
    if port_text is not None:
        if not re.fullmatch(r"[0-9]{1,5}", port_text) or not 1 <= int(port_text) <= 65535:
            raise ConfigError("The port of sipServer must be a number from 1 to 65535", _FIELD)
        port = int(port_text)
    ip = _ip(host)
    if ip is not None:
        if ip.is_unspecified or ip.is_multicast:
            raise ConfigError("sipServer must be the address of one host", _FIELD)
        return SipServer(str(ip), port, transport)
    if len(host) > 253 or not _NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
        raise ConfigError("sipServer must be a host name or an IP address, with an optional :port", _FIELD)
    return SipServer(host.rstrip(".").lower(), port, transport)


def _split(address: str) -> tuple[str, str | None]:
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            raise ConfigError("sipServer has a malformed IPv6 address; write [address]:port", _FIELD)
        return host, rest[1:] if rest else None
    if address.count(":") > 1:
        if _ip(address) is None:
            raise ConfigError("sipServer has too many colons; write an IPv6 address as [address]:port", _FIELD)
        return address, None
    host, colon, port = address.partition(":")
    return host, port if colon else None


def _transport(params: list[str]) -> str | None:
    transport: str | None = None
    for param in params:
        name, _, value = param.strip().partition("=")
        if name.strip().lower() != "transport" or transport is not None:
            raise ConfigError("sipServer takes one parameter, ;transport=udp or ;transport=tcp", _FIELD)
        transport = value.strip().lower()
        if transport not in _TRANSPORTS:
            raise ConfigError("The transport of sipServer must be udp or tcp", _FIELD)
        if transport in _LATER:
            raise ConfigError(
                f"The transport {transport} of sipServer is not supported by this version; use udp or tcp", _FIELD
            )
    return transport
