"""SIP over TLS and secure WebSocket: our user agent against our user agent, with certificates good and bad."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gateway.domain.errors import ConfigError, Unavailable
from gateway.protocol.sip.digest import DigestClient
from gateway.sip import (
    Answered,
    Ended,
    Endpoint,
    EndpointSettings,
    Failed,
    IncomingInvite,
    OutgoingInvite,
    RegistrationState,
    SipServer,
    SipStack,
    StackSettings,
)
from gateway.sip.tls import TlsSettings
from tests.support.certificates import Authority, Pem
from tests.support.ports import free_ports
from tests.support.sip_ua import ALICE, ANSWER, OFFER, quick_settings

pytestmark = pytest.mark.integration


@dataclass
class Side:
    """One user agent with its account."""

    stack: SipStack
    endpoint: Endpoint
    calls: asyncio.Queue[IncomingInvite] = field(default_factory=asyncio.Queue)
    back: asyncio.Queue[IncomingInvite] = field(default_factory=asyncio.Queue)

    async def up(self, other: Side) -> tuple[OutgoingInvite, IncomingInvite]:
        call = self.endpoint.invite(user="551188887777", sdp=OFFER, caller=ALICE)
        incoming = await asyncio.wait_for(other.calls.get(), 5)
        await incoming.answer(ANSWER)
        assert isinstance(await asyncio.wait_for(call.next_event(), 5), Answered)
        return call, incoming

    async def wait(self, condition: Callable[[], bool]) -> None:
        changed = asyncio.Event()
        self.endpoint.on_status = changed.set
        async with asyncio.timeout(10):
            while not condition():
                changed.clear()
                await changed.wait()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def tls_settings(authority: Authority, own: Pem | None = None, *, verify_clients: bool = False) -> TlsSettings:
    files = {"certificate": str(own.certificate), "key": str(own.key)} if own else {}
    return TlsSettings(ca_file=str(authority.file), verify_clients=verify_clients, **files)


@contextlib.asynccontextmanager
async def called(transport: str, tls: TlsSettings, settings: StackSettings | None = None) -> AsyncIterator[Side]:
    ports = {one: 0 if one == transport else None for one in ("tls", "ws", "wss")}
    stack = SipStack(
        replace(
            settings or quick_settings(), tls=tls, shared_host="127.0.0.1", tls_port=ports["tls"], ws_port=ports["ws"],
            wss_port=ports["wss"],
        )
    )  # fmt: skip
    await stack.start()
    try:
        calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
        endpoint = await stack.add_endpoint(
            EndpointSettings(listen_port=0, listen_host="127.0.0.1", listen_user="pbx", listen_secret="geheim"),
            calls.put_nowait,
        )
        yield Side(stack, endpoint, calls)
    finally:
        await stack.close()


@contextlib.asynccontextmanager
async def calling(
    other: Side, transport: str, tls: TlsSettings, *, host: str = "localhost", user: str = "",
    settings: StackSettings | None = None,
) -> AsyncIterator[Side]:  # fmt: skip
    stack = SipStack(replace(settings or quick_settings(), tls=tls))
    await stack.start()
    try:
        server = SipServer(host, other.stack.shared_numbers()[transport], transport)
        calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
        endpoint = await stack.add_endpoint(
            EndpointSettings(server=server, user=user, listen_port=0, listen_host="127.0.0.1", contact_user="gw"),
            calls.put_nowait,
        )
        endpoint._auth = DigestClient("pbx", "geheim", stack.token)
        yield Side(stack, endpoint, calls)
    finally:
        await stack.close()


@pytest.mark.parametrize("transport", ["tls", "wss", "ws"])
async def test_a_call_with_requests_both_ways(authority: Authority, transport: str) -> None:
    own = authority.issue("localhost")
    async with (
        called(transport, tls_settings(authority, own)) as one,
        calling(one, transport, tls_settings(authority)) as two,
    ):
        await two.endpoint.probe(3)
        call, incoming = await two.up(one)
        assert incoming.request_user == "551188887777"
        await call.bye()
        assert isinstance(await asyncio.wait_for(incoming.next_event(), 5), Ended)
        call, incoming = await two.up(one)
        await incoming.bye()  # back over the connection that the caller opened
        assert isinstance(await asyncio.wait_for(call.next_event(), 5), Ended)
        assert sum(len(port._live) for port in one.stack._shared.values()) == 1, "one connection carries everything"
        assert f"also by {transport.upper()} on port" in one.endpoint.listener.detail


async def test_a_wrong_password_is_refused_over_tls_too(authority: Authority) -> None:
    async with (
        called("tls", tls_settings(authority, authority.issue("localhost"))) as one,
        calling(one, "tls", tls_settings(authority)) as two,
    ):
        two.endpoint._auth = DigestClient("pbx", "falsch", two.stack.token)
        call = two.endpoint.invite(user="1", sdp=OFFER, caller=ALICE)
        assert await asyncio.wait_for(call.next_event(), 5) == Failed(401, "Unauthorized")
        assert one.calls.empty()


async def test_accounts_with_one_listen_user_are_not_mixed_up(authority: Authority) -> None:
    async with (
        called("tls", tls_settings(authority, authority.issue("localhost"))) as one,
        calling(one, "tls", tls_settings(authority)) as two,
    ):
        other = await one.stack.add_endpoint(
            replace(one.endpoint.settings, listen_port=free_ports()), one.calls.put_nowait
        )
        assert "another account has the same sipListenUser" in other.listener.detail
        call = two.endpoint.invite(user="1", sdp=OFFER, caller=ALICE)
        assert await asyncio.wait_for(call.next_event(), 5) == Failed(401, "Unauthorized")
        await other.close()
        await two.up(one)


@pytest.mark.parametrize("transport", ["tls", "wss"])
@pytest.mark.parametrize(
    ("names", "days", "trusted", "sentence"),
    [
        (("pbx.example.com",), (-1, 10), True, "certificate is not for localhost"),
        (("localhost",), (-20, -10), True, "certificate has expired"),
        (("localhost",), (10, 20), True, "certificate is not valid yet"),
        (("localhost",), (-1, 10), False, "not from a trusted authority; set sip_ca_file"),
    ],
)
async def test_a_bad_certificate_is_refused_and_named(
    authority: Authority, tmp_path: Path, transport: str, names: tuple[str, ...], days: tuple[float, float],
    trusted: bool, sentence: str,
) -> None:  # fmt: skip
    trust = authority if trusted else Authority(tmp_path / "other", "Other authority")
    async with (
        called(transport, tls_settings(authority, authority.issue(*names, days=days))) as one,
        calling(one, transport, tls_settings(trust), user="gw") as two,
    ):
        await two.wait(lambda: two.endpoint.registration.state is RegistrationState.FAILED)
        assert sentence in two.endpoint.registration.detail
        with pytest.raises(Unavailable, match=sentence):
            await two.endpoint.probe(3)
        call = two.endpoint.invite(user="1", sdp=OFFER, caller=ALICE)
        assert await asyncio.wait_for(call.next_event(), 5) == Failed(503, "Service Unavailable")
        assert one.stack.agent.counts["requests"] == 0, "nothing was sent to whom we do not trust"


async def test_an_address_needs_a_certificate_for_it(authority: Authority) -> None:
    tls = tls_settings(authority)
    async with called("tls", tls_settings(authority, authority.issue("127.0.0.1"))) as one:
        async with calling(one, "tls", tls, host="127.0.0.1") as two:
            await two.endpoint.probe(3)
        async with calling(one, "tls", tls) as two:
            with pytest.raises(Unavailable, match="not for localhost"):
                await two.endpoint.probe(3)


async def test_client_certificates(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other", "Other authority").issue("gw")
    own = authority.issue("localhost")
    async with called("tls", tls_settings(authority, own, verify_clients=True)) as one:
        async with calling(one, "tls", tls_settings(authority, authority.issue("gw"))) as two:
            await two.endpoint.probe(3)
            await two.up(one)
        for wrong in (None, stranger):
            async with calling(one, "tls", tls_settings(authority, wrong)) as two:
                with pytest.raises(Unavailable, match="may want a client certificate"):
                    await two.endpoint.probe(3)


async def test_old_tls_is_refused(authority: Authority) -> None:
    async with called("tls", tls_settings(authority, authority.issue("localhost"))) as one:
        port = one.stack.shared_numbers()["tls"]
        context = ssl.create_default_context(cafile=str(authority.file))
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.close()
        await writer.wait_closed()
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=outdated(context), server_hostname="localhost")


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context speak TLS 1.1 and nothing newer."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@contextlib.asynccontextmanager
async def blocking_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    """Take one TLS connection by OpenSSL alone, which says why it refuses one; asyncio closes without a word."""

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(5)
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as tls:
            with contextlib.suppress(ssl.SSLError):
                tls.do_handshake()
            while socket.socket.recv(tls, 4096):  # closing with bytes unread would destroy the alert on its way
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        work = asyncio.create_task(asyncio.to_thread(serve))
        yield listener.getsockname()[1]
        await work


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("old", "does not speak TLS 1.2 or newer"),
        ("no certificate", "it may want a client certificate"),
        ("no certificate, TLS 1.2", "it may want a client certificate"),
        ("certificate of a stranger", "did not accept our certificate"),
    ],
)
async def test_what_a_server_says_against_us(authority: Authority, tmp_path: Path, case: str, sentence: str) -> None:
    own = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    if case == "old":
        outdated(context)
    else:
        context.load_verify_locations(authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
    if case.endswith("1.2"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    stranger = Authority(tmp_path / "other", "Other authority").issue("gw") if "stranger" in case else None
    stack = SipStack(replace(quick_settings(), tls=tls_settings(authority, stranger)))
    await stack.start()
    try:
        async with blocking_server(context) as port:
            endpoint = await stack.add_endpoint(
                EndpointSettings(server=SipServer("localhost", port, "tls"), listen_port=None), lambda call: None
            )
            with pytest.raises(Unavailable, match=sentence):
                await endpoint.probe(5)
    finally:
        await stack.close()


async def test_no_tls_on_the_other_side(authority: Authority) -> None:
    async with (
        called("ws", TlsSettings()) as one,
        calling(one, "ws", tls_settings(authority)) as two,
    ):
        server = SipServer("localhost", one.stack.shared_numbers()["ws"], "tls")
        await two.endpoint.update(replace(two.endpoint.settings, server=server))
        with pytest.raises(Unavailable, match="may not speak TLS"):
            await two.endpoint.probe(3)


async def test_wrong_files_are_told_at_start(authority: Authority, tmp_path: Path) -> None:
    own = authority.issue("localhost")
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for tls, field_name in (
        (TlsSettings(), "sip_tls_certificate"),
        (TlsSettings(certificate=str(own.certificate)), "sip_tls_certificate"),  # no key in that file
        (TlsSettings(certificate=str(own.certificate), key=str(tmp_path / "none")), "sip_tls_certificate"),
        (TlsSettings(ca_file=str(bad)), "sip_ca_file"),
        (TlsSettings(ca_file=str(tmp_path / "none")), "sip_ca_file"),
    ):
        stack = SipStack(replace(quick_settings(), tls=tls, tls_port=0))
        with pytest.raises(ConfigError) as caught:
            await stack.start()
        assert caught.value.field == field_name
        await stack.close()


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    old, new = authority.issue("localhost", days=(-20, -1)), authority.issue("localhost")
    settings = replace(quick_settings(), certificate_check_s=0.05)
    async with (
        called("tls", tls_settings(authority, old), settings) as one,
        calling(one, "tls", tls_settings(authority)) as two,
    ):
        with pytest.raises(Unavailable, match="has expired"):
            await two.endpoint.probe(3)
        for half in (True, False):
            old.certificate.write_bytes(new.certificate.read_bytes())
            os.utime(old.certificate, (1, 1 + half))
            if not half:
                old.key.write_bytes(new.key.read_bytes())
            await asyncio.sleep(0.3)
            if half:
                with pytest.raises(Unavailable, match="has expired"):
                    await two.endpoint.probe(3)
        await two.endpoint.probe(3)


async def test_a_shared_port_that_is_taken(authority: Authority) -> None:
    tls = tls_settings(authority, authority.issue("localhost"))
    async with called("tls", tls) as one:
        number = one.stack.shared_numbers()["tls"]
        stack = SipStack(replace(quick_settings(), tls=tls, tls_port=number, shared_host="127.0.0.1"))
        with pytest.raises(ConfigError, match=f"Port {number} is in use") as caught:
            await stack.start()
        assert caught.value.field == "sip_tls_port"
        await stack.close()


@pytest.mark.parametrize("transport", ["tls", "ws"])
async def test_an_idle_connection_is_kept_alive(authority: Authority, transport: str) -> None:
    quick = replace(quick_settings(), keep_alive_s=0.05, pong_timeout_s=0.1)
    async with (
        called(transport, tls_settings(authority, authority.issue("localhost"))) as one,
        calling(one, transport, tls_settings(authority), settings=quick) as two,
    ):
        await two.endpoint.probe(3)
        assert two.endpoint.port is not None
        (connection,) = two.endpoint.port._live
        before_s = connection._heard_s
        await asyncio.sleep(0.5)  # ten times the idle time
        assert connection._heard_s > before_s + 0.1, "the peer's pongs"
        assert connection._wire.answers_pings
        assert connection.usable


async def test_a_peer_that_stops_answering_pings_is_noticed() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")  # the OPTIONS, which gets no answer
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stack = SipStack(replace(quick_settings(), keep_alive_s=0.05, pong_timeout_s=0.1))
    await stack.start()
    try:
        endpoint = await stack.add_endpoint(
            EndpointSettings(server=SipServer("127.0.0.1", port, "tcp"), listen_port=None), lambda call: None
        )
        with pytest.raises(Unavailable, match="does not answer on its connection any more"):
            await endpoint.probe(5)
    finally:
        await stack.close()
        server.close()
        await server.wait_closed()
