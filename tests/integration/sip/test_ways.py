"""Which way requests go: long ones by TCP, and to the next address when one is dead."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import cast

import pytest

from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.message import IncomingRequest, parse_message
from gateway.sip import Answered, Ended, Endpoint, EndpointSettings, Failed, SipServer, SipStack, StackSettings
from gateway.sip.resolver import Target
from tests.support.ports import free_ports
from tests.support.sip_ua import ALICE, ANSWER, OFFER, quick_settings, ua_pair

pytestmark = pytest.mark.integration

LONG = [("X-Long", "x" * 1300)]


async def test_a_long_call_goes_by_tcp_and_a_short_end_by_udp() -> None:
    async with ua_pair() as pair:
        call = pair.caller.invite(user="551188887777", sdp=OFFER, caller=ALICE, headers=LONG)
        incoming = await asyncio.wait_for(pair.calls.get(), 5)
        assert pair.caller.port is not None
        assert [key[0] for key in pair.caller.port.connections] == ["tcp"]
        await incoming.answer(ANSWER)
        assert isinstance(await asyncio.wait_for(call.next_event(), 5), Answered)
        await call.bye()
        assert isinstance(await asyncio.wait_for(incoming.next_event(), 5), Ended)


@pytest.fixture
async def caller() -> AsyncIterator[Endpoint]:
    stack = SipStack(quick_settings())
    await stack.start()
    try:
        yield await stack.add_endpoint(
            EndpointSettings(server=SipServer("127.0.0.1", free_ports()), listen_port=None), lambda call: None
        )
    finally:
        await stack.close()


@contextlib.contextmanager
def tcp_refused(port: int) -> Iterator[None]:
    """Nobody listens."""
    yield


@contextlib.contextmanager
def tcp_dropped(port: int) -> Iterator[None]:
    """As behind a firewall that drops: with a full queue the kernel leaves the next SYN without an answer."""
    with contextlib.ExitStack() as held:
        server = held.enter_context(socket.socket())
        server.bind(("127.0.0.1", port))
        server.listen(0)
        for _ in range(4):
            client = held.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield


@pytest.mark.parametrize("tcp", [tcp_refused, tcp_dropped])
async def test_a_long_call_reaches_a_server_without_tcp(
    caller: Endpoint, tcp: Callable[[int], AbstractContextManager[None]]
) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Server(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            received.put_nowait(data)

    assert caller.settings.server is not None
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Server, local_addr=("127.0.0.1", caller.settings.server.effective_port)
    )
    try:
        with tcp(caller.settings.server.effective_port):
            caller.invite(user="1", sdp=OFFER, caller=ALICE, headers=LONG)
            # sooner than a connection is given up that has no other way
            data = await asyncio.wait_for(received.get(), StackSettings().connect_timeout_s - 0.5)
    finally:
        transport.close()
    invite = parse_message(data)
    assert isinstance(invite, IncomingRequest)
    assert (invite.method, invite.via.transport) == ("INVITE", "UDP")
    assert len(data) > 1300


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_goes_on_to_the_next_address(transport: str) -> None:
    async with ua_pair(transport, settings=quick_settings()) as pair:
        live = pair.callee.listener.port
        dead = free_ports()
        pair.caller._take_targets([Target(transport, "127.0.0.1", port) for port in (dead, live)])
        call = pair.dial()
        incoming = await asyncio.wait_for(pair.calls.get(), 8)
        await incoming.answer(ANSWER)
        assert isinstance(await asyncio.wait_for(call.next_event(), 5), Answered)
        await call.bye()
        assert isinstance(await asyncio.wait_for(incoming.next_event(), 5), Ended)


async def test_a_call_fails_when_every_address_is_dead(caller: Endpoint) -> None:
    ports = [free_ports() for _ in range(3)]
    caller._take_targets([Target("tcp", "127.0.0.1", port) for port in ports])
    caller._auth = DigestClient("a", "b", lambda: "t")
    call = caller.invite(user="1", sdp=OFFER, caller=ALICE)
    failed = await asyncio.wait_for(call.next_event(), 8)
    assert cast(Failed, failed).status == 503
