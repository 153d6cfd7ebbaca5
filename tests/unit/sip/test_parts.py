"""The small parts: framing, timers, header values, digest, server names."""

from __future__ import annotations

import pytest

from gateway.domain.errors import ConfigError, RemoteProtocolError
from gateway.protocol.sip.digest import DigestClient, digest_response, parse_auth
from gateway.protocol.sip.digest_server import AuthLimits, DigestServer, FailureLimit, Verdict
from gateway.protocol.sip.events import Reason, parse_reason
from gateway.protocol.sip.framing import PING, StreamFramer
from gateway.protocol.sip.message import IncomingResponse, parse_message
from gateway.protocol.sip.target import SipServer, parse_sip_server
from gateway.protocol.sip.text import escape_user, parse_name_addr, parse_name_addrs, quote, split_list, unquote
from gateway.protocol.sip.timers import TimerHeap
from tests.support.sip_lab import OFFER, authorization, counter, request_text, response_text

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


# digest


def test_rfc_2617_example() -> None:
    found = digest_response(
        algorithm="MD5", user="Mufasa", realm="testrealm@host.com", password="Circle Of Life", method="GET",
        uri="/dir/index.html", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", nc="00000001", cnonce="0a4f113b", qop="auth",
    )  # fmt: skip
    assert found == "6629fae49393a05397450978507c4ef1"


def test_sha256() -> None:
    found = digest_response(
        algorithm="SHA-256", user="u", realm="r", password="p", method="REGISTER", uri="sip:x", nonce="n",
        nc="00000001", cnonce="c", qop="auth",
    )  # fmt: skip
    # sha256(sha256("u:r:p") + ":n:00000001:c:auth:" + sha256("REGISTER:sip:x"))
    assert found == "ff610ec9bb1c4981e50e216e3da59c930033f9d64029a476561b82196ebf21ad"


def test_rfc_2069_without_qop() -> None:
    found = digest_response(
        algorithm="MD5", user="u", realm="r", password="p", method="REGISTER", uri="sip:x", nonce="n"
    )
    assert found == "f1360bea1a4221b5ee937bec4052dd1b"  # md5(md5("u:r:p") + ":n:" + md5("REGISTER:sip:x"))


def challenge(status: int, *values: str) -> IncomingResponse:
    request = parse_message(MESSAGE)
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    message = parse_message(response_text(request, status, headers=[f"{name}: {value}" for value in values]).encode())  # type: ignore[arg-type]
    assert isinstance(message, IncomingResponse)
    return message


def client(user: str = "gw") -> DigestClient:
    tokens = counter("c")
    return DigestClient(user, "pw", lambda: next(tokens), most_realms=2)


def test_client_takes_the_strongest_algorithm_of_a_realm() -> None:
    one = client()
    md5 = 'Digest realm="r", nonce="n1", algorithm=MD5, qop="auth"'
    sha = 'Digest realm="r", nonce="n2", algorithm=SHA-256, qop="auth,auth-int", opaque="o\\"p"'
    assert one.learn(challenge(401, f"{md5}, {sha}, {md5}", 'Digest realm="r", nonce="n3", algorithm=SHA-512'), set())
    ((name, value),) = one.headers("REGISTER", "sip:x")
    assert name == "Authorization"
    params = parse_auth(value)
    assert (params["algorithm"], params["nonce"], params["opaque"], params["nc"]) == (
        "SHA-256",
        "n2",
        'o"p',
        "00000001",
    )
    assert params["response"] == digest_response(
        algorithm="SHA-256", user="gw", realm="r", password="pw", method="REGISTER", uri="sip:x", nonce="n2",
        nc="00000001", cnonce=params["cnonce"], qop="auth",
    )  # fmt: skip


def test_client_without_qop() -> None:
    one = client()
    assert one.learn(challenge(407, 'Digest realm="r", nonce="n1"'), set())
    ((name, value),) = one.headers("INVITE", "sip:x")
    params = parse_auth(value)
    assert name == "Proxy-Authorization"
    assert "nc" not in params
    assert params["algorithm"] == "MD5"


@pytest.mark.parametrize(
    "value",
    [
        'Basic realm="r"',
        "Digest",
        'Digest realm="r"',
        'Digest realm="r", nonce="n", qop="auth-int"',
        'Digest realm="r", nonce="n", algorithm=AKAv1-MD5',
        'Digest realm="r", nonce="n", nonce="m"',
        'Digest realm="r',
        "Digest " + ", ".join(f"p{number}=1" for number in range(50)),
    ],
)
def test_challenges_that_cannot_be_answered(value: str) -> None:
    one = client()
    assert not one.learn(challenge(401, value), set())
    assert one.headers("INVITE", "sip:x") == []


def test_client_remembers_only_so_many_realms() -> None:
    one = client()
    for number in range(5):
        assert one.learn(challenge(401, f'Digest realm="r{number}", nonce="n"'), set())
    assert len(one.headers("INVITE", "sip:x")) == 2


def server(**limits: object) -> DigestServer:
    tokens = counter("s")
    return DigestServer(b"k" * 32, lambda: next(tokens), AuthLimits(**limits))  # type: ignore[arg-type]


def check(one: DigestServer, header: str, now: float = 10.0) -> Verdict:
    return one.check(
        parse_auth(header.partition(": ")[2]), method="INVITE", user="pbx", password="geheim", realm="r",
        algorithms=("MD5",), source="192.0.2.20", now=now,
    )  # fmt: skip


def asked(one: DigestServer, now: float = 10.0) -> str:
    return one.challenge("r", ("MD5",), "192.0.2.20", now)[0][1]


def test_nonce_counts_may_overtake_each_other_but_not_repeat() -> None:
    one = server()
    nonce = asked(one)
    for count in (1, 5, 3, 4, 100):
        assert check(one, authorization(nonce, nc=count)) is Verdict.GOOD
    for count in (5, 3, 100, 36, 0):
        assert check(one, authorization(nonce, nc=count)) is Verdict.STALE  # used, or too far behind the newest
    assert check(one, authorization(nonce, nc=37)) is Verdict.GOOD
    assert check(one, authorization(asked(one), nc=0)) is Verdict.STALE


def test_without_qop_a_nonce_is_good_once() -> None:
    one = server()
    nonce = asked(one)
    assert check(one, authorization(nonce, qop="")) is Verdict.GOOD
    assert check(one, authorization(nonce, qop="")) is Verdict.STALE


def test_a_full_table_never_lets_a_used_nonce_pass_again() -> None:
    one = server(max_nonces=2)
    nonces = [asked(one, 10.0 + number) for number in range(4)]
    for nonce in nonces:
        assert check(one, authorization(nonce), 14.0) is Verdict.GOOD
    for nonce in nonces:
        assert check(one, authorization(nonce), 14.0) is Verdict.STALE
    assert len(one._used) == 2


@pytest.mark.parametrize("nonce", ["", "zz-x-y", "1-2", "a-b-c", "1" * 40 + "-a-b", "\udcff-1-2"])
def test_nonces_that_are_not_ours(nonce: str) -> None:
    header = f'Authorization: Digest username="pbx", realm="r", nonce="{nonce}", uri="sip:x", response="0"'
    assert check(server(), header) is Verdict.STALE


def test_failures_are_counted_in_a_bounded_table() -> None:
    limit = FailureLimit(AuthLimits(failures=2, failure_window_s=10, max_sources=3))
    for number in range(10):
        limit.failed(f"192.0.2.{number}", 0)
        limit.failed(f"192.0.2.{number}", 1)
    assert len(limit._sources) == 3
    assert limit.blocked("192.0.2.9", 2)
    assert not limit.blocked("192.0.2.0", 2)
    assert not limit.blocked("192.0.2.9", 11)
    limit.failed("192.0.2.9", 11)
    assert not limit.blocked("192.0.2.9", 11)


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
