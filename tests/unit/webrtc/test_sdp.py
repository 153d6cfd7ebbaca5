"""The leg's offer, and what it reads from an answer."""

from __future__ import annotations

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.webrtc.sdp import LocalPart, build_offer, parse_answer

pytestmark = pytest.mark.unit

OFFER = build_offer(
    LocalPart("ufrg", "p" * 22, ("sha-256", "AA:BB"), ["1 1 udp 2130706431 192.0.2.1 5000 typ host"], 77, "name", 5)
)
# As Chromium 156 answers it.
ANSWER = """v=0
o=- 1930893573956298697 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 0 8
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1771513485 1 udp 2113937151 039a211c-55b3-4cd5-86da-133276d8f4f4.local 40493 typ host generation 0
a=candidate:1771513486 1 udp 2113937150 192.0.2.9 40494 typ host generation 0 network-cost 999
a=candidate:1771513487 1 tcp 1518280447 192.0.2.9 9 typ host tcptype active generation 0
a=candidate:1771513488 2 udp 2113937150 192.0.2.9 40495 typ host
a=candidate:broken
a=ice-ufrag:cw+p
a=ice-pwd:fPL7fGsKZloQqMLHgN4majrG
a=ice-options:trickle
a=fingerprint:sha-256 77:35:FF
a=setup:active
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
"""


def test_the_offer_holds_all_that_chrome_needs() -> None:
    lines = OFFER.split("\r\n")
    for line in (
        "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 9 111",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=group:BUNDLE 0",
        "a=mid:0",
        "a=rtcp-mux",
        "a=sendrecv",
        "a=setup:actpass",
        "a=ice-ufrag:ufrg",
        f"a=ice-pwd:{'p' * 22}",
        "a=fingerprint:sha-256 AA:BB",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
        "a=end-of-candidates",
        "a=ssrc:77 cname:name",
    ):
        assert line in lines
    assert "stereo" not in OFFER
    assert "a=ptime" not in OFFER  # with it Chrome refuses to change the codec of its sender
    assert "extmap" not in OFFER
    assert "trickle" not in OFFER


def test_an_answer_of_chromium_is_read() -> None:
    answer = parse_answer(ANSWER)
    assert (answer.username, answer.password) == ("cw+p", "fPL7fGsKZloQqMLHgN4majrG")
    assert answer.fingerprints == [("sha-256", "77:35:FF")]
    assert answer.server  # the page is active
    assert answer.candidates == ["1771513486 1 udp 2113937150 192.0.2.9 40494 typ host generation 0 network-cost 999"]
    assert dict(answer.payload_types) == {"PCMU": 0, "PCMA": 8}
    assert (answer.sends, answer.receives, answer.lite) == (True, True, False)


def test_what_stands_at_the_session_holds_for_the_stream() -> None:
    attributes = ["a=ice-ufrag:cw+p", "a=ice-pwd:fPL7fGsKZloQqMLHgN4majrG", "a=fingerprint:sha-256 77:35:FF"]
    text = ANSWER.replace("a=setup:active\n", "")
    for attribute in attributes:
        text = text.replace(attribute + "\n", "")
    text = text.replace("t=0 0\n", "t=0 0\na=ice-lite\na=setup:passive\n" + "\n".join(attributes) + "\n")
    answer = parse_answer(text)
    assert answer.username == "cw+p"
    assert answer.fingerprints == [("sha-256", "77:35:FF")]
    assert not answer.server
    assert answer.lite


def test_the_order_of_the_answer_and_its_direction_are_kept() -> None:
    answer = parse_answer(ANSWER.replace("SAVPF 0 8", "SAVPF 8").replace("a=sendrecv", "a=recvonly"))
    assert dict(answer.payload_types) == {"PCMA": 8}
    assert (answer.sends, answer.receives) == (False, True)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("m=audio 9", "m=audio 0", "refused"),
        ("m=audio 9", "m=video 9", "one audio"),
        ("a=setup:active\n", "a=setup:actpass\n", "DTLS role"),
        ("a=setup:active\n", "", "a=setup"),
        ("a=ice-ufrag:cw+p\n", "", "a=ice-ufrag"),
        ("a=ice-pwd:fPL7fGsKZloQqMLHgN4majrG\n", "", "a=ice-pwd"),
        ("a=fingerprint:sha-256 77:35:FF\n", "", "a=fingerprint"),
        ("SAVPF 0 8", "SAVPF 63", "none of the codecs"),
        ("v=0", "v=9", "v=0"),
    ],
)
def test_an_answer_that_cannot_work_says_why(old: str, new: str, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        parse_answer(ANSWER.replace(old, new))
