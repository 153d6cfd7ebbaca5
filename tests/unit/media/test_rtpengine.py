"""The pure parts of the rtpengine plane."""

from __future__ import annotations

import json

import pytest

from gateway.domain.errors import RemoteProtocolError, Unavailable
from gateway.media.page_side import PAGE_PAYLOAD_TYPES
from gateway.media.rtpengine.figures import Heard, TagFigures, read_heard, read_tag
from gateway.media.rtpengine.key_log import parse_key
from gateway.media.rtpengine.sdp import (
    describe_peer,
    page_offer,
    read_our_side,
    read_page_answer,
    stand_in,
)
from gateway.protocol.dtmf import KeyPress
from gateway.protocol.sdp import LocalMedia, SdpSession, parse_sdp
from gateway.protocol.sdp.crypto import Crypto

pytestmark = pytest.mark.unit

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
SECRETS = "a=ice-ufrag:abcd\r\na=ice-pwd:" + "p" * 22 + "\r\na=fingerprint:sha-256 AA:BB\r\n"
CANDIDATE = "a=candidate:1 1 UDP 2130706431 192.0.2.7 41000 typ host\r\n"
OFFER = (
    f"{HEAD}m=audio 41000 UDP/TLS/RTP/SAVPF 0 111\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\n"
    "a=rtcp:41000\r\na=rtcp-mux\r\n"
    f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\r\na=setup:actpass\r\na=sendrecv\r\n{SECRETS}{CANDIDATE}"
)
ANSWER = (
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 111\r\nc=IN IP4 0.0.0.0\r\n"
    f"{SECRETS}a=setup:active\r\na=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:111 opus/48000/2\r\n"
    "a=candidate:8 1 udp 2113937151 2251e7c9-6314-4759-9768-4665032cfe10.local 58039 typ host\r\n"
)


def test_the_page_is_offered_no_keys_in_the_clear() -> None:
    text = page_offer(OFFER)
    assert "crypto" not in text
    assert parse_sdp(text).value("group") == "BUNDLE 1"
    assert parse_sdp(text).media[0].values("candidate") == ["1 1 UDP 2130706431 192.0.2.7 41000 typ host"]


@pytest.mark.parametrize("lacks", ["ice-ufrag", "ice-pwd", "fingerprint", "candidate"])
def test_an_offer_that_no_page_can_use_is_said(lacks: str) -> None:
    text = "\r\n".join(line for line in OFFER.split("\r\n") if not line.startswith(f"a={lacks}"))
    with pytest.raises(RemoteProtocolError, match=lacks):
        page_offer(text)


def test_the_pages_answer_in_a_call_and_before() -> None:
    answer = read_page_answer(ANSWER)
    assert answer.payload_types == {"PCMU": 0, "opus": 111}
    idle, active = parse_sdp(answer.idle()).media[0], parse_sdp(answer.active({8000: 101})).media[0]
    assert (idle.has("inactive"), idle.has("sendrecv")) == (True, False)
    assert (active.has("inactive"), active.has("sendrecv")) == (False, True)
    assert not active.values("candidate")  # names cost a look-up
    assert active.formats == ("0", "111", "101")  # so that rtpengine tells of keys
    assert "101 telephone-event/8000" in active.values("rtpmap")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("m=audio 9", "m=audio 0"), "refused"),
        (("m=audio 9", "m=video 9"), "one audio"),
        (("a=setup:active\r\n", ""), "setup"),
        (("SAVPF 0 111", "SAVPF 13"), "none of the codecs"),
        (("v=0", "w=0"), "v=0"),
    ],
)
def test_answers_of_a_page_that_cannot_be_used(change: tuple[str, str], says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        read_page_answer(ANSWER.replace(*change))


def test_where_rtpengine_receives() -> None:
    plain = f"{HEAD}m=audio 41000 RTP/AVP 0\r\na=rtcp:41007\r\n"
    assert read_our_side(plain, "plain", "me").local == LocalMedia("192.0.2.7", 41000, 41007)
    assert read_our_side(f"{HEAD}m=audio 41000 RTP/AVP 0\r\n", "plain", "me").local.rtcp_port == 41001
    ours = read_our_side(OFFER, "sdes", "me")
    assert ours.keys == {"AES_CM_128_HMAC_SHA1_80": bytes(30)}
    browser = read_our_side(OFFER, "webrtc", "me").transport
    assert browser is not None
    assert (browser.username, browser.fingerprint, browser.ssrc) == ("abcd", ("sha-256", "AA:BB"), None)
    with pytest.raises(Unavailable):
        read_our_side(f"{HEAD}m=audio 0 RTP/AVP 0\r\n", "plain", "me")
    with pytest.raises(RemoteProtocolError, match="keys"):
        read_our_side(plain, "sdes", "me")
    with pytest.raises(RemoteProtocolError, match="ICE"):
        read_our_side(plain, "webrtc", "me")


def test_what_rtpengine_is_told_of_a_peer() -> None:
    peer = SdpSession(1, ("opus", "PCMA", "PCMU"))
    offer = peer.create_offer(LocalMedia("198.51.100.5", 9000, 9001)).replace("a=sendrecv", "a=sendonly")
    offer = offer.replace(" 111 ", " 96 ").replace(":111 ", ":96 ")
    ours = read_our_side(f"{HEAD}m=audio 41000 RTP/AVP 0\r\n", "plain", "me")
    _, negotiated = SdpSession(2, ("opus", "PCMA", "PCMU")).answer_offer(offer, ours.local)
    audio = parse_sdp(describe_peer(negotiated, "plain", PAGE_PAYLOAD_TYPES, ours)).media[0]
    assert audio.formats == ("96", "8", "0", "101", "110")
    assert audio.port == 9000
    assert audio.has("sendonly")
    audio = parse_sdp(describe_peer(negotiated, "plain", {"PCMU": 0, "PCMA": 77}, ours)).media[0]
    assert audio.formats == ("96", "0", "101", "110")  # PCMA has another number on each side


def test_the_peers_key_is_told_under_rtpengines_tag() -> None:
    peer = SdpSession(1, ("PCMU",), secure=True)
    offer = peer.create_offer(LocalMedia("198.51.100.5", 9000, 9001))
    text = OFFER.replace("crypto:1 ", "crypto:7 ")
    ours = read_our_side(text, "sdes", "me")
    only = "\r\n".join(line for line in offer.split("\r\n") if "crypto" not in line or "SHA1_80" in line)
    session = SdpSession(2, ("PCMU",))
    session.use_keys(ours.keys)
    answer, negotiated = session.answer_offer(only, ours.local)
    assert f"inline:{'A' * 40}" in answer
    (line,) = parse_sdp(describe_peer(negotiated, "sdes", PAGE_PAYLOAD_TYPES, ours)).media[0].values("crypto")
    assert negotiated.crypto is not None
    assert line == Crypto(7, "AES_CM_128_HMAC_SHA1_80", negotiated.crypto.theirs.key).value()


def test_nobody_is_at_no_address() -> None:
    audio = parse_sdp(stand_in(PAGE_PAYLOAD_TYPES, {8000: 101})).media[0]
    assert audio.port == 9
    assert audio.formats == ("0", "8", "9", "111", "101")


def test_a_preview_changes_nothing() -> None:
    session = SdpSession(1, ("PCMU", "PCMA"))
    offer = SdpSession(2, ("PCMA",)).create_offer(LocalMedia("198.51.100.5", 9000, 9001))
    assert session.preview(offer).codec == "PCMA"
    assert session.negotiated is None
    assert "o=- 1 1 " in session.answer_offer(offer, LocalMedia("192.0.2.7", 1, 2))[0]


def query(**stream: object) -> dict[str, object]:
    rtcp = {"stats": {"packets": 4}}
    return {
        "tags": {"t": {"medias": [{"streams": [{"stats": {"packets": 3, "bytes": 9, "errors": 1}, **stream}, rtcp]}]}}
    }


def test_figures_of_a_tag() -> None:
    answer = query(SSRC=77, flags=["RTP", "DTLS fingerprint verified"])
    assert read_tag(answer, "t") == TagFigures(3, 9, 1, 4, 77, True)  # type: ignore[arg-type]
    assert read_tag(answer, "other") is None  # type: ignore[arg-type]
    assert read_tag({"tags": 5}, "t") is None


def test_what_receivers_reported() -> None:
    said = {"SSRC": {"77": {"average MOS": {"samples": 2, "round-trip time": 41_000, "jitter": 3, "packet loss": 7}}}}
    assert read_heard(said, 77) == Heard(41.0, 3.0, 7.0)
    assert read_heard(said, 78) == Heard()
    assert read_heard({"SSRC": {"77": {"average MOS": {"samples": 0}}}}, 77) == Heard()


def key(**changed: object) -> bytes:
    said = {"callid": "c", "source_tag": "t", "type": "DTMF", "event": 11, "duration": 80, "volume": 10, **changed}
    return json.dumps(said).encode()


def test_keys_that_rtpengine_tells_of() -> None:
    assert parse_key(key()) == ("c", "t", KeyPress("#", 80))
    assert parse_key(key(duration=10**9)) == ("c", "t", KeyPress("#", 10_000))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff", b"[]", b"5", b"[" * 2000, b"x" * 5000,
        key(type="x"), key(event=16), key(event=-1), key(event="1"), key(duration=-1), key(callid=5),
        key(source_tag=None),
    ],
)  # fmt: skip
def test_what_is_no_key(data: bytes) -> None:
    assert parse_key(data) is None
