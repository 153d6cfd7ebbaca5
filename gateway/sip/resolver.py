"""From a SipServer to addresses (RFC 3263 sections 4.1 and 4.2)."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.rdtypes.IN.NAPTR
import dns.rdtypes.IN.SRV
import dns.resolver

from gateway.domain.errors import Unavailable
from gateway.protocol.sip.flow import is_ip
from gateway.protocol.sip.target import SipServer

_MOST_TARGETS = 16
_SERVICES: Final = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}  # RFC 3263 section 4.1
_SRV_NAMES: Final = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try."""

    transport: str
    host: str
    port: int


async def resolve_host(host: str, port: int, *, timeout_s: float) -> list[str]:
    """Return the addresses of *host*, by the system's resolver so that /etc/hosts counts.

    Raises:
        Unavailable: there are none, or the look-up took too long.
    """
    if is_ip(host):
        return [host]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except TimeoutError:
        raise Unavailable("Looking up the SIP server's name took too long") from None
    except (OSError, UnicodeError):
        raise Unavailable("The SIP server's name cannot be resolved") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:_MOST_TARGETS]


async def resolve_server(
    server: SipServer, *, timeout_s: float, resolver: dns.asyncresolver.Resolver | None = None
) -> list[Target]:
    """Return the addresses of a server, in the order to try them.

    NAPTR is asked only when neither port nor transport was given, SRV only when no port was given, and neither for an
    IP address or a WebSocket. Where there are no records, or the look-up fails, A and AAAA on the transport's own port
    are taken.

    Args:
        server: what to look up.
        timeout_s: for each of the look-ups, records and addresses.
        resolver: asks for records; the system's name servers when None.

    Raises:
        Unavailable: nothing was found.
    """
    plain = (server.effective_transport, server.host, server.effective_port)
    if server.is_ip:
        return [Target(*plain)]
    records: list[tuple[str, str, int]] = []
    if server.port is None and server.transport not in {"ws", "wss"}:
        records = await _records(server, timeout_s, resolver)
    targets: list[Target] = []
    failure: Unavailable | None = None
    for transport, host, port in records or [plain]:
        try:
            addresses = await resolve_host(host, port, timeout_s=timeout_s)
        except Unavailable as error:
            failure = error
            continue
        targets += [Target(transport, address, port) for address in addresses]
    if not targets:
        raise failure or Unavailable("The SIP server's name has no address")
    return targets[:_MOST_TARGETS]


async def _records(
    server: SipServer, timeout_s: float, resolver: dns.asyncresolver.Resolver | None
) -> list[tuple[str, str, int]]:
    """Return transport, host and port of the server's SRV records, those of one transport."""
    try:
        resolver = resolver or dns.asyncresolver.Resolver()
    except (dns.exception.DNSException, OSError):
        return []  # no resolv.conf: the system's resolver may still know the name from its hosts file
    try:
        names = [(server.transport, f"{_SRV_NAMES[server.transport]}.{server.host}")] if server.transport else []
        if not names:
            names = await _naptr_names(server.host, timeout_s, resolver)
        for transport, name in names or [(one, f"{prefix}.{server.host}") for one, prefix in _SRV_NAMES.items()]:
            found = await _service_records(name, timeout_s, resolver)
            if found:
                return [(transport, host, port) for host, port in found if host][:_MOST_TARGETS]
    except dns.resolver.LifetimeTimeout:
        return []  # no name server answers: asking for more would only take longer
    return []


async def _naptr_names(host: str, timeout_s: float, resolver: dns.asyncresolver.Resolver) -> list[tuple[str, str]]:
    """Return transport and SRV name of each NAPTR record that we can use, the most wanted first."""
    try:
        answer = await resolver.resolve(host, "NAPTR", lifetime=timeout_s, search=False)
    except dns.resolver.LifetimeTimeout:
        raise
    except (dns.exception.DNSException, OSError):
        return []
    records = [one for one in answer if isinstance(one, dns.rdtypes.IN.NAPTR.NAPTR) and one.flags.lower() == b"s"]
    records.sort(key=lambda one: (one.order, one.preference))
    services = [(one.service.decode("ascii", "replace").upper(), str(one.replacement)) for one in records]
    return [(_SERVICES[name], target) for name, target in services[:_MOST_TARGETS] if name in _SERVICES]


async def _service_records(name: str, timeout_s: float, resolver: dns.asyncresolver.Resolver) -> list[tuple[str, int]]:
    try:
        answer = await resolver.resolve(name, "SRV", lifetime=timeout_s, search=False)
    except dns.resolver.LifetimeTimeout:
        raise
    except (dns.exception.DNSException, OSError):
        return []
    records = [record for record in answer if isinstance(record, dns.rdtypes.IN.SRV.SRV) and record.port]
    return [(str(one.target).rstrip("."), one.port) for one in order_records(records)]


def order_records(records: list[dns.rdtypes.IN.SRV.SRV]) -> list[dns.rdtypes.IN.SRV.SRV]:
    """Order SRV records by priority, and at random by weight within one (RFC 2782)."""
    return sorted(records, key=lambda one: (one.priority, random.random() ** (1 / (one.weight or 0.01)) * -1))
