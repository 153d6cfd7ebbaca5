"""Whatever a peer sends on a connection, the wires return messages or say that it cannot go on, and stay bounded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.stun import binding_answer, is_stun
from gateway.sip.wires import StreamWire, WebSocketWire, Wire

pytestmark = pytest.mark.property

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)
frame_like = st.builds(
    lambda first, mask, length, body: bytes([first, mask | length]) + body,
    st.integers(0, 255), st.sampled_from([0, 128]), st.integers(0, 127), st.binary(max_size=40),
)  # fmt: skip
pieces = st.lists(st.one_of(st.binary(max_size=200), frame_like, st.just(HANDSHAKE), st.just(b"\r\n")), max_size=8)


def server() -> Wire:
    return WebSocketWire(1000)


def open_server() -> Wire:
    wire = server()
    assert wire.feed(HANDSHAKE) == []
    assert wire.output()[0].startswith(b"HTTP/1.1 101")
    assert wire.ready
    return wire


def client() -> Wire:
    wire = WebSocketWire(1000, ("x", 80, "/ws", False))
    assert wire.output()[0].startswith(b"GET /ws")
    return wire


@pytest.mark.parametrize("make", [server, open_server, client, lambda: StreamWire(1000)])
@given(pieces)
@settings(deadline=None, max_examples=150)
def test_any_bytes_on_a_connection(make: Callable[[], Wire], data: list[bytes]) -> None:
    wire = make()
    for piece in data:
        try:
            messages = wire.feed(piece)
        except RemoteProtocolError:
            return
        assert all(0 < len(message) <= 1000 for message in messages)
        wire.write(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
        wire.ping()
        wire.output()
        assert wire.partial in {True, False}


@given(st.binary(max_size=60), st.ip_addresses().map(str), st.integers(1, 65535))
def test_any_bytes_as_stun(data: bytes, host: str, port: int) -> None:
    answer = binding_answer(data, (host, port))
    assert answer is None or (is_stun(data) and is_stun(answer))
