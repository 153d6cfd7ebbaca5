"""The small parts: framing, timers, header values, server names."""

from __future__ import annotations

import pytest

from gateway.domain.errors import ConfigError, RemoteProtocolError
from gateway.protocol.sip.events import Reason, parse_reason
from gateway.protocol.sip.framing import PING, StreamFramer
from gateway.protocol.sip.target import SipServer, parse_sip_server
from gateway.protocol.sip.text import escape_user, parse_name_addr, parse_name_addrs, quote, split_list, unquote
from gateway.protocol.sip.timers import TimerHeap
from tests.support.sip_lab import OFFER, request_text

pytestmark = pytest.mark.unit

MESSAGE = request_text(body=OFFER).encode()


# framing


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_framing_is_the_same_however_the_bytes_come(size: int) -> None:
    stream = (
        MESSAGE
        + b"\r\n\r\n"
        + b"\r\n"
        + MESSAGE
        + request_text("OPTIONS").replace("Content-Length: 0", "l :0").encode()
    )
    framer = StreamFramer()
    found = [message for start in range(0, len(stream), size) for message in framer.feed(stream[start : start + size])]
    assert [message for message in found if message != PING] == [MESSAGE, MESSAGE, stream[-len(found[-1]) :]]
    assert PING in found
    assert framer.buffered == 0


def test_framing_without_length() -> None:
    text = request_text("OPTIONS").replace("Content-Length: 0\r\n", "").encode()
    assert StreamFramer().feed(text) == [text]


@pytest.mark.parametrize(
    "stream",
    [
        b"x" * 70_000,
        b"A: b\r\nContent-Length: 99999999\r\n\r\n",
        b"A: b\r\nContent-Length: -1\r\n\r\n",
        b"A: b\r\nContent-Length: 1\r\nl: 2\r\n\r\n",
        b"A: b\r\nContent-Length: \xff\r\n\r\n",
    ],
)
def test_streams_that_cannot_be_followed(stream: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        StreamFramer().feed(stream)


# timers


def test_heap_sweeps_cancelled_timers() -> None:
    heap = TimerHeap()
    fired: list[float] = []
    kept = heap.at(5.0, fired.append)
    for _ in range(5000):
        heap.at(1.0, fired.append).cancel()
    assert len(heap._heap) < 2000
    assert len(heap) == 1
    assert heap.next_timeout() == 5.0
    assert heap.pop_due(4.9) is None
    callback = heap.pop_due(5.0)
    assert callback is not None
    callback(5.0)
    kept.cancel()
    assert fired == [5.0]
    assert heap.next_timeout() is None


# header values


def test_split_and_quotes() -> None:
    assert split_list('"a,b\\"," <sip:x;y,z>, c', ",") == ['"a,b\\"," <sip:x;y,z>', " c"]
    assert unquote(' "a\\"b\\\\" ') == 'a"b\\'
    assert unquote('"plain"') == "plain"
    assert quote('a"b\\c\r\nd') == '"a\\"b\\\\cd"'
    assert escape_user("+49 30#x") == "+49%2030%23x"
    with pytest.raises(RemoteProtocolError):
        split_list('"open', ",")


def test_name_addrs() -> None:
    address = parse_name_addr('"A, B" <sip:x@y;lr>;tag=1;TAG=2;q')
    assert (address.name, address.uri, address.params) == ("A, B", "sip:x@y;lr", {"tag": "1", "q": None})
    assert len(parse_name_addrs(["<sip:a@b>, <sip:c@d>", "<sip:e@f>"])) == 3
    for bad in ['"a <sip:x@y>', "sip x", "x", "<sip:a b>", 'a"b <sip:x@y>']:
        with pytest.raises(RemoteProtocolError):
            parse_name_addr(bad)
    with pytest.raises(RemoteProtocolError):
        parse_name_addrs(["<sip:a@b>," * 60 + "<sip:a@b>"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (['SIP ;cause=200 ;text="Call completed elsewhere"'], Reason("SIP", 200, "Call completed elsewhere")),
        (['Q.850;cause=16;text="a;b, c"', "SIP;cause=200"], Reason("Q.850", 16, "a;b, c")),
        (["SIP;cause=abc, Q.850;cause=17"], Reason("Q.850", 17)),
        (["SIP"], None),
        (['SIP;cause=1;text="x'], None),
    ],
)
def test_reason(values: list[str], expected: Reason | None) -> None:
    assert parse_reason(values) == expected
    if expected is not None:
        assert parse_reason([str(expected)]) == expected


def test_reason_cannot_end_its_line() -> None:
    assert str(Reason("S I P", 1, "a\r\nb")) == 'SIP;cause=1;text="ab"'


@pytest.mark.parametrize("text", ["sip:a@b?Route=%3Csip:c%3E", "sip:a@b?x", "sip:a@b?x;tag=1"])
def test_headers_in_a_uri_need_angle_brackets(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_name_addr(text)
    assert parse_name_addr(f"<{text}>").uri == text


# sipServer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip.example.com", SipServer("sip.example.com")),
        (" SIP.Example.com:5070 ", SipServer("sip.example.com", 5070)),
        ("my_pbx", SipServer("my_pbx")),
        ("192.0.2.1", SipServer("192.0.2.1")),
        ("192.0.2.1:5062;transport=TCP", SipServer("192.0.2.1", 5062, "tcp")),
        ("[2001:DB8::1]:5060 ; transport = udp", SipServer("2001:db8::1", 5060, "udp")),
        ("[2001:db8::1]", SipServer("2001:db8::1")),
        ("pbx.example.com.;transport=tls", SipServer("pbx.example.com", None, "tls")),
        ("pbx.example.com:443;transport=WSS", SipServer("pbx.example.com", 443, "wss")),
    ],
)
def test_sip_server(text: str, expected: SipServer) -> None:
    server = parse_sip_server(text)
    assert server == expected
    assert parse_sip_server(str(server)) == expected


def test_sip_server_says_what_it_is() -> None:
    assert SipServer("2001:db8::1", 5070, "tcp").domain == "[2001:db8::1]:5070"
    assert SipServer("192.0.2.1").is_ip
    assert not SipServer("pbx").is_ip


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":5060", "host:", "host:0", "host:65536", "host:x", "host:5060:1", "a b",
        "-a", "a..b", "1.2.3", "256.1.1.1",
        "2001:db8::1", "[::1", "[::1]x",
        "[1.2.3.4]", "::g", "sip:host", "host/x", "user@host", "0.0.0.0", "::", "224.0.0.1",
        "host;transport=sctp", "host;x=1", "host;transport=udp;transport=tcp", "host;", "a" * 254, "host\r\nX: y",
    ],
)  # fmt: skip
def test_sip_server_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sip_server(text)
    assert caught.value.field == "sipServer"


@pytest.mark.parametrize(
    ("text", "transport", "port"),
    [("a", "udp", 5060), ("a;transport=tcp", "tcp", 5060), ("a;transport=tls", "tls", 5061), ("a:9", "udp", 9),
     ("a;transport=ws", "ws", 80), ("a;transport=wss", "wss", 443)],
)  # fmt: skip
def test_what_sip_server_means_without_records(text: str, transport: str, port: int) -> None:
    server = parse_sip_server(text)
    assert (server.effective_transport, server.effective_port) == (transport, port)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('"a, b" <sip:x@h;p=1>;tag=2,<sip:y@h>', ['"a, b" <sip:x@h;p=1>;tag=2', "<sip:y@h>"]),
        ('"a \\", b",c', ['"a \\", b"', "c"]),
        ('<sip:x"@h>,b', ['<sip:x"@h>', "b"]),
        ("<never closed, at all", ["<never closed, at all"]),
        ("a,,b", ["a", "", "b"]),
    ],
)
def test_lists_are_split_outside_quotes_and_angle_brackets(text: str, parts: list[str]) -> None:
    assert split_list(text, ",") == parts


@pytest.mark.parametrize("text", ['"', 'a,"b', '"a\\"', '"' + "a" * 10_000])
def test_a_quoted_string_without_an_end_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        split_list(text, ",")
