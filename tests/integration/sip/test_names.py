"""From names to addresses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import dns.asyncresolver
import dns.message
import dns.rcode
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


@contextlib.asynccontextmanager
async def dns_server(records: dict[str, list[tuple[int, int, str]]]) -> AsyncIterator[int]:
    """Answer SRV queries on loopback."""

    class Dns(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            query = dns.message.from_wire(data)
            response = dns.message.make_response(query)
            name = query.question[0].name
            if found := records.get(name.to_text(omit_final_dot=True)):
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
