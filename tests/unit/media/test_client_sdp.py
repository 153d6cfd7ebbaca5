"""The transport of a WebRTC client's description, taken off and put on."""

from __future__ import annotations

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.media.client_sdp import MAX_CANDIDATES, NOWHERE, OwnTransport, put_on, take_off
from gateway.protocol.sdp import NoCommonCodec, SdpSession, parse_sdp

pytestmark = pytest.mark.unit

DIGEST = ":".join(["AB"] * 32)
LOCAL_NAME = "candidate:1 1 udp 2113937151 039a211c-55b3-4cd5-86da-133276d8f4f4.local 40493 typ host generation 0"
HOST = "candidate:2 1 udp 2113937151 10.0.0.7 40494 typ host generation 0 network-id 1"
TCP = "candidate:3 1 tcp 1518280447 10.0.0.7 9 typ host tcptype active generation 0"
RTCP_COMPONENT = "candidate:4 2 udp 2113937150 10.0.0.7 40495 typ host"
TRANSPORT = [
    f"a={LOCAL_NAME}", f"a={HOST}", f"a={TCP}", f"a={RTCP_COMPONENT}", "a=ice-ufrag:Zk1b",
    "a=ice-pwd:0123456789012345678901", "a=ice-options:trickle", f"a=fingerprint:sha-256 {DIGEST.lower()}",
    "a=setup:actpass",
]  # fmt: skip
AUDIO = [
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", *TRANSPORT,
    "a=mid:0", "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "a=sendrecv", "a=msid:s t", "a=rtcp-mux",
    "a=rtcp-rsize", "a=rtpmap:111 opus/48000/2", "a=rtcp-fb:111 transport-cc", "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:63 red/48000/2", "a=rtpmap:9 G722/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:13 CN/8000", "a=rtpmap:110 telephone-event/48000", "a=rtpmap:126 telephone-event/8000",
    "a=ssrc:1 cname:x",
]  # fmt: skip
VIDEO = ["m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", *TRANSPORT, "a=mid:1", "a=rtpmap:96 VP8/90000"]
OWN = OwnTransport(
    "ufra", "p" * 22, ("sha-256", DIGEST),
    ["a 1 udp 2130706431 192.0.2.9 30000 typ host", "b 1 udp 2130706175 2001:db8::9 30000 typ host"],
    "active", 77, "me",
)  # fmt: skip


def chrome(*sections: list[str], bundle: str = "0") -> str:
    head = ["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {bundle}"]
    return "\r\n".join([*head, "a=msid-semantic: WMS s", *(line for one in sections for line in one)]) + "\r\n"


def test_a_browsers_offer_becomes_a_plain_one() -> None:
    plain, remote = take_off(chrome(AUDIO))
    assert remote is not None
    assert (remote.username, remote.password, remote.setup, remote.lite) == (
        "Zk1b", "0123456789012345678901", "actpass", False,
    )  # fmt: skip
    assert remote.fingerprints == {("sha-256", DIGEST)}
    assert remote.candidates == ("2 1 udp 2113937151 10.0.0.7 40494 typ host",)
    _, negotiated = SdpSession(1, ("PCMU", "PCMA")).answer_offer(plain, NOWHERE)
    assert negotiated.direction == "sendrecv"  # port 9 and 0.0.0.0 are no hold
    assert (negotiated.codec, negotiated.telephone_event) == ("PCMU", 126)


def test_the_answer_has_our_transport_and_the_clients_payload_types() -> None:
    plain, _ = take_off(chrome(AUDIO))
    answer, _ = SdpSession(1, ("PCMU", "PCMA")).answer_offer(plain, NOWHERE)
    written = parse_sdp(str(put_on(answer, OWN, "UDP/TLS/RTP/SAVPF")))
    (audio,) = written.media
    assert (audio.profile, audio.port, audio.address) == ("UDP/TLS/RTP/SAVPF", 30_000, "192.0.2.9")
    assert audio.formats == ("0", "8", "126")
    assert audio.values("candidate") == list(OWN.candidates)
    assert [audio.value(name) for name in ("ice-ufrag", "ice-pwd", "setup", "mid", "fingerprint", "ssrc", "msid")] == [
        "ufra", "p" * 22, "active", "0", f"sha-256 {DIGEST}", "77 cname:me", "me audio",
    ]  # fmt: skip
    assert audio.has("rtcp-mux")
    assert audio.has("end-of-candidates")
    assert not audio.has("rtcp")
    assert not audio.has("extmap")
    assert sum(1 for name, _ in audio.attributes if name == "rtcp-mux") == 1
    assert written.value("group") == "BUNDLE 0"


@pytest.mark.parametrize("sections", [(AUDIO, VIDEO), (VIDEO, AUDIO)], ids=["audio first", "video first"])
def test_video_is_refused_in_its_place(sections: tuple[list[str], ...]) -> None:
    plain, _ = take_off(chrome(*sections, bundle="0 1"))
    answer, _ = SdpSession(1, ("PCMU", "PCMA")).answer_offer(plain, NOWHERE)
    written = parse_sdp(str(put_on(answer, OWN, "UDP/TLS/RTP/SAVPF")))
    by_kind = {one.media: one for one in written.media}
    assert [one.media for one in written.media] == [one[0].split()[0][2:] for one in sections]
    assert by_kind["video"].port == 0
    assert by_kind["video"].profile == "UDP/TLS/RTP/SAVPF"
    assert by_kind["audio"].port == 30_000
    assert written.value("group") == "BUNDLE 0"  # RFC 9143 section 7.3.3: what is refused leaves the group


def test_audio_that_is_bundled_only_takes_its_transport_from_the_first_of_the_group() -> None:
    bare = [line for line in AUDIO if line not in TRANSPORT]
    bare[0] = bare[0].replace("audio 9", "audio 0")
    plain, remote = take_off(chrome(VIDEO, [*bare, "a=bundle-only"], bundle="1 0"))
    assert remote is not None
    assert (remote.username, remote.setup, len(remote.candidates)) == ("Zk1b", "actpass", 1)
    assert [one.port for one in parse_sdp(plain).media] == [0, 9]


def test_transport_may_stand_at_session_level() -> None:
    text = chrome([line for line in AUDIO if not line.startswith(("a=fingerprint", "a=setup", "a=ice-"))])
    head, _, rest = text.partition("m=audio")
    _, remote = take_off(head + "\r\n".join(TRANSPORT[4:]) + "\r\nm=audio" + rest)
    assert remote is not None
    assert remote.fingerprints == {("sha-256", DIGEST)}
    assert remote.username == "Zk1b"


def test_only_so_many_candidates_are_taken() -> None:
    many = [f"a=candidate:{n} 1 udp 1 10.0.1.{n} 5000 typ host" for n in range(200)]
    _, remote = take_off(chrome([*AUDIO, *many]))
    assert remote is not None
    assert len(remote.candidates) == MAX_CANDIDATES


@pytest.mark.parametrize(
    "candidate",
    [
        "1 1 udp 1 10.0.0.7 70000 typ host", "1 1 udp 1 10.0.0.7 0 typ host", "1 1 udp 1 224.0.0.1 5000 typ host",
        "1 1 udp 1 0.0.0.0 5000 typ host", "1 1 udp 1 255.255.255.255 5000 typ host",
        "1 1 udp x 10.0.0.7 5000 typ host",
        "1 1 udp 1 host.example 5000 typ host", "1 1 udp 1 10.0.0.7 5000 host typ", "1 1 udp 1 10.0.0.7 5000",
    ],
)  # fmt: skip
def test_a_candidate_that_cannot_be_sent_to_is_passed_over(candidate: str) -> None:
    lines = [line for line in AUDIO if not line.startswith("a=candidate")]
    _, remote = take_off(chrome([*lines, f"a=candidate:{candidate}", "a=candidate:9 1 UDP 1 ::1 5000 typ host"]))
    assert remote is not None
    assert remote.candidates == ("9 1 UDP 1 ::1 5000 typ host",)


def test_a_refused_answer_is_passed_on_as_it_is() -> None:
    refused = [AUDIO[0].replace("audio 9", "audio 0"), *AUDIO[1:]]
    text = chrome(refused)
    assert take_off(text) == (text, None)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("a=rtcp-mux", "a=x", 488),
        ("UDP/TLS/RTP/SAVPF", "RTP/SAVPF", 488),
        (f"sha-256 {DIGEST.lower()}", "sha-1 AB:CD", 488),
        ("a=fingerprint", "a=x", 488),
        ("setup:actpass", "setup:holdconn", 488),
        ("a=ice-ufrag:Zk1b", "a=ice-ufrag:Z", 400),
        ("a=ice-pwd:0123456789012345678901", "a=ice-pwd:short", 400),
    ],
)
def test_an_offer_that_lacks_what_webrtc_needs_is_refused(old: str, new: str, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        take_off(chrome(AUDIO).replace(old, new))
    assert caught.value.status == status


def test_an_offer_without_audio_is_refused() -> None:
    with pytest.raises(NoCommonCodec):
        take_off(chrome(VIDEO))
