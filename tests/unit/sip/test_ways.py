"""Which way a message goes: transports, long requests, a server with several addresses, keep-alives."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.dialog import contact_uri, flow_to_uri
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.events import Answered, Failed
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.framing import StreamFramer
from gateway.protocol.sip.message import IncomingRequest, new_via, reply_flow
from gateway.protocol.sip.registration import RegistrationConfig
from gateway.protocol.sip.stun import binding_answer, is_stun
from gateway.protocol.sip.text import parse_uri, parse_via
from gateway.protocol.sip.uac import ClientSession
from tests.support.sip_lab import (
    ANSWER,
    OURS,
    PBX,
    TCP,
    UDP,
    Lab,
    credentials,
    lab,
    protected,
    request_text,
    response_text,
)
from tests.unit.sip.outbound import CHALLENGE, SPEC

pytestmark = pytest.mark.unit

TLS = Flow("tls", 1, OURS, PBX, server_name="pbx.test")
WSS = Flow("wss", 1, OURS, ("192.0.2.99", 40001), connectable=False)
WS = replace(WSS, transport="ws")
TAKEN = replace(TLS, connectable=False)
LONG = replace(SPEC, headers=[("X-Long", "x" * 1300)])


# names of the transports


@pytest.mark.parametrize(
    ("flow", "via", "contact"),
    [
        (UDP, "SIP/2.0/UDP 192.0.2.10:5080;branch=b;rport", "sip:gw@192.0.2.10:5080"),
        (TCP, "SIP/2.0/TCP 192.0.2.10:5080;branch=b;rport", "sip:gw@192.0.2.10:5080;transport=tcp"),
        (TLS, "SIP/2.0/TLS 192.0.2.10:5080;branch=b;rport;alias", "sip:gw@192.0.2.10:5080;transport=tls"),
        (TAKEN, "SIP/2.0/TLS 192.0.2.10:5080;branch=b;rport", "sip:gw@192.0.2.10:5080;transport=tls"),
        (WSS, "SIP/2.0/WSS 192.0.2.10:5080;branch=b;rport", "sip:gw@192.0.2.10:5080;transport=ws"),
        (WS, "SIP/2.0/WS 192.0.2.10:5080;branch=b;rport", "sip:gw@192.0.2.10:5080;transport=ws"),
    ],
)  # fmt: skip
def test_via_and_contact(flow: Flow, via: str, contact: str) -> None:
    assert new_via(flow, "b") == via
    assert contact_uri(flow, "gw") == contact


@pytest.mark.parametrize(
    ("uri", "base", "expected"),
    [
        ("sip:a@192.0.2.20", UDP, UDP),
        ("sip:a@192.0.2.20;transport=tls", UDP, Flow("tls", 1, OURS, ("192.0.2.20", 5061))),
        ("sips:a@other.test", UDP, Flow("tls", 1, OURS, ("other.test", 5061))),
        ("sip:a@192.0.2.20;transport=tls", TLS, replace(TLS, fallback=("192.0.2.20", 5061))),
        ("sip:a@pbx.test:5061;transport=tls", TLS, replace(TLS, fallback=("pbx.test", 5061))),
        ("sip:a@df7jal23ls0d.invalid;transport=ws", WSS, WSS),
        ("sip:a@192.0.2.77;transport=udp", WSS, WSS),  # behind a WebSocket everything goes by it
        ("sip:a@df7jal23ls0d.invalid;transport=ws", UDP, UDP),  # a proxy forgot to record its route
        ("sip:a@192.0.2.20;transport=ws", UDP, UDP),
    ],
)
def test_the_way_to_a_uri(uri: str, base: Flow, expected: Flow) -> None:
    assert flow_to_uri(parse_uri(uri), base) == expected


def test_where_answers_go() -> None:
    via = parse_via("SIP/2.0/TLS phone.test;branch=z9hG4bKa")
    assert reply_flow(via, TLS).fallback == (PBX[0], 5061)
    invalid = parse_via("SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKa")
    assert reply_flow(invalid, WSS) == WSS


def test_a_browser_calls_and_is_called_back_by_its_own_connection() -> None:
    one = lab()
    one.agent.set_endpoint(replace(protected(), shared=frozenset({7}), listener=1))
    browser = replace(WSS, listener=7)
    invite = request_text(
        via="Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKw1",
        contact="<sip:abc@df7jal23ls0d.invalid;transport=ws;ob>",
    )
    one.feed(invite, browser)
    flow, challenge, data = one.sent[0]
    assert flow == browser
    assert b"401 Unauthorized" in data
    assert f";received={browser.remote[0]}" in challenge.via.raw


# long requests


def long_call() -> tuple[Lab, ClientSession]:
    one = lab()
    session = one.agent.invite(LONG, UDP, credentials("gw", "pw"), one.now)
    one.drain()
    return one, session


def test_a_long_request_goes_by_tcp() -> None:
    one, _ = long_call()
    flow, invite, data = one.sent[0]
    assert len(data) > 1300
    assert flow == TCP
    assert invite.via.transport == "TCP"
    one.run(10)
    assert len(one.sent) == 1, "TCP repeats by itself"
    assert isinstance(invite, IncomingRequest)
    one.feed(response_text(invite, 200, body=ANSWER), TCP)
    assert one.events() == [Answered(ANSWER)]


def test_a_short_request_goes_by_udp() -> None:
    one = lab()
    one.agent.invite(SPEC, UDP, credentials(), one.now)
    one.drain()
    assert one.sent[0][0] == UDP


def test_a_long_request_goes_by_udp_where_tcp_is_refused_and_the_next_at_once() -> None:
    one, _ = long_call()
    (first,) = one.take()
    one.agent.flow_failed(TCP, one.now)
    one.drain()
    flow, again, _ = one.sent[0]
    assert flow == UDP
    assert again.via.transport == "UDP"
    assert again.via.branch == first.via.branch
    one.run(1)
    assert len(one.sent) > 1, "UDP is repeated"
    assert isinstance(again, IncomingRequest)
    one.feed(response_text(again, 486))
    assert one.events() == [Failed(486, "Whatever")]
    one.take()
    one.agent.invite(LONG, UDP, credentials(), one.now)
    one.drain()
    assert one.sent[0][0] == UDP
    one.run(301)
    one.take()
    one.agent.invite(LONG, UDP, credentials(), one.now)
    one.drain()
    assert one.sent[0][0] == TCP, "after a while TCP gets another chance"


def test_a_long_request_that_was_taken_by_tcp_is_not_sent_again() -> None:
    one, _ = long_call()
    invite = one.request()
    one.feed(response_text(invite, 100, to_tag=""), TCP)
    one.agent.flow_failed(TCP, one.now)
    one.drain()
    assert one.take() == []


def test_who_refuses_tcp_is_remembered_within_bounds() -> None:
    one = lab()
    layer = one.agent._engine.layer
    for number in range(600):
        layer.stream_failed(("192.0.2.1", number), one.now)
    assert len(layer._without_stream) <= 256


# a server with several addresses

SECOND = replace(UDP, remote=("192.0.2.21", 5060))
THIRD = replace(UDP, remote=("192.0.2.22", 5060))


def call_with_others() -> Lab:
    one = lab(AgentSettings(limits=CoreLimits(failover_s=4)))
    one.agent.invite(SPEC, UDP, credentials("gw", "pw"), one.now, [SECOND, THIRD])
    one.drain()
    return one


def test_a_silent_address_is_left_for_the_next() -> None:
    one = call_with_others()
    one.run(3.9)
    assert {flow for flow, _, _ in one.sent} == {UDP}
    first = one.take()[0]
    one.run(0.2)
    flow, second, _ = one.sent[0]
    assert flow == SECOND
    assert (second.call_id, second.via.branch == first.via.branch) == (first.call_id, False)
    assert isinstance(second, IncomingRequest)
    one.take()
    one.feed(response_text(second, 180), SECOND)
    one.run(100)
    one.feed(response_text(second, 200, body=ANSWER, contact="<sip:1000@192.0.2.21>"), SECOND)
    assert isinstance(one.events()[-1], Answered)
    assert one.sent[-1][0] == SECOND


def test_an_address_that_is_overloaded_or_cannot_be_reached() -> None:
    one = call_with_others()
    one.feed(response_text(one.request(), 503))
    ack, second = one.take()
    assert isinstance(ack, IncomingRequest)
    assert isinstance(second, IncomingRequest)
    assert (ack.method, second.method) == ("ACK", "INVITE")
    one.feed(response_text(second, 401, headers=[CHALLENGE]), SECOND)
    assert len(one.take()) == 2
    one.agent.flow_failed(SECOND, one.now)
    one.drain()
    assert one.sent[-1][0] == THIRD
    third = one.request()
    one.feed(response_text(third, 401, headers=[CHALLENGE]), THIRD)
    assert one.take()[-1].header("Authorization"), "the next server may ask again"
    one.agent.flow_failed(THIRD, one.now)
    one.drain()
    assert one.events() == [Failed(503, "Service Unavailable")]


def test_busy_is_an_answer_and_no_reason_to_try_the_next() -> None:
    one = call_with_others()
    one.feed(response_text(one.request(), 486))
    assert one.events() == [Failed(486, "Whatever")]
    assert one.statuses() == ["ACK"]


def test_a_cancelled_call_is_not_tried_elsewhere() -> None:
    one = lab(AgentSettings(limits=CoreLimits(failover_s=4)))
    session = one.agent.invite(SPEC, UDP, credentials(), one.now, [SECOND])
    session.cancel(None, one.now)
    one.run(60)
    assert {flow for flow, _, _ in one.sent} == {UDP}


# why a registration fails


def test_a_registration_says_why_its_connection_failed() -> None:
    one = lab()
    config = RegistrationConfig("sip:pbx.test", "sip:gw@pbx.test", "gw")
    registration = one.agent.registration(config, credentials("gw", "pw"), lambda attempt: TLS)
    registration.start(one.now)
    one.drain()
    one.agent.flow_failed(TLS, one.now, "The certificate has expired")
    assert registration.status.detail == "The certificate has expired"
    one.run(5)
    one.agent.flow_failed(TLS, one.now)
    assert registration.status.detail == "The SIP server cannot be reached"


# keep-alives


def test_a_pong_is_no_message_that_has_begun() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n") == []
    assert framer.buffered == 0
    text = request_text("OPTIONS").encode()
    assert framer.feed(text) == [text]
    assert framer.feed(b"\r\n\r") == []
    assert framer.feed(b"\nOPT") == [b"\r\n\r\n"]
    assert framer.buffered == 3


def stun_request(kind: int = 1, body: bytes = b"") -> bytes:
    return struct.pack("!HHI12s", kind, len(body), 0x2112A442, b"abcdefghijkl") + body


def test_stun_tells_the_address() -> None:
    answer = binding_answer(stun_request(), ("192.0.2.1", 32853))
    assert answer is not None
    # RFC 5769 section 2.2 has this address and port
    assert answer == struct.pack("!HHI12s", 0x0101, 12, 0x2112A442, b"abcdefghijkl") + bytes.fromhex(
        "002000080001a147e112a643"
    )
    long = binding_answer(stun_request(body=b"\x80\x22\x00\x04test"), ("2001:db8::1", 1))
    assert long is not None
    assert len(long) == 44
    masked = bytes(a ^ b for a, b in zip(long[28:], b"\x21\x12\xa4\x42abcdefghijkl", strict=True))
    assert masked == bytes.fromhex("20010db8000000000000000000000001")


@pytest.mark.parametrize(
    "data",
    [b"", b"OPTIONS sip:x SIP/2.0\r\n\r\n", stun_request()[:-1], stun_request(0x0101), stun_request() + b"x",
     stun_request(body=b"abc"), b"\x00\x01\x00\x00" + b"x" * 16],
)  # fmt: skip
def test_what_is_no_stun_request(data: bytes) -> None:
    assert binding_answer(data, ("192.0.2.1", 1)) is None


def test_no_sip_message_looks_like_stun() -> None:
    assert not is_stun(request_text().encode())
    assert is_stun(stun_request())
