"""Ports, connections and what strangers send, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.domain.errors import ConfigError, LocalProtocolError, PeerTimeout, Refused, Unavailable
from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.flow import Flow
from gateway.sip import (
    Answered,
    Caller,
    Ended,
    Endpoint,
    EndpointSettings,
    Failed,
    IncomingInvite,
    Info,
    PortInUse,
    ReInvite,
    Ringing,
    SipServer,
    SipStack,
    StackSettings,
)
from tests.support.ports import free_ports
from tests.support.sip_lab import request_text
from tests.support.sip_mutate import mutated
from tests.support.sip_ua import ALICE, ANSWER, OFFER, quick_settings, ua_pair

pytestmark = pytest.mark.integration

LOOPBACK = SipServer("127.0.0.1")
PROTECTED = EndpointSettings(listen_port=0, listen_host="127.0.0.1", listen_user="pbx", listen_secret="geheim")


def ignore(call: IncomingInvite) -> None:
    """Take no call."""


@pytest.fixture
async def stack() -> AsyncIterator[SipStack]:
    one = SipStack(quick_settings())
    await one.start()
    try:
        yield one
    finally:
        await one.close()


def settings(port: int, user: str = "pbx", **more: object) -> EndpointSettings:
    values: dict[str, object] = {"listen_port": port, "listen_user": user, **more}
    return replace(PROTECTED, **values)  # type: ignore[arg-type]


class Udp(asyncio.DatagramProtocol):
    """A bare UDP peer."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data)


@contextlib.asynccontextmanager
async def udp_peer() -> AsyncIterator[tuple[asyncio.DatagramTransport, Udp]]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Udp, local_addr=("127.0.0.1", 0))
    try:
        yield transport, protocol
    finally:
        transport.close()


async def test_no_datagram_stops_the_listener() -> None:
    async with ua_pair() as pair, udp_peer() as (peer, protocol):
        rng = random.Random(1)
        target = ("127.0.0.1", pair.callee.listener.port)
        seeds = [request_text(body=OFFER), request_text("OPTIONS"), request_text("ACK", to_tag="x")]
        bad_via = request_text("OPTIONS", via="Via: SIP/2.0/UDP 127.0.0.1:99999;branch=z9hG4bKx")
        peer.sendto(bad_via.encode(), target)
        peer.sendto(bad_via.replace("99999", "name.invalid:1").encode(), target)
        for number in range(3000):
            peer.sendto(mutated(rng.choice(seeds).encode(), rng)[:60_000], target)
            if number % 50 == 0:
                await asyncio.sleep(0.002)  # the receive buffer is not endless
        for junk in (b"", b"\0\0", b"\r\n\r\n", rng.randbytes(60_000), b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"x" * 12):
            peer.sendto(junk, target)
        call, incoming = await pair.up()
        await call.bye()
        assert isinstance(await incoming.next_event(), Ended)
        assert not protocol.received.empty()


async def test_no_stream_stops_the_listener() -> None:
    async with ua_pair("tcp") as pair:
        rng = random.Random(2)
        for _ in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", pair.callee.listener.port)
            writer.write(mutated(request_text(body=OFFER).encode(), rng) * 2)
            if rng.random() < 0.5:
                writer.write_eof()
                await asyncio.wait_for(reader.read(), 5)
            writer.close()
        call, _ = await pair.up()
        await call.bye()


async def test_stream_details() -> None:
    limits = replace(quick_settings(), max_connections=2, partial_message_s=0.2, connection_idle_s=0.3)
    async with ua_pair("tcp", settings=limits) as pair:
        port = pair.callee.listener.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\r\n\r\n")  # keep-alive
        assert await asyncio.wait_for(reader.readexactly(2), 5) == b"\r\n"
        text = request_text("OPTIONS", via="Via: SIP/2.0/TCP 192.0.2.20;branch=z9hG4bK1").encode()
        for byte in text:
            writer.write(bytes([byte]))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"SIP/2.0 200 OK")
        assert b";received=127.0.0.1" in head
        second_reader, second = await asyncio.open_connection("127.0.0.1", port)
        third_reader, third = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(third_reader.read(), 5) == b""  # one too many
        second.write(b"OPTIONS sip:x SIP/2.0\r\n")
        assert await asyncio.wait_for(second_reader.read(), 5) == b""  # the rest never came
        assert await asyncio.wait_for(reader.read(), 5) == b""  # idle
        for one in (writer, second, third):
            one.close()


async def test_too_long_for_a_stream() -> None:
    async with ua_pair("tcp") as pair:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.callee.listener.port)
        writer.write(b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 99999999\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_reader_that_does_not_read_is_cut_off() -> None:
    limits = replace(quick_settings(), max_unsent_bytes=20_000)
    async with ua_pair("tcp", settings=limits) as pair:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", pair.callee.listener.port))
        plain.setblocking(False)
        _, writer = await asyncio.open_connection(sock=plain, limit=1)
        subject = "x" * 10_000
        text = request_text("OPTIONS", via="Via: SIP/2.0/TCP 192.0.2.20;branch=z9hG4bK1", call_id=subject).encode()
        async with asyncio.timeout(10):
            while not writer.is_closing():
                writer.write(text)
                with contextlib.suppress(OSError):
                    await writer.drain()
                await asyncio.sleep(0)
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_port_in_use_is_named(stack: SipStack) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            await stack.add_endpoint(settings(port), ignore)
        with pytest.raises(PortInUse, match=str(port)):
            await stack.check_endpoint(settings(port))
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        await stack.add_endpoint(replace(PROTECTED, listen_host="192.0.2.1"), ignore)
    await stack.check_endpoint(settings(port))
    await stack.check_endpoint(EndpointSettings(listen_port=None))
    endpoint = await stack.add_endpoint(settings(port), ignore)
    assert endpoint.listener.port == port
    await stack.check_endpoint(settings(port, "other"))
    await stack.check_endpoint(settings(port), replacing=endpoint)
    with pytest.raises(ConfigError):
        await stack.check_endpoint(settings(port))


async def test_accounts_share_a_port(stack: SipStack) -> None:
    first = await stack.add_endpoint(settings(0, "anna"), ignore)
    port = first.listener.port
    rings: asyncio.Queue[IncomingInvite] = asyncio.Queue()
    second = await stack.add_endpoint(settings(port, "bert", listen_secret="b"), rings.put_nowait)
    assert second.listener.port == port
    with pytest.raises(ConfigError) as caught:
        await stack.add_endpoint(settings(port, "anna"), ignore)
    assert caught.value.field == "sipListenUser"
    server = SipServer("192.0.2.20")
    await stack.add_endpoint(settings(port, "", server=server), ignore)
    with pytest.raises(ConfigError):
        await stack.add_endpoint(settings(port, "", server=server), ignore)
    with pytest.raises(ConfigError):
        await second.update(settings(port, "anna"))
    async with caller_of(port, "bert", "b") as caller:
        call = caller.invite(user="4930", sdp=OFFER, caller=ALICE)
        incoming = await asyncio.wait_for(rings.get(), 5)
        await first.close()  # the other account's port stays
        await incoming.answer(ANSWER)
        assert isinstance(await asyncio.wait_for(call.next_event(), 5), Answered)
        await call.bye()


@contextlib.asynccontextmanager
async def caller_of(port: int, user: str, password: str) -> AsyncIterator[Endpoint]:
    from gateway.protocol.sip.digest import DigestClient

    one = SipStack(quick_settings())
    await one.start()
    try:
        endpoint = await one.add_endpoint(
            EndpointSettings(server=SipServer("127.0.0.1", port), listen_port=None), ignore
        )
        assert endpoint.listener.state == "off"
        endpoint._auth = DigestClient(user, password, one.token)
        yield endpoint
    finally:
        await one.close()


async def test_update_moves_the_listener_and_keeps_the_call() -> None:
    async with ua_pair() as pair:
        call, incoming = await pair.up()
        old = pair.callee.listener.port
        told: list[int] = []
        pair.callee.on_status = lambda: told.append(pair.callee.listener.port)
        await pair.callee.update(replace(pair.callee.settings, listen_port=free_ports(), listen_secret="neu"))
        assert pair.callee.listener.port != old
        assert told == [pair.callee.listener.port]
        await asyncio.sleep(0.5)  # longer than unused ports linger
        await incoming.bye()  # the call still has its port
        assert isinstance(await asyncio.wait_for(call.next_event(), 5), Ended)
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", old))
                    break
                await asyncio.sleep(0.05)


async def test_update_of_who_may_call_keeps_the_port() -> None:
    async with ua_pair() as pair:
        port = pair.callee.listener.port
        await pair.callee.update(replace(pair.callee.settings, listen_port=port, listen_secret="neu"))
        await pair.callee.update(pair.callee.settings)
        assert pair.callee.listener.port == port
        assert await asyncio.wait_for(pair.dial().next_event(), 5) == Failed(401, "Unauthorized")


async def test_endpoint_without_anybody_who_may_call(stack: SipStack) -> None:
    endpoint = await stack.add_endpoint(EndpointSettings(listen_port=0), ignore)
    assert endpoint.listener.state == "refused"
    assert "sipListenUser" in endpoint.listener.detail
    assert endpoint.registration.state == "disabled"
    with pytest.raises(Unavailable):
        endpoint.local_address_for_server()
    with pytest.raises(Unavailable):
        await endpoint.probe(1)
    call = endpoint.invite(user="1", sdp=OFFER, caller=Caller())
    assert isinstance(await asyncio.wait_for(call.next_event(), 5), Failed)
    assert isinstance(await call.next_event(), Failed)  # given again
    await endpoint.update(replace(PROTECTED, listen_secret="", server=LOOPBACK))
    assert endpoint.listener.state == "refused"
    assert "sipListenSecret" in endpoint.listener.detail
    await endpoint.update(PROTECTED)
    assert endpoint.listener.state == "listening"
    await endpoint.close()
    await endpoint.close()
    assert endpoint.listener.state == "off"


async def test_only_the_servers_address_may_call_without_password(stack: SipStack) -> None:
    rings: asyncio.Queue[IncomingInvite] = asyncio.Queue()
    endpoint = await stack.add_endpoint(settings(0, "", server=SipServer("127.0.0.9")), rings.put_nowait)
    assert "sipServer only" in endpoint.listener.detail
    port = endpoint.listener.port
    async with caller_of(port, "", "") as caller:
        failed = await asyncio.wait_for(caller.invite(user="1", sdp=OFFER, caller=ALICE).next_event(), 5)
        assert failed == Failed(403, "Forbidden")
        await endpoint.update(settings(port, "", server=SipServer("127.0.0.1")))
        call = caller.invite(user="1", sdp=OFFER, caller=Caller())
        incoming = await asyncio.wait_for(rings.get(), 5)
        assert incoming.caller_user == ""  # anonymous
        await incoming.bye()
        assert await asyncio.wait_for(call.next_event(), 5) == Failed(480, "Temporarily Unavailable")


async def test_accounts_whose_server_is_the_same_host_are_told_apart_or_refused(stack: SipStack) -> None:
    first = await stack.add_endpoint(settings(0, "", server=SipServer("127.0.0.1")), ignore)
    assert first.listener.state == "listening"
    port = first.listener.port
    second = await stack.add_endpoint(settings(port, "", server=SipServer("localhost", 5060)), ignore)
    await asyncio.wait_for(second._resolved.wait(), 5)
    assert first.listener.state == second.listener.state == "refused"
    assert "sipListenUser" in first.listener.detail
    await second.close()
    assert first.listener.state == "listening"


async def test_a_peer_that_closes_its_connection_is_not_called_back() -> None:
    async with ua_pair("tcp") as pair:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        own = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", pair.callee.listener.port)
        text = request_text("OPTIONS", via=f"Via: SIP/2.0/TCP 127.0.0.1:{own};branch=z9hG4bK1")
        flow = Flow("tcp", 1, ("127.0.0.1", pair.callee.listener.port), writer.get_extra_info("sockname"), None, False)
        writer.close()
        await writer.wait_closed()
        port = pair.callee.port
        assert port is not None
        port.send(flow, text.encode())
        assert not port._connecting
        server.close()


async def test_probe_and_unavailable() -> None:
    async with ua_pair() as pair:
        await pair.caller.probe(3)
        pair.callee.set_available(False, "WhatsApp Web is not ready")
        pair.callee.set_available(False, "WhatsApp Web is not ready")
        with pytest.raises(Refused, match="503"):
            await pair.caller.probe(3)
        failed = await asyncio.wait_for(pair.dial().next_event(), 5)
        assert isinstance(failed, Failed)
        assert failed.status == 503
        assert failed.reason is not None
        assert failed.reason.cause == 41


async def test_probe_of_a_dead_server(stack: SipStack) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        endpoint = await stack.add_endpoint(settings(0, server=SipServer("127.0.0.1", port)), ignore)
        with pytest.raises(PeerTimeout):
            await endpoint.probe(0.2)
        with pytest.raises(PeerTimeout):
            await endpoint.probe(20)
        closed = await stack.add_endpoint(settings(0, server=SipServer("127.0.0.1", port, "tcp")), ignore)
        with pytest.raises(Unavailable):
            await closed.probe(3)
        call = closed.invite(user="1", sdp=OFFER, caller=ALICE)
        assert await asyncio.wait_for(call.next_event(), 5) == Failed(503, "Service Unavailable")


async def test_cancel_before_the_name_is_resolved(stack: SipStack) -> None:
    endpoint = await stack.add_endpoint(settings(0, server=SipServer("no-such-name.invalid", 5060)), ignore)
    call = endpoint.invite(user="1", sdp=OFFER, caller=ALICE)
    assert call.sip_call_id
    await call.cancel()
    assert await call.next_event() == Failed(487, "Request Terminated")
    other = endpoint.invite(user="1", sdp=OFFER, caller=ALICE)
    assert isinstance(await asyncio.wait_for(other.next_event(), 10), Failed)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_ipv6(transport: str) -> None:
    with contextlib.suppress(OSError):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
        async with ua_pair(transport, host="::1") as pair:
            call, incoming = await pair.up()
            assert call.local_address == incoming.local_address == "::1"
            await incoming.bye()
            assert isinstance(await asyncio.wait_for(call.next_event(), 5), Ended)
        return
    pytest.skip("this machine has no IPv6")


async def test_both_families_on_one_port(stack: SipStack) -> None:
    endpoint = await stack.add_endpoint(replace(PROTECTED, listen_host="::"), ignore)
    async with caller_of(endpoint.listener.port, "pbx", "geheim") as caller:
        await caller.probe(3)


async def test_public_address(stack: SipStack) -> None:
    endpoint = await stack.add_endpoint(
        settings(0, server=SipServer("127.0.0.1", 5099), public_address="203.0.113.5"), ignore
    )
    assert endpoint.local_address_for_server() == "203.0.113.5"


async def test_a_flow_to_a_name(stack: SipStack) -> None:
    endpoint = await stack.add_endpoint(PROTECTED, ignore)
    port = endpoint.port
    assert port is not None
    async with udp_peer() as (peer, protocol):
        number = peer.get_extra_info("sockname")[1]
        local = ("127.0.0.1", port.number)
        port.send(Flow("udp", port.key, local, ("localhost", number)), b"hello")
        assert await asyncio.wait_for(protocol.received.get(), 5) == b"hello"
        port.send(Flow("udp", port.key, local, ("no-such-name.invalid", number)), b"x")
        port.send(Flow("tcp", port.key, local, ("no-such-name.invalid", number)), b"x")
        port.send(Flow("udp", port.key, local, ("127.0.0.1", 99999)), b"x")
        port.send(Flow("udp", port.key, local, ("::1", number)), b"x")
        port.send(Flow("udp", port.key, local, ("127.0.0.1", number)), b"x" * 70_000)
        port.send(Flow("udp", port.key, local, ("127.0.0.1", number)), b"still here")
        assert await asyncio.wait_for(protocol.received.get(), 5) == b"still here"


async def test_a_callback_that_fails_rejects_the_call() -> None:
    async with ua_pair() as pair:

        def fail(call: IncomingInvite) -> None:
            raise RuntimeError("broken")

        pair.callee.on_invite = fail
        assert await asyncio.wait_for(pair.dial().next_event(), 5) == Failed(500, "Server Internal Error")


async def test_a_slow_owner_loses_only_what_it_can_do_without() -> None:
    async with ua_pair(settings=replace(quick_settings(), max_events=4)) as pair:
        call, incoming = await pair.up()
        for number in range(10):
            call.deliver(Info("application/dtmf-relay", b"%d" % number))
        assert call.events_dropped == 6
        changing = asyncio.create_task(incoming.reinvite(OFFER))
        with pytest.raises(Refused, match="500"):
            await changing
        call.deliver(Ringing(180))
        await incoming.bye()
        events = [await asyncio.wait_for(call.next_event(), 5) for _ in range(5)]
        assert [type(event) for event in events] == [Info, Info, Info, Info, Ended]
        with pytest.raises(LocalProtocolError):
            await call.reinvite(OFFER)
        call.refuse_reinvite(ReInvite(None, 1), 488)  # too late, and harmless


async def test_caller_hangs_up_instead_of_acknowledging() -> None:
    async with ua_pair() as pair, udp_peer() as (peer, protocol):
        await pair.callee.update(
            replace(pair.callee.settings, listen_port=pair.callee.listener.port, listen_user="", server=LOOPBACK)
        )
        own = peer.get_extra_info("sockname")[1]
        more = {"via": f"Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK1", "contact": f"<sip:127.0.0.1:{own}>"}
        target = ("127.0.0.1", pair.callee.listener.port)
        peer.sendto(request_text(body=OFFER, **more).encode(), target)  # type: ignore[arg-type]
        incoming = await asyncio.wait_for(pair.calls.get(), 5)
        answering = asyncio.create_task(incoming.answer(ANSWER))
        while not (message := await asyncio.wait_for(protocol.received.get(), 5)).startswith(b"SIP/2.0 200"):
            pass
        tag = message.partition(b"To: ")[2].partition(b"\r\n")[0].partition(b"tag=")[2].decode()
        more["via"] += "2"
        peer.sendto(request_text("BYE", cseq=2, to_tag=tag, **more).encode(), target)
        with pytest.raises(Refused):
            await answering
        more["via"] += "3"
        peer.sendto(request_text(body=OFFER, call_id="c2", **more).encode(), target)  # type: ignore[arg-type]
        incoming = await asyncio.wait_for(pair.calls.get(), 5)
        with pytest.raises(PeerTimeout):  # no ACK ever
            await asyncio.wait_for(incoming.answer(ANSWER), 20)


async def test_the_stack_must_be_started() -> None:
    with pytest.raises(Unavailable):
        SipStack(StackSettings(core=AgentSettings())).now()
