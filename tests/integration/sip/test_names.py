"""From names to addresses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import cast

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from gateway.domain.errors import Unavailable
from gateway.sip import (
    SipServer,
)
from gateway.sip.port import LocalAddresses
from gateway.sip.resolver import resolve_host, resolve_server

pytestmark = pytest.mark.integration


async def test_local_addresses_are_found_per_peer() -> None:
    addresses = LocalAddresses(30, most=2)
    assert addresses.towards("127.0.0.1", 0) == "127.0.0.1"
    assert addresses.towards("127.0.0.2", 0) == "127.0.0.1"
    assert addresses.towards("127.0.0.3", 0) == "127.0.0.1"
    assert len(addresses._known) <= 2
    with pytest.raises(Unavailable):
        addresses.towards("256.0.0.1", 0)


async def test_resolving() -> None:
    assert await resolve_host("127.0.0.1", 5060, timeout_s=1) == ["127.0.0.1"]
    assert "127.0.0.1" in await resolve_host("localhost", 5060, timeout_s=5)
    with pytest.raises(Unavailable):
        await resolve_host("no-such-name.invalid", 5060, timeout_s=5)
    with pytest.raises(Unavailable):
        await resolve_host("localhost", 5060, timeout_s=0)
    (target,) = await resolve_server(SipServer("192.0.2.1", None, "tcp"), timeout_s=1)
    assert (target.transport, target.host, target.port) == ("tcp", "192.0.2.1", 5060)
    targets = await resolve_server(SipServer("localhost"), timeout_s=1)
    assert ("udp", "127.0.0.1", 5060) in [(one.transport, one.host, one.port) for one in targets]
    with pytest.raises(Unavailable):
        await resolve_server(SipServer("no-such-name.invalid"), timeout_s=1)


async def test_server_found_by_srv() -> None:
    async with dns_server({"_sip._tcp.pbx.test": [(20, 5090, "localhost"), (10, 5080, "localhost")]}) as port:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = port
        found = await resolve_server(SipServer("pbx.test"), timeout_s=2, resolver=resolver)
        assert [one.port for one in found if one.host == "127.0.0.1"] == [5080, 5090]
        assert {one.transport for one in found} == {"tcp"}
        with pytest.raises(Unavailable):
            await resolve_server(SipServer("pbx.test", None, "udp"), timeout_s=2, resolver=resolver)


async def test_transport_chosen_by_naptr() -> None:
    naptr = [
        '20 10 "s" "SIP+D2U" "" _sip._udp.pbx.test.',
        '10 20 "s" "SIP+D2T" "" _sip._tcp.pbx.test.',
        '10 10 "S" "sips+d2t" "" _sips._tcp.elsewhere.test.',
        '5 10 "s" "SIP+D2S" "" _sip._sctp.pbx.test.',  # a transport that we do not speak
        '5 10 "u" "E2U+sip" "!^.*$!sip:x@pbx.test!" .',
    ]
    srv = {
        "_sip._udp.pbx.test": [(10, 5060, "localhost")],
        "_sip._tcp.pbx.test": [(10, 5070, "localhost")],
        "_sips._tcp.elsewhere.test": [(20, 5091, "localhost"), (10, 5081, "localhost")],
    }
    assert await targets_of(SipServer("pbx.test"), srv, {"pbx.test": naptr}) == [("tls", 5081), ("tls", 5091)]
    del srv["_sips._tcp.elsewhere.test"]
    assert await targets_of(SipServer("pbx.test"), srv, {"pbx.test": naptr}) == [("tcp", 5070)]
    # a transport that was asked for is not chosen otherwise
    assert await targets_of(SipServer("pbx.test", None, "udp"), srv, {"pbx.test": naptr}) == [("udp", 5060)]


async def test_tls_by_srv_and_without() -> None:
    srv = {"_sips._tcp.pbx.test": [(10, 5081, "localhost")]}
    assert await targets_of(SipServer("pbx.test"), srv) == [("tls", 5081)]
    assert await targets_of(SipServer("pbx.test", None, "tls"), srv) == [("tls", 5081)]
    assert await targets_of(SipServer("localhost", None, "tls"), {}) == [("tls", 5061)]
    assert await targets_of(SipServer("localhost", None, "wss"), {}) == [("wss", 443)]


async def targets_of(
    server: SipServer, srv: dict[str, list[tuple[int, int, str]]], naptr: dict[str, list[str]] | None = None
) -> list[tuple[str, int]]:
    async with dns_server(srv, naptr) as port:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = port
        found = await resolve_server(server, timeout_s=2, resolver=resolver)
    return [(one.transport, one.port) for one in found if one.host == "127.0.0.1"]


async def test_dead_name_servers_are_asked_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = silent.getsockname()[1]
        async with asyncio.timeout(3):
            found = await resolve_server(SipServer("localhost"), timeout_s=0.5, resolver=resolver)
    assert ("udp", 5060) in [(one.transport, one.port) for one in found]


@contextlib.asynccontextmanager
async def dns_server(
    records: dict[str, list[tuple[int, int, str]]], naptr: dict[str, list[str]] | None = None
) -> AsyncIterator[int]:
    """Answer SRV and NAPTR queries on loopback."""

    class Dns(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            query = dns.message.from_wire(data)
            response = dns.message.make_response(query)
            name = query.question[0].name
            if query.question[0].rdtype == dns.rdatatype.NAPTR:
                lines = (naptr or {}).get(name.to_text(omit_final_dot=True), [])
                if lines:
                    response.answer.append(dns.rrset.from_text(name, 60, "IN", "NAPTR", *lines))
            elif found := records.get(name.to_text(omit_final_dot=True)):
                texts = [f"{priority} 1 {port} {target}." for priority, port, target in found]
                response.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *texts))
            else:
                response.set_rcode(dns.rcode.NXDOMAIN)
            self.transport.sendto(response.to_wire(), addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Dns, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
