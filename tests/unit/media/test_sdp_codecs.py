"""Offer and answer with every codec: Opus and its parameters (RFC 7587), G.722, events of two clocks, comfort noise."""

from __future__ import annotations

import pytest

from gateway.protocol.sdp import LocalMedia, Negotiated, NoCommonCodec, SdpSession

pytestmark = pytest.mark.unit

LOCAL = LocalMedia("192.0.2.1", 20000, 20001)
ALL = ("opus", "G722", "PCMA", "PCMU")
OPUS = "a=rtpmap:96 opus/48000/2"
EVENTS_8000, EVENTS_48000 = "a=rtpmap:101 telephone-event/8000", "a=rtpmap:100 telephone-event/48000"


def offer(*lines: str) -> str:
    head = ["v=0", "o=- 1 1 IN IP4 198.51.100.5", "s=-", "c=IN IP4 198.51.100.5", "t=0 0"]
    return "\r\n".join([*head, *lines, ""])


def answer_to(*lines: str, codecs: tuple[str, ...] = ALL) -> tuple[list[str], Negotiated]:
    text, negotiated = SdpSession(1, codecs).answer_offer(offer(*lines), LOCAL)
    return text.split("\r\n"), negotiated


def test_our_offer_has_all_in_our_order_and_events_of_both_clocks() -> None:
    lines = SdpSession(1, ALL).create_offer(LOCAL).split("\r\n")
    assert lines[5:14] == [
        "m=audio 20000 RTP/AVP 111 9 8 0 101 110",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 useinbandfec=1",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:110 telephone-event/48000",
        "a=sendrecv",
    ]


@pytest.mark.parametrize(
    ("codecs", "formats"), [(("opus",), "111 110"), (("PCMA",), "8 101"), (("G722", "opus"), "9 111 101 110")]
)
def test_events_are_offered_by_the_clocks_of_the_audio(codecs: tuple[str, ...], formats: str) -> None:
    assert f"m=audio 20000 RTP/AVP {formats}\r\n" in SdpSession(1, codecs).create_offer(LOCAL)


def test_the_order_of_the_offer_is_followed_and_its_numbers_kept() -> None:
    lines, got = answer_to(
        "m=audio 4000 RTP/AVP 18 9 96 0 101 100", OPUS, EVENTS_8000, EVENTS_48000, "a=fmtp:96 stereo=1;usedtx=1"
    )
    assert lines[5] == "m=audio 20000 RTP/AVP 9 96 0 101 100"
    assert "a=fmtp:96 useinbandfec=1" in lines
    assert (got.codec, got.payload_type, got.telephone_event) == ("G722", 9, 101)
    assert got.events == {8000: 101, 48000: 100}
    assert got.send == {"G722": 9, "opus": 96, "PCMU": 0}


@pytest.mark.parametrize("rtpmap", ["OPUS/48000/2", "opus/48000", "Opus/48000/1"])
def test_opus_is_known_however_it_is_written(rtpmap: str) -> None:
    lines, got = answer_to("m=audio 4000 RTP/AVP 120", f"a=rtpmap:120 {rtpmap}")
    assert "a=rtpmap:120 opus/48000/2" in lines
    assert (got.codec, got.payload_type) == ("opus", 120)


@pytest.mark.parametrize("rtpmap", ["opus/8000", "opus/48000/6", "opus/48000/2/1", "opus", "G722/16000", "G722/8000/2"])
def test_what_is_no_codec_of_ours_is_refused(rtpmap: str) -> None:
    with pytest.raises(NoCommonCodec, match="opus, G722, PCMA or PCMU"):
        answer_to("m=audio 4000 RTP/AVP 120", f"a=rtpmap:120 {rtpmap}")


def test_what_is_not_configured_is_not_spoken() -> None:
    with pytest.raises(NoCommonCodec):
        answer_to("m=audio 4000 RTP/AVP 96 9", OPUS, codecs=("PCMA",))


@pytest.mark.parametrize(
    ("formats", "chosen", "event"),
    [
        ("96 0 101 100", {8000: 101, 48000: 100}, 100),
        ("96 101", {8000: 101}, 101),  # many phones know no other beside Opus
        ("96 100", {48000: 100}, 100),
        ("0 100", {}, None),  # RFC 4733 section 2.1: the clock of the audio
        ("0 101 100", {8000: 101}, 101),
        ("96 101 100", {48000: 100}, 100),
    ],
)
def test_events_have_the_clock_of_the_audio(formats: str, chosen: dict[int, int], event: int | None) -> None:
    _, got = answer_to(f"m=audio 4000 RTP/AVP {formats}", OPUS, EVENTS_8000, EVENTS_48000)
    assert (got.events, got.telephone_event) == (chosen, event)


@pytest.mark.parametrize(
    ("fmtp", "bps"),
    [
        ("96 useinbandfec=1", None),
        ("96 maxaveragebitrate=24000", 24_000),
        ("96 maxplaybackrate=8000; maxaveragebitrate=64000", 12_000),
        ("96 MaxPlaybackRate=16000", 20_000),
        ("96 maxplaybackrate=48000;stereo=0", None),
        ("96 maxplaybackrate=x;maxaveragebitrate=1;maxaveragebitrate=9000", None),
        ("97 maxaveragebitrate=24000", None),
        ("96", None),
        ("x", None),
    ],
)
def test_the_parameters_of_opus_limit_what_is_sent(fmtp: str, bps: int | None) -> None:
    _, got = answer_to("m=audio 4000 RTP/AVP 96", OPUS, f"a=fmtp:{fmtp}")
    assert got.max_bitrate_bps == bps


def test_comfort_noise_is_tolerated_and_not_agreed_on() -> None:
    lines, got = answer_to("m=audio 4000 RTP/AVP 0 13 98", "a=rtpmap:98 CN/16000")
    assert lines[5] == "m=audio 20000 RTP/AVP 0"
    assert got.receive == {0: "PCMU", 13: "CN", 98: "CN"}


def test_a_further_offer_keeps_numbers_and_puts_the_codec_in_use_first() -> None:
    session = SdpSession(1, ALL)
    session.answer_offer(offer("m=audio 4000 RTP/AVP 8 111 110", "a=rtpmap:111 telephone-event/8000",
                               "a=rtpmap:110 opus/48000/2"), LOCAL)  # fmt: skip
    line = session.create_offer(LOCAL).split("\r\n")[5]
    assert line == "m=audio 20000 RTP/AVP 8 110 9 0 111 96"
    # The peer's numbers count as well where it answers with others of its own (RFC 3264 section 6.1).
    got = session.accept_answer(offer("m=audio 4000 RTP/AVP 97 111", "a=rtpmap:97 opus/48000/2",
                                      "a=rtpmap:111 telephone-event/8000"))  # fmt: skip
    assert (got.codec, got.payload_type, got.telephone_event) == ("opus", 97, 111)
    assert {n for n, name in got.receive.items() if name == "opus"} == {97, 110}


def test_rtcp_is_told_where_it_is_not_beside_rtp() -> None:
    assert "a=rtcp" not in SdpSession(1, ALL).create_offer(LOCAL)
    assert "a=rtcp:20007\r\n" in SdpSession(1, ALL).create_offer(LocalMedia("192.0.2.1", 20000, 20007))
