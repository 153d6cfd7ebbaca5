"""From a SipServer to addresses (RFC 3263 sections 4.1 and 4.2, without NAPTR)."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.rdtypes.IN.SRV

from gateway.domain.errors import Unavailable
from gateway.protocol.sip.flow import is_ip
from gateway.protocol.sip.target import SipServer

_MOST_TARGETS = 16


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

    SRV is asked only when no port was given and the host is a name; when there is no SRV record, or the look-up
    fails, A and AAAA on port 5060 are taken.

    Args:
        server: what to look up.
        timeout_s: for each of the look-ups, SRV and addresses.
        resolver: asks for SRV; the system's name servers when None.

    Raises:
        Unavailable: nothing was found.
    """
    transport = server.transport or "udp"
    if server.is_ip:
        return [Target(transport, server.host, server.port or 5060)]
    records: list[tuple[str, str, int]] = []
    if server.port is None:
        records = await _service_records(server, timeout_s, resolver)
    targets: list[Target] = []
    failure: Unavailable | None = None
    for way, host, port in records or [(transport, server.host, server.port or 5060)]:
        try:
            addresses = await resolve_host(host, port, timeout_s=timeout_s)
        except Unavailable as error:
            failure = error
            continue
        targets += [Target(way, address, port) for address in addresses]
    if not targets:
        raise failure or Unavailable("The SIP server's name has no address")
    return targets[:_MOST_TARGETS]


async def _service_records(
    server: SipServer, timeout_s: float, resolver: dns.asyncresolver.Resolver | None
) -> list[tuple[str, str, int]]:
    try:
        resolver = resolver or dns.asyncresolver.Resolver()
    except (dns.exception.DNSException, OSError):
        return []  # no resolv.conf: the system's resolver may still know the name from its hosts file
    for transport in [server.transport] if server.transport else ["udp", "tcp"]:
        try:
            answer = await resolver.resolve(f"_sip._{transport}.{server.host}", "SRV", lifetime=timeout_s, search=False)
        except (dns.exception.DNSException, OSError):
            continue
        records = [record for record in answer if isinstance(record, dns.rdtypes.IN.SRV.SRV) and record.port]
        if found := [(transport, str(one.target).rstrip("."), one.port) for one in order_records(records)]:
            return [one for one in found if one[1]][:_MOST_TARGETS]
    return []


def order_records(records: list[dns.rdtypes.IN.SRV.SRV]) -> list[dns.rdtypes.IN.SRV.SRV]:
    """Order SRV records by priority, and at random by weight within one (RFC 2782)."""
    return sorted(records, key=lambda one: (one.priority, random.random() ** (1 / (one.weight or 0.01)) * -1))
