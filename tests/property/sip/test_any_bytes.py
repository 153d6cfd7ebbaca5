"""Whatever comes from the network, the core answers or drops it and goes on."""

from __future__ import annotations

import contextlib
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import ConfigError, RemoteProtocolError
from gateway.protocol.sip.dialog import flow_to_uri
from gateway.protocol.sip.digest import parse_auth
from gateway.protocol.sip.events import parse_reason
from gateway.protocol.sip.flow import Transmit
from gateway.protocol.sip.framing import StreamFramer
from gateway.protocol.sip.message import IncomingRequest, make_response, parse_message, to_bytes
from gateway.protocol.sip.refer import parse_refer_to, parse_replaces
from gateway.protocol.sip.reliable import parse_rack
from gateway.protocol.sip.session_timer import parse_min_se, parse_session_expires
from gateway.protocol.sip.target import parse_sip_server
from gateway.protocol.sip.text import parse_name_addr, parse_uri, parse_via, quote, unquote
from tests.support.sip_lab import OFFER, UDP, lab, protected, request_text, response_text, trusted
from tests.support.sip_mutate import mutated

pytestmark = pytest.mark.property

PIECES = st.sampled_from(
    ["sip:", "@", ";", ",", ":", "<", ">", '"', "\\", "=", "tag", "branch", "rport", "[", "]", "::1", " ", "\t", "%41",
     "é", "5060", "99999", "self", "tel:", "SIP/2.0/UDP", "Digest ", "nonce", "a", "*", "\udcff", "lr", "transport=tcp"]
)  # fmt: skip
TEXT = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=80)


@given(TEXT)
@settings(max_examples=400, deadline=None)
def test_readers_raise_only_what_is_documented(text: str) -> None:
    for reader in (parse_name_addr, parse_uri, parse_via, parse_auth):
        with contextlib.suppress(RemoteProtocolError):
            reader(text)
    for many in (parse_refer_to, parse_replaces):
        with contextlib.suppress(RemoteProtocolError):
            many([text])
    with contextlib.suppress(RemoteProtocolError):
        parse_rack(text)
    parse_session_expires(text)
    assert parse_min_se(text) >= 90
    parse_reason([text])
    with contextlib.suppress(ConfigError):
        parse_sip_server(text)
    with contextlib.suppress(RemoteProtocolError):
        flow_to_uri(parse_uri(text), UDP)


@given(st.text(max_size=60))
@settings(deadline=None)
def test_quoted_text_is_read_back(text: str) -> None:
    quoted = quote(text)
    assert "\r" not in quoted
    assert "\n" not in quoted
    if all(char.isprintable() for char in text):
        assert unquote(quoted) == text


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(deadline=None)
def test_streams_cut_anywhere_give_the_same_messages(data: bytes, size: int) -> None:
    def frames(step: int) -> tuple[list[bytes], bool]:
        framer, found = StreamFramer(max_message_bytes=200, max_header_bytes=100), []
        try:
            for start in range(0, len(data), step):
                found += framer.feed(data[start : start + step])
        except RemoteProtocolError:
            return found, True
        return found, False

    pieces, whole = frames(size), frames(1)
    if not pieces[1] and not whole[1]:
        assert pieces[0] == whole[0]


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes(data: bytes) -> None:
    try:
        message = parse_message(data)
    except RemoteProtocolError:
        return
    to_bytes(make_response(400, message.headers, message.via, UDP))


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_broken_datagrams_then_a_call(seed: int) -> None:
    rng = random.Random(seed)
    one = lab()
    one.agent.set_endpoint(trusted(1))
    one.agent.set_endpoint(protected(2))
    seeds = [
        request_text(body=OFFER),
        request_text("OPTIONS"),
        request_text("CANCEL"),
        request_text("ACK", to_tag="x"),
        request_text("BYE", to_tag="x"),
        request_text("REGISTER", headers=["Authorization: Digest username=\"pbx\", realm=\"ponte\", nonce=\"1-a-b\""]),
    ]  # fmt: skip
    invite = parse_message(seeds[0].encode())
    assert isinstance(invite, IncomingRequest)
    seeds.append(response_text(invite, 200, body=OFFER))
    for _ in range(2000):
        one.agent.receive(mutated(rng.choice(seeds).encode(), rng), UDP, one.now)
        for output in one.agent.poll():
            if isinstance(output, Transmit):
                assert output.flow.remote[0] == UDP.remote[0]  # never to whom a message names
                assert 0 < output.flow.remote[1] < 65536
                assert re.fullmatch(rb"SIP/2.0 [1-6][0-9]{2} [^\r\n]+\r\n([^\r\n]+\r\n)+\r\n(.|\n)*", output.data)
    while (due := one.agent.next_timeout()) is not None and due < one.now + 200:
        one.agent.handle_timeout(due)
        one.agent.poll()
    one.feed(request_text(body=OFFER, branch="z9hG4bKfine", call_id="fine"))
    assert one.statuses() == ["100 INVITE"]
    one.new_call()
