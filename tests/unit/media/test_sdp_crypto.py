"""SDES keys and rtcp-mux in offer and answer."""

from __future__ import annotations

import base64

import pytest

from gateway.protocol.sdp import LocalMedia, NoCommonCodec, SdpSession, parse_sdp
from gateway.protocol.sdp.crypto import KEY_BYTES, Crypto, parse_crypto

pytestmark = pytest.mark.unit

LOCAL = LocalMedia("192.0.2.1", 20000, 20001)
KEY = bytes(range(30))
INLINE = base64.b64encode(KEY).decode()
SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
GCM = "AEAD_AES_128_GCM"
SHA1_32 = "AES_CM_128_HMAC_SHA1_32"


def offer(*media: str) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-", "c=IN IP4 192.0.2.7", "t=0 0", *media]
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize(
    ("value", "crypto"),
    [
        (f"1 {SHA1_80} inline:{INLINE}", Crypto(1, SHA1_80, KEY)),
        (f"0 {SHA1_32} inline:{INLINE}|2^20", Crypto(0, SHA1_32, KEY)),
        (f"7 {SHA1_80} INLINE:{INLINE} WSH=128", Crypto(7, SHA1_80, KEY)),
        (f"2 {GCM} inline:{base64.b64encode(KEY[:28]).decode().rstrip('=')}", Crypto(2, GCM, KEY[:28])),
        (f"1 {SHA1_80} inline:{INLINE}|2^20|1:4", None),
        (f"1 {SHA1_80} inline:{INLINE}|1:4", None),
        (f"1 {SHA1_80} inline:{INLINE};inline:{INLINE}", None),
        (f"1 {SHA1_80} inline:{INLINE} UNENCRYPTED_SRTP", None),
        (f"1 {SHA1_80} inline:{INLINE[:-4]}", None),
        (f"1 {SHA1_80} inline:????", None),
        (f"1 {SHA1_80} uri:{INLINE}", None),
        (f"1 F8_128_HMAC_SHA1_80 inline:{INLINE}", None),
        (f"x {SHA1_80} inline:{INLINE}", None),
        (f"1 {SHA1_80}", None),
        ("", None),
    ],
)  # fmt: skip
def test_crypto_lines(value: str, crypto: Crypto | None) -> None:
    assert parse_crypto(value) == crypto


def test_keys_are_not_shown() -> None:
    crypto = Crypto(1, SHA1_80, KEY)
    assert parse_crypto(crypto.value()) == crypto
    for shown in (repr(crypto), str(crypto)):
        assert INLINE not in shown
        assert "x00" not in shown
    session = SdpSession(1)
    _, negotiated = session.answer_offer(
        offer("m=audio 4000 RTP/SAVP 0", f"a=crypto:1 {SHA1_80} inline:{INLINE}"), LOCAL
    )
    assert "x00" not in repr(negotiated)
    assert INLINE not in repr(negotiated)


def test_the_first_suite_that_we_know_is_answered_with_its_tag_and_our_key() -> None:
    session = SdpSession(1)
    sdp = offer(
        "m=audio 4000 RTP/SAVP 0 101",
        f"a=crypto:3 AES_192_CM_HMAC_SHA1_80 inline:{INLINE}",
        f"a=crypto:4 {SHA1_32} inline:{INLINE}",
        f"a=crypto:5 {SHA1_80} inline:{INLINE}",
    )
    text, negotiated = session.answer_offer(sdp, LOCAL)
    audio = parse_sdp(text).media[0]
    assert (audio.profile, audio.port) == ("RTP/SAVP", 20000)
    ours = parse_crypto(audio.value("crypto") or "")
    assert negotiated.crypto is not None
    assert negotiated.crypto.theirs == Crypto(4, SHA1_32, KEY)
    assert negotiated.crypto.ours == ours
    assert ours is not None
    assert (ours.tag, ours.suite) == (4, SHA1_32)
    assert ours.key != KEY
    again, _ = session.answer_offer(sdp, LOCAL)  # our key stays, and nothing changed
    assert again == text


def test_srtp_is_taken_over_plain_rtp_where_both_are_offered() -> None:
    text, negotiated = SdpSession(1).answer_offer(
        offer("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/SAVP 0", f"a=crypto:1 {SHA1_80} inline:{INLINE}"), LOCAL
    )
    assert [media.port for media in parse_sdp(text).media] == [0, 20000]
    assert negotiated.remote == ("192.0.2.7", 4002)


def test_a_plain_offer_with_keys_stays_plain() -> None:
    text, negotiated = SdpSession(1).answer_offer(
        offer("m=audio 4000 RTP/AVP 0", f"a=crypto:1 {SHA1_80} inline:{INLINE}"), LOCAL
    )
    assert negotiated.crypto is None
    assert "crypto" not in text


def test_our_offer_is_answered_and_offered_again_with_the_same_keys() -> None:
    session, peer = SdpSession(1, secure=True), SdpSession(2)
    text = session.create_offer(LOCAL)
    audio = parse_sdp(text).media[0]
    assert audio.profile == "RTP/SAVP"
    assert [line.split()[1] for line in audio.values("crypto")] == list(KEY_BYTES)
    answer, theirs = peer.answer_offer(text, LOCAL)
    ours = session.accept_answer(answer)
    assert ours.crypto is not None
    assert theirs.crypto is not None
    assert (ours.crypto.ours, ours.crypto.theirs) == (theirs.crypto.theirs, theirs.crypto.ours)
    assert parse_sdp(session.create_offer(LOCAL)).media[0].values("crypto") == [ours.crypto.ours.value()]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("RTP/SAVP", "RTP/AVP"),
        lambda text: text.replace("a=crypto:1", "a=crypto:9"),
        lambda text: text.replace(SHA1_80, SHA1_32),
        lambda text: "\r\n".join(line for line in text.split("\r\n") if not line.startswith("a=crypto")),
    ],
    ids=["plain", "tag", "suite", "no key"],
)
def test_an_answer_without_what_was_offered_is_refused(change: object) -> None:
    session = SdpSession(1, secure=True)
    answer, _ = SdpSession(2).answer_offer(session.create_offer(LOCAL), LOCAL)
    with pytest.raises(NoCommonCodec, match="encryption"):
        session.accept_answer(change(answer))  # type: ignore[operator]


def test_a_secure_answer_to_a_plain_offer_is_refused() -> None:
    session = SdpSession(1)
    answer, _ = SdpSession(2).answer_offer(session.create_offer(LOCAL), LOCAL)
    with pytest.raises(NoCommonCodec, match="not offered"):
        session.accept_answer(answer.replace("RTP/AVP", "RTP/SAVP"))


def test_rtcp_mux_is_answered_and_kept() -> None:
    session = SdpSession(1)
    text, negotiated = session.answer_offer(offer("m=audio 4000 RTP/AVP 0", "a=rtcp:4001", "a=rtcp-mux"), LOCAL)
    audio = parse_sdp(text).media[0]
    assert audio.has("rtcp-mux")
    assert audio.value("rtcp") == "20000"
    assert negotiated.rtcp_mux
    assert negotiated.remote_rtcp == ("192.0.2.7", 4000)
    reoffer = session.create_offer(LOCAL)
    assert parse_sdp(reoffer).media[0].has("rtcp-mux")
    without, _ = SdpSession(3).answer_offer(reoffer.replace("a=rtcp-mux\r\n", ""), LOCAL)
    assert not session.accept_answer(without).rtcp_mux


def test_rtcp_mux_is_not_offered() -> None:
    assert "rtcp-mux" not in SdpSession(1).create_offer(LOCAL)
