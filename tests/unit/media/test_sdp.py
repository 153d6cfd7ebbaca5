"""Session descriptions, read and written; offer and answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import LocalProtocolError, RemoteProtocolError
from gateway.protocol.sdp import LocalMedia, Negotiated, NoCommonCodec, SdpSession, parse_sdp

pytestmark = pytest.mark.unit

LOCAL = LocalMedia("192.0.2.1", 20000, 20001)
HEAD = "v=0\r\no=alice 7 3 IN IP4 198.51.100.5\r\ns=call\r\n"
C = "c=IN IP4 198.51.100.5\r\nt=0 0\r\n"
AUDIO = "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"


def offer(*media: str, head: str = HEAD + C) -> str:
    return head + "".join(line if line.endswith("\r\n") else line + "\r\n" for line in media)


def answer_to(text: str, session: SdpSession | None = None) -> tuple[str, Negotiated]:
    return (session or SdpSession(42)).answer_offer(text, LOCAL)


def lines_of(text: str, kind: str) -> list[str]:
    return [line[2:] for line in text.split("\r\n") if line.startswith(kind + "=")]


# -- our offer -----------------------------------------------------------------------------------------------------


def test_our_offer_is_complete() -> None:
    text = SdpSession(42).create_offer(LOCAL)
    assert text.split("\r\n") == [
        "v=0",
        "o=- 42 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=sendrecv",
        "",
    ]


def test_our_offer_over_ipv6_says_so() -> None:
    text = SdpSession(42).create_offer(LocalMedia("2001:db8::1", 20000, 20001))
    assert lines_of(text, "c") == ["IN IP6 2001:db8::1"]
    assert lines_of(text, "o")[0].endswith("IN IP6 2001:db8::1")


def test_an_answer_chooses_codec_numbers_and_where_to_send() -> None:
    session = SdpSession(42)
    session.create_offer(LOCAL)
    got = session.accept_answer(
        offer("m=audio 4000 RTP/AVP 8 97", "a=rtpmap:97 telephone-event/8000", "a=ptime:30", "a=rtcp:4009")
    )
    assert (got.codec, got.payload_type, got.ptime_ms, got.direction) == ("PCMA", 8, 30, "sendrecv")
    assert (got.telephone_event, got.remote, got.remote_rtcp) == (97, ("198.51.100.5", 4000), ("198.51.100.5", 4009))
    assert got.send == {"PCMA": 8}
    assert got.receive == {0: "PCMU", 8: "PCMA", 97: "telephone-event", 101: "telephone-event"}


def test_an_answer_may_come_twice_and_the_second_holds() -> None:
    session = SdpSession(42)
    session.create_offer(LOCAL)
    session.accept_answer(offer("m=audio 4000 RTP/AVP 8"))
    assert session.accept_answer(offer("m=audio 4002 RTP/AVP 0")).remote == ("198.51.100.5", 4002)
    assert session.negotiated is not None
    assert session.negotiated.codec == "PCMU"


@pytest.mark.parametrize(
    ("media", "why"),
    [
        (["m=audio 0 RTP/AVP 0"], "refused"),
        (["m=audio 4000 RTP/AVP 18"], "common"),
        (["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"], "common"),
        (["m=audio 4000 RTP/SAVP 0"], "not offered"),
    ],
)
def test_an_answer_without_our_audio_is_no_common_codec(media: list[str], why: str) -> None:
    session = SdpSession(42)
    session.create_offer(LOCAL)
    with pytest.raises(NoCommonCodec, match=why) as caught:
        session.accept_answer(offer(*media))
    assert caught.value.status == 488
    assert session.negotiated is None


@pytest.mark.parametrize("media", [[], [AUDIO, AUDIO], ["m=video 4000 RTP/AVP 96"]])
def test_an_answer_that_does_not_fit_the_offer_is_refused(media: list[str]) -> None:
    session = SdpSession(42)
    session.create_offer(LOCAL)
    with pytest.raises(RemoteProtocolError, match="m= lines"):
        session.accept_answer(offer(*media))


def test_an_answer_without_an_offer_is_our_mistake() -> None:
    session = SdpSession(42)
    with pytest.raises(LocalProtocolError):
        session.accept_answer(offer(AUDIO))
    answer_to(offer(AUDIO), session)
    with pytest.raises(LocalProtocolError):
        session.accept_answer(offer(AUDIO))


# -- our answer ----------------------------------------------------------------------------------------------------


def test_an_answer_keeps_the_order_and_the_numbers_of_the_offer() -> None:
    text, got = answer_to(
        offer(
            "m=audio 4000 RTP/AVP 18 8 99 98 13",
            "a=rtpmap:98 telephone-event/8000",
            "a=rtpmap:99 pcmu/8000/1",
            "a=rtpmap:18 G729/8000",
        )
    )
    assert lines_of(text, "m") == ["audio 20000 RTP/AVP 8 99 98"]
    assert "a=rtpmap:99 PCMU/8000" in text
    assert (got.codec, got.send, got.telephone_event) == ("PCMA", {"PCMA": 8, "PCMU": 99}, 98)
    assert got.receive == {8: "PCMA", 99: "PCMU", 98: "telephone-event", 13: "CN"}


@pytest.mark.parametrize("rtpmap", ["0 PCMU/16000", "0 PCMU/8000/2", "0 G726-32/8000", "0 PCMU", "0 PCMU/x"])
def test_a_number_means_what_its_rtpmap_says(rtpmap: str) -> None:
    with pytest.raises(NoCommonCodec):
        answer_to(offer("m=audio 4000 RTP/AVP 0", f"a=rtpmap:{rtpmap}"))


def test_a_malformed_rtpmap_is_no_rtpmap() -> None:
    _, got = answer_to(offer("m=audio 4000 RTP/AVP 0 x 400", "a=rtpmap:", "a=rtpmap:999 PCMA/8000"))
    assert got.send == {"PCMU": 0}


def test_wideband_events_are_left_out() -> None:
    _, got = answer_to(
        offer(
            "m=audio 4000 RTP/AVP 0 96 97",
            "a=rtpmap:96 telephone-event/48000",
            "a=rtpmap:97 telephone-event/8000",
        )
    )
    assert got.telephone_event == 97


def test_other_streams_are_refused_in_place() -> None:
    text, got = answer_to(
        offer(
            "m=video 5000 RTP/AVP 96 97",
            "a=rtpmap:96 H264/90000",
            "m=audio 0 RTP/AVP 0",
            "m=audio 4000 RTP/AVPF 0",
            "a=mid:a",
            "m=image 6000 udptl t38",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        )
    )
    assert lines_of(text, "m") == [
        "video 0 RTP/AVP 96 97",
        "audio 0 RTP/AVP 0",
        "audio 20000 RTP/AVPF 0",
        "image 0 udptl t38",
        "application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ]
    assert "a=mid:a" in text
    assert got.remote == ("198.51.100.5", 4000)


def test_the_first_audio_that_we_speak_is_taken() -> None:
    text, _ = answer_to(offer("m=audio 4000 RTP/SAVP 0", "m=audio 4002 RTP/AVP 18", "m=audio 4004 RTP/AVP 8"))
    assert lines_of(text, "m") == ["audio 0 RTP/SAVP 0", "audio 0 RTP/AVP 18", "audio 20000 RTP/AVP 8"]


@pytest.mark.parametrize(
    ("media", "why"),
    [
        (["m=audio 4000 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"], "SDES keys"),
        (["m=audio 4000 UDP/TLS/RTP/SAVPF 0"], "SDES keys"),
        (["m=video 4000 RTP/AVP 96"], "no audio"),
        (["m=audio 0 RTP/AVP 0"], "no audio"),
        ([], "no audio"),
        (["m=audio 4000 RTP/AVP 18"], "opus, G722, PCMA or PCMU"),
        (["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"], "opus, G722, PCMA or PCMU"),
    ],
)
def test_an_offer_without_audio_for_us_is_488(media: list[str], why: str) -> None:
    with pytest.raises(NoCommonCodec, match=why) as caught:
        answer_to(offer(*media))
    assert (caught.value.status, caught.value.sip_status) == (488, 488)


def test_the_address_is_that_of_the_stream_before_that_of_the_session() -> None:
    _, got = answer_to(offer("m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.9"))
    assert got.remote == ("203.0.113.9", 4000)
    _, got = answer_to(offer("m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::7", head=HEAD + "t=0 0\r\n"))
    assert got.remote == ("2001:db8::7", 4000)
    assert got.remote_rtcp == ("2001:db8::7", 4001)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("5001 IN IP4 203.0.113.9", ("203.0.113.9", 5001)),
        ("5001", ("198.51.100.5", 5001)),
        ("", ("198.51.100.5", 4001)),
        ("99999", ("198.51.100.5", 4001)),
        ("5001 IN IP4", ("198.51.100.5", 4001)),
    ],
)
def test_rtcp_goes_where_the_peer_says(value: str, where: tuple[str, int]) -> None:
    _, got = answer_to(offer(AUDIO, f"a=rtcp:{value}"))
    assert got.remote_rtcp == where


def test_the_last_port_has_no_port_after_it() -> None:
    assert answer_to(offer("m=audio 65535 RTP/AVP 0"))[1].remote_rtcp == ("198.51.100.5", 65535)


@pytest.mark.parametrize("address", ["224.2.1.1/127", "255.255.255.255"])
def test_audio_for_a_group_is_refused(address: str) -> None:
    with pytest.raises(RemoteProtocolError, match="group") as caught:
        answer_to(offer(AUDIO, f"c=IN IP4 {address}"))
    assert caught.value.status == 488


def test_an_offer_without_an_address_is_malformed() -> None:
    with pytest.raises(RemoteProtocolError, match="c= line"):
        answer_to(offer(AUDIO, head=HEAD + "t=0 0\r\n"))


@pytest.mark.parametrize(
    ("attributes", "ptime_ms"),
    [
        ([], 20),
        (["a=ptime:30"], 30),
        (["a=ptime:20.0"], 20),
        (["a=ptime:40", "a=maxptime:30"], 30),
        (["a=maxptime:10"], 10),
        (["a=maxptime:150"], 20),
        (["a=ptime:0"], 20),
        (["a=ptime:x"], 20),
        (["a=ptime"], 20),
        (["a=ptime:2000"], 20),
    ],
)
def test_ptime_is_echoed_where_it_makes_sense(attributes: list[str], ptime_ms: int) -> None:
    text, got = answer_to(offer(AUDIO, *attributes))
    assert got.ptime_ms == ptime_ms
    assert f"a=ptime:{ptime_ms}" in text


# -- hold ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours", "sends", "receives"),
    [
        ("sendrecv", "sendrecv", True, True),
        ("sendonly", "recvonly", False, True),
        ("recvonly", "sendonly", True, False),
        ("inactive", "inactive", False, False),
    ],
)
@pytest.mark.parametrize("level", ["session", "media"])
def test_the_direction_is_answered_by_its_reverse(
    theirs: str, ours: str, sends: bool, receives: bool, level: str
) -> None:
    text, got = answer_to(
        offer(AUDIO, f"a={theirs}") if level == "media" else offer(AUDIO, head=HEAD + C + f"a={theirs}\r\n")
    )
    assert got.direction == ours
    assert (got.sends, got.receives) == (sends, receives)
    assert f"a={ours}\r\n" in text


def test_the_direction_of_the_stream_is_before_that_of_the_session() -> None:
    assert answer_to(offer(AUDIO, "a=sendrecv", head=HEAD + C + "a=inactive\r\n"))[1].direction == "sendrecv"


@pytest.mark.parametrize(
    ("attribute", "ours"),
    [("a=sendrecv", "recvonly"), ("a=sendonly", "recvonly"), ("a=recvonly", "inactive"), ("a=inactive", "inactive")],
)
def test_hold_by_address_means_that_we_must_not_send(attribute: str, ours: str) -> None:
    text, got = answer_to(offer(AUDIO, attribute, head=HEAD + "c=IN IP4 0.0.0.0\r\nt=0 0\r\n"))
    assert got.direction == ours
    assert f"a={ours}\r\n" in text
    assert lines_of(text, "c") == ["IN IP4 192.0.2.1"]  # we can be reached all the same


def test_resume_restores_the_direction_and_counts_versions() -> None:
    session = SdpSession(42)
    texts = [
        answer_to(offer(AUDIO, attribute), session)[0]
        for attribute in ("a=sendrecv", "a=sendonly", "a=sendonly", "a=sendrecv")
    ]
    assert [line.split()[2] for text in texts for line in lines_of(text, "o")] == ["1", "2", "2", "3"]
    assert texts[1] == texts[2]  # RFC 3264 section 8: the same version is the same text
    assert "a=sendrecv" in texts[3]


def test_a_direction_that_we_do_not_want_is_not_agreed() -> None:
    session = SdpSession(42)
    text, got = session.answer_offer(offer(AUDIO), LOCAL, "sendonly")
    assert got.direction == "sendonly"
    assert "a=sendonly" in text
    session.create_offer(LOCAL, "sendonly")
    assert session.accept_answer(offer(AUDIO, "a=recvonly")).direction == "sendonly"
    assert session.accept_answer(offer(AUDIO, "a=inactive")).direction == "inactive"


# -- further offers ------------------------------------------------------------------------------------------------


def test_a_failed_offer_leaves_the_session_as_it_was() -> None:
    session = SdpSession(42)
    _, before = answer_to(offer(AUDIO), session)
    with pytest.raises(NoCommonCodec):
        answer_to(offer("m=image 6000 udptl t38"), session)
    assert session.negotiated is before


def test_our_further_offer_fits_the_session() -> None:
    session = SdpSession(42)
    answer_to(
        offer(
            "m=video 5000 RTP/AVP 96",
            "m=audio 4000 RTP/AVPF 8 101 96",
            "a=rtpmap:101 PCMU/8000",
            "a=rtpmap:96 telephone-event/8000",
        ),
        session,
    )
    text = session.create_offer(LOCAL)
    assert lines_of(text, "m") == ["video 0 RTP/AVP 96", "audio 20000 RTP/AVPF 8 101 96"]
    assert lines_of(text, "o") == ["- 42 2 IN IP4 192.0.2.1"]
    got = session.accept_answer(offer("m=video 0 RTP/AVP 96", "m=audio 4004 RTP/AVPF 8"))
    assert got.remote == ("198.51.100.5", 4004)


def test_a_number_in_use_is_not_given_another_meaning() -> None:
    session = SdpSession(42)
    answer_to(offer("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 PCMU/8000"), session)
    text = session.create_offer(LOCAL)
    assert lines_of(text, "m") == ["audio 20000 RTP/AVP 101 8 96"]
    assert "a=rtpmap:96 telephone-event/8000" in text


def test_a_number_that_changed_its_meaning_keeps_the_new_one() -> None:
    session = SdpSession(42)
    answer_to(offer("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/8000"), session)
    answer_to(offer("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMA/8000"), session)
    assert lines_of(session.create_offer(LOCAL), "m") == ["audio 20000 RTP/AVP 96 0 101"]


# -- reading -------------------------------------------------------------------------------------------------------


def test_a_description_is_written_as_it_was_read() -> None:
    text = offer("m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.9", "a=sendrecv", head=HEAD + "c=IN IP4 1.2.3.4\r\n")
    parsed = parse_sdp(text)
    assert parse_sdp(str(parsed)) == parsed
    assert parsed.origin.version == 3
    assert parsed.media[0].has("sendrecv")
    assert parsed.name == "call"


def test_lines_may_end_with_lf_and_unknown_types_are_skipped() -> None:
    text = offer(AUDIO, head=HEAD + "i=info\r\nb=AS:64\r\nk=clear\r\n" + C).replace("\r\n", "\n") + "\n\n"
    assert answer_to(text)[1].codec == "PCMU"


def test_bandwidth_is_written() -> None:
    assert "b=" not in str(parse_sdp(HEAD + C))
    assert "b=AS:64\r\nt=0 0" in str(replace(parse_sdp(HEAD + C), bandwidth=("AS:64",)))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "v=0"),
        ("v=1\r\n", "v=0"),
        ("v=0\r\ns=-\r\n", "no o="),
        ("v=0\r\no=- 1 x IN IP4 1.2.3.4\r\n", "o= line"),
        ("v=0\r\no=- 1 1 IN\r\n", "o= line"),
        ("v=0\r\no=- 1 1 IN IP5 1.2.3.4\r\n", "o= line"),
        (HEAD + "c=IN IP4\r\n", "c= line"),
        (HEAD + "c=IN IP4 2001:db8::1\r\n", "family"),
        (HEAD + "m=audio 4000 RTP/AVP\r\n", "m= line"),
        (HEAD + "m=audio 70000 RTP/AVP 0\r\n", "m= line"),
        (HEAD + "m=audio -1 RTP/AVP 0\r\n", "m= line"),
        (HEAD + "nonsense\r\n", "x=value"),
        (HEAD + "\r\nm=audio 4000 RTP/AVP 0\r\n", "x=value"),
        (HEAD + "m=audio 4000 RTP/AVP 0\r\n" * 33, "too many"),
        (HEAD + "a=" + "x" * 70_000, "too long"),
    ],
)
def test_what_is_no_description_is_refused(text: str, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        parse_sdp(text)


def test_a_host_by_name_is_kept_as_it_is() -> None:
    _, got = answer_to(offer(AUDIO, "c=IN IP4 pbx.example.com"))
    assert got.remote == ("pbx.example.com", 4000)
