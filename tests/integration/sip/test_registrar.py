"""Registering with a registrar of a few lines, where SIPp and kamailio cannot be made to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest

from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import IncomingRequest, make_response, parse_message, to_bytes
from gateway.sip import (
    Endpoint,
    EndpointSettings,
    IncomingInvite,
    RegistrationState,
    SipServer,
    SipStack,
)
from tests.support.sip_ua import quick_settings

pytestmark = pytest.mark.integration


@dataclass
class Registrar:
    """Answers each REGISTER; over TCP it can drop its connections."""

    port: int = 0
    registers: list[IncomingRequest] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    silent: bool = False
    pings: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, data: bytes, remote: tuple[str, int], transport: str) -> bytes | None:
        if data == b"\r\n\r\n":
            self.pings += 1
            self.changed.set()
            return None
        request = parse_message(data)
        assert isinstance(request, IncomingRequest)
        assert request.method == "REGISTER"
        self.registers.append(request)
        self.changed.set()
        if self.silent:
            return None
        flow = Flow(transport, 1, ("127.0.0.1", self.port), remote)
        extra = [("Contact", value) for value in request.headers.getlist("Contact")]
        return to_bytes(make_response(200, request.headers, request.via, flow, to_tag="r", extra=extra))

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def udp_registrar() -> AsyncIterator[Registrar]:
    one = Registrar()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            if (answer := one.answer(data, addr, "udp")) is not None:
                transport.sendto(answer, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
    one.port = transport.get_extra_info("sockname")[1]
    try:
        yield one
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def tcp_registrar() -> AsyncIterator[Registrar]:
    one = Registrar()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        one.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                data = await reader.readuntil(b"\r\n\r\n")
                if (answer := one.answer(data, writer.get_extra_info("peername"), "tcp")) is not None:
                    writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        for writer in one.writers:
            writer.close()
        server.close()
        await asyncio.sleep(0.01)


def ignore(call: IncomingInvite) -> None:
    """Take no call."""


@contextlib.asynccontextmanager
async def registered(
    one: Registrar, transport: str, host: str = "127.0.0.1", udp_keep_alive_s: float = 25
) -> AsyncIterator[Endpoint]:
    stack = SipStack(replace(quick_settings(), udp_keep_alive_s=udp_keep_alive_s))
    await stack.start()
    try:
        endpoint = await stack.add_endpoint(
            EndpointSettings(
                server=SipServer(host, one.port, transport), user="gw", password="geheim", listen_port=0,
                listen_host="127.0.0.1", register_retry_base_s=0.1,
            ),
            ignore,
        )  # fmt: skip
        endpoint.on_status = one.changed.set
        await one.wait(lambda: endpoint.registration.state is RegistrationState.REGISTERED)
        yield endpoint
    finally:
        await stack.close()


async def test_a_lost_connection_registers_again() -> None:
    async with tcp_registrar() as one, registered(one, "tcp"):
        one.writers[0].close()
        await one.wait(lambda: len(one.registers) == 2)
        assert len(one.writers) == 2


async def test_closing_unregisters() -> None:
    async with udp_registrar() as one:
        async with registered(one, "udp") as endpoint:
            contact = one.registers[0].header("Contact")
            assert contact == f"<sip:gw@127.0.0.1:{endpoint.listener.port}>;expires=300"
        assert one.registers[-1].header("Expires") == "0"


async def test_the_way_back_stays_open_while_registered_over_udp() -> None:
    async with udp_registrar() as one, registered(one, "udp", udp_keep_alive_s=0.02) as endpoint:
        await one.wait(lambda: one.pings >= 3)
        assert len(one.registers) == 1
        endpoint.set_available(False)
        await one.wait(lambda: endpoint.registration.state is RegistrationState.DISABLED)
        await asyncio.sleep(0.1)  # one that was under way arrives
        before = one.pings
        await asyncio.sleep(0.2)  # ten times the pause
        assert one.pings == before


async def test_a_server_by_name() -> None:
    async with udp_registrar() as one, registered(one, "udp", "localhost") as endpoint:
        assert one.registers[0].uri.raw == f"sip:localhost:{one.port}"
        assert endpoint.local_address_for_server() == "127.0.0.1"


async def test_changed_password_gives_the_binding_up_before_taking_it_again() -> None:
    async with udp_registrar() as one, registered(one, "udp") as endpoint:
        await endpoint.update(replace(endpoint.settings, password="neu"))
        await one.wait(lambda: endpoint.registration.state is RegistrationState.REGISTERED)
        assert [request.header("Expires") for request in one.registers] == ["300", "0", "300"]


async def test_what_only_callers_see_leaves_the_registration_alone() -> None:
    async with udp_registrar() as one, registered(one, "udp") as endpoint:
        await endpoint.update(replace(endpoint.settings, listen_user="pbx", listen_secret="x", contact_user="gw"))
        assert endpoint.registration.state is RegistrationState.REGISTERED
        assert len(one.registers) == 1


async def test_moving_to_another_server_does_not_wait_for_the_old_one() -> None:
    async with udp_registrar() as old, udp_registrar() as new, registered(old, "udp") as endpoint:
        old.silent = True
        await endpoint.update(replace(endpoint.settings, server=SipServer("127.0.0.1", new.port, "udp")))
        endpoint.on_status = new.changed.set
        await new.wait(lambda: endpoint.registration.state is RegistrationState.REGISTERED)
        await old.wait(lambda: old.registers[-1].header("Expires") == "0")


async def test_an_endpoint_that_is_unavailable_from_the_start_never_registers() -> None:
    async with udp_registrar() as one:
        stack = SipStack(quick_settings())
        await stack.start()
        try:
            settings = EndpointSettings(server=SipServer("127.0.0.1", one.port), user="gw", listen_port=None)
            endpoint = await stack.add_endpoint(settings, ignore)
            assert endpoint.registration.state == "trying"
            endpoint.set_available(False, "This is a check")
            await asyncio.sleep(0.1)
            assert endpoint.registration.detail == "This is a check"
        finally:
            await stack.close()
        assert one.registers == []


async def test_unavailable_withdraws_and_comes_back() -> None:
    async with udp_registrar() as one, registered(one, "udp") as endpoint:
        endpoint.set_available(False, "WhatsApp Web is not ready")
        await one.wait(lambda: one.registers[-1].header("Expires") == "0")
        assert endpoint.registration.detail == "WhatsApp Web is not ready"
        endpoint.set_available(True)
        await one.wait(lambda: endpoint.registration.state is RegistrationState.REGISTERED)
