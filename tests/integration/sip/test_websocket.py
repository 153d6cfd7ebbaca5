"""SIP over WebSocket (RFC 7118) as browsers speak it: JsSIP's messages through an ordinary WebSocket client."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from gateway.domain.errors import Unavailable
from gateway.protocol.sip.events import Caller, Failed
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse, parse_message
from gateway.sip import EndpointSettings, IncomingInvite, SipServer, SipStack
from tests.support.sip_lab import authorization, request_text, response_text
from tests.support.sip_ua import ANSWER, OFFER, quick_settings

pytestmark = pytest.mark.integration

SIP = Subprotocol("sip")
BROWSER = "df7jal23ls0d.invalid"


@dataclass
class Site:
    stack: SipStack
    calls: asyncio.Queue[IncomingInvite]
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/any/path"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    stack = SipStack(replace(quick_settings(), ws_port=0, shared_host="127.0.0.1", max_message_bytes=8000))
    await stack.start()
    try:
        calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
        await stack.add_endpoint(
            EndpointSettings(listen_port=0, listen_host="127.0.0.1", listen_user="pbx", listen_secret="geheim"),
            calls.put_nowait,
        )
        yield Site(stack, calls, stack.shared_numbers()["ws"])
    finally:
        await stack.close()


def invite(cseq: int, extra: list[str] | None = None) -> str:
    return request_text(
        uri="sip:5511999990000@ponte.test", via=f"Via: SIP/2.0/WS {BROWSER};branch=z9hG4bK{cseq}", cseq=cseq,
        contact=f"<sip:abc@{BROWSER};transport=ws;ob>", body=OFFER, headers=extra or [],
    )  # fmt: skip


async def receive(browser: ClientConnection | ServerConnection) -> IncomingRequest | IncomingResponse:
    data = await asyncio.wait_for(browser.recv(), 5)
    return parse_message(data.encode() if isinstance(data, str) else data)


async def final(browser: ClientConnection) -> IncomingResponse:
    while isinstance(message := await receive(browser), IncomingResponse) and message.status < 200:
        pass
    assert isinstance(message, IncomingResponse)
    return message


async def test_a_browser_calls_and_hears_the_end_by_its_own_connection(site: Site) -> None:
    async with connect(site.url, subprotocols=[SIP]) as browser:
        assert browser.subprotocol == "sip"
        await browser.send(invite(1))
        refused = await final(browser)
        assert refused.status == 401
        challenge = refused.header("WWW-Authenticate")
        assert challenge is not None
        await browser.send(invite(2, [authorization(challenge, uri="sip:5511999990000@ponte.test")]))
        call = await asyncio.wait_for(site.calls.get(), 5)
        assert call.request_user == "5511999990000"
        answering = asyncio.create_task(call.answer(ANSWER))
        answer = await final(browser)
        assert answer.status == 200
        assert f"127.0.0.1:{site.port};transport=ws" in (answer.header("Contact") or "")
        to_tag = answer.to.tag
        ack = request_text(
            "ACK", uri="sip:127.0.0.1", via=f"Via: SIP/2.0/WS {BROWSER};branch=z9hG4bKack", cseq=2, to_tag=to_tag
        )
        await browser.send(ack.encode())  # a binary message is as good as a text one
        await asyncio.wait_for(answering, 5)
        ending = asyncio.create_task(call.bye())
        bye = await receive(browser)
        assert isinstance(bye, IncomingRequest)
        assert bye.method == "BYE"
        assert bye.via.transport == "WS"
        assert bye.uri.raw == f"sip:abc@{BROWSER};transport=ws;ob"
        await browser.send(response_text(bye, 200, contact=""))
        await asyncio.wait_for(ending, 5)


async def test_a_closed_browser_window_ends_nothing_else(site: Site) -> None:
    async with connect(site.url, subprotocols=[SIP]) as first, connect(site.url, subprotocols=[SIP]) as second:
        await first.send(invite(1))
        assert (await final(first)).status == 401
        await first.close()
        await second.send(request_text("OPTIONS", via=f"Via: SIP/2.0/WS {BROWSER};branch=z9hG4bKo", contact=""))
        assert (await final(second)).status == 200


async def test_fragments_and_nonsense(site: Site) -> None:
    text = request_text("OPTIONS", via=f"Via: SIP/2.0/WS {BROWSER};branch=z9hG4bKo", contact="")
    async with connect(site.url, subprotocols=[SIP]) as browser:
        for nonsense in ("", "\r\n\r\n", "nonsense", b"\xff\x00"):
            await browser.send(nonsense)
        await browser.send([text[:50], text[50:60], text[60:]])
        assert (await final(browser)).status == 200
    async with connect(site.url, subprotocols=[SIP]) as browser:
        await browser.send("x" * 9000)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(browser.recv(), 5)


@pytest.mark.parametrize("offered", [None, [Subprotocol("chat")]])
async def test_only_the_subprotocol_sip_is_spoken(site: Site, offered: list[Subprotocol] | None) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(site.url, subprotocols=offered)
    assert caught.value.response.status_code == 400


async def test_a_call_by_a_websocket_is_known_as_such(site: Site) -> None:
    async with connect(site.url, subprotocols=[SIP]) as browser:
        await browser.send(invite(1))
        challenge = (await final(browser)).header("WWW-Authenticate") or ""
        await browser.send(invite(2, [authorization(challenge, uri="sip:5511999990000@ponte.test")]))
        call = await asyncio.wait_for(site.calls.get(), 5)
        assert call.by_websocket  # a late offer to it is one for WebRTC
        call.reject(603)


async def test_only_pages_of_an_allowed_origin_connect_where_origins_are_set() -> None:
    allowed = "https://phone.example.com"
    settings = replace(quick_settings(), ws_port=0, shared_host="127.0.0.1", websocket_origins=(allowed,))
    stack = SipStack(settings)
    await stack.start()
    url = f"ws://127.0.0.1:{stack.shared_numbers()['ws']}"
    try:
        for origin in (Origin(allowed), None):  # who sends none is no browser
            async with connect(url, subprotocols=[SIP], origin=origin):
                pass
        for wrong in (f"{allowed}:8443", "http://phone.example.com", "https://evil.example", "null"):
            with pytest.raises(InvalidStatus) as caught:
                await connect(url, subprotocols=[SIP], origin=Origin(wrong))
            assert caught.value.response.status_code == 403
    finally:
        await stack.close()


async def test_a_browser_registers_is_rung_by_its_connection_and_gone_with_it(site: Site) -> None:
    (account,) = site.stack._endpoints.values()

    def register(cseq: int, *extra: str) -> str:
        return request_text(
            "REGISTER", uri="sip:pbx@ponte.test", via=f"Via: SIP/2.0/WS {BROWSER};branch=z9hG4bKr{cseq}", cseq=cseq,
            contact=f"<sip:abc@{BROWSER};transport=ws;ob>;expires=300", call_id="reg", headers=extra,
        )  # fmt: skip

    async with connect(site.url, subprotocols=[SIP]) as browser:
        await browser.send(register(1))
        challenge = (await final(browser)).header("WWW-Authenticate") or ""
        assert account.phones == []
        await browser.send(register(2, authorization(challenge, method="REGISTER", uri="sip:ponte.test")))
        granted = await final(browser)
        assert (granted.status, granted.header("Contact")) == (200, f"<sip:abc@{BROWSER};transport=ws;ob>;expires=300")
        (phone,) = account.phones
        assert phone.flow.is_websocket
        call = account.ring(phone, sdp=OFFER, caller=Caller("5511987654321", "Ana"))
        rung = await receive(browser)
        assert isinstance(rung, IncomingRequest)
        assert (rung.method, str(rung.uri)) == ("INVITE", f"sip:abc@{BROWSER};transport=ws;ob")
        assert rung.from_.name == "Ana"
        await browser.send(response_text(rung, 486))
        assert (await receive(browser)).method == "ACK"
        assert isinstance(await asyncio.wait_for(call.next_event(), 5), Failed)
    async with asyncio.timeout(5):
        while account.phones:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_something_else_than_a_websocket(site: Site) -> None:
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", request_text().encode(), b"\x16\x03\x01\x00"):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(text)
        writer.write_eof()
        assert b"101" not in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
    async with connect(site.url, subprotocols=[SIP]):
        pass


async def test_we_open_a_websocket_to_a_server() -> None:
    seen: list[str] = []

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.path)
        message = await receive(connection)
        assert isinstance(message, IncomingRequest)
        seen.append(message.via.transport)
        await connection.send(response_text(message, 200, contact=""))
        await connection.wait_closed()

    async with serve(answer, "127.0.0.1", 0, subprotocols=[SIP]) as server:
        await probe(server.sockets[0].getsockname()[1])
    assert seen == ["/ws", "WS"]


async def probe(port: int) -> None:
    stack = SipStack(quick_settings())
    await stack.start()
    try:
        endpoint = await stack.add_endpoint(
            EndpointSettings(server=SipServer("127.0.0.1", port, "ws"), listen_port=None), lambda call: None
        )
        await endpoint.probe(5)
    finally:
        await stack.close()


async def test_servers_that_speak_no_sip_over_websocket() -> None:
    async def idle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(idle, "127.0.0.1", 0, subprotocols=[Subprotocol("chat")]) as server:
        with pytest.raises(Unavailable, match="answered the WebSocket with 400"):
            await probe(server.sockets[0].getsockname()[1])
    async with serve(idle, "127.0.0.1", 0) as server:
        with pytest.raises(Unavailable, match="does not speak SIP over WebSocket"):
            await probe(server.sockets[0].getsockname()[1])


async def test_a_call_whose_websocket_is_lost_can_still_be_ended(site: Site) -> None:
    async with connect(site.url, subprotocols=[SIP]) as browser:
        await browser.send(invite(1))
        challenge = (await final(browser)).header("WWW-Authenticate")
        assert challenge is not None
        await browser.send(invite(2, [authorization(challenge, uri="sip:5511999990000@ponte.test")]))
        call = await asyncio.wait_for(site.calls.get(), 5)
        call.ringing()
        await browser.close()
    call.reject(486)  # nobody is there to acknowledge it
    async with connect(site.url, subprotocols=[SIP]) as browser:
        await browser.send(invite(3))
        assert (await final(browser)).status == 401


async def test_stun_on_the_udp_port(site: Site) -> None:
    stack = SipStack(quick_settings())
    await stack.start()
    try:
        endpoint = await stack.add_endpoint(
            EndpointSettings(listen_port=0, listen_host="127.0.0.1", listen_user="a", listen_secret="b"),
            lambda call: None,
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.bind(("127.0.0.1", 0))
            request = struct.pack("!HHI12s", 1, 0, 0x2112A442, b"abcdefghijkl")
            loop = asyncio.get_running_loop()
            await loop.sock_sendto(peer, request, ("127.0.0.1", endpoint.listener.port))
            answer = await asyncio.wait_for(loop.sock_recv(peer, 100), 5)
            port = struct.unpack("!H", answer[26:28])[0] ^ 0x2112
            assert port == peer.getsockname()[1]
    finally:
        await stack.close()
