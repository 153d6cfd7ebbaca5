"""Whatever comes from the wire is read or refused, and what is written is read back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs import opus
from gateway.domain.codecs import CODECS
from gateway.domain.errors import RemoteProtocolError
from gateway.media.keys import KeyTap
from gateway.media.lock import SourceLock
from gateway.media.path import PacketPath, routes
from gateway.protocol.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    Reporter,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)
from gateway.protocol.rtp import OutgoingStream, Reception, RtpHeader, build_packet, parse_header, payload_of
from gateway.protocol.sdp import LocalMedia, SdpSession, SessionDescription, parse_sdp
from gateway.webrtc.sdp import parse_answer

pytestmark = pytest.mark.property

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
LOCAL = LocalMedia("192.0.2.1", 20000, 20001)
word = st.integers(0, 0xFFFFFFFF)
headers = st.builds(RtpHeader, st.integers(0, 127), st.integers(0, 0xFFFF), word, word, st.booleans())
blocks = st.builds(ReportBlock, word, st.integers(0, 255), st.integers(-0x800000, 0x7FFFFF), word, word, word, word)
reports = st.lists(blocks, max_size=31).map(tuple)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)
packets: st.SearchStrategy[RtcpPacket] = st.one_of(
    st.builds(SenderReport, word, st.integers(0, 2**64 - 1), word, word, word, reports),
    st.builds(ReceiverReport, word, reports),
    st.builds(SourceDescription, st.lists(st.tuples(word, texts), max_size=31).map(tuple)),
    st.builds(Goodbye, st.lists(word, max_size=31).map(tuple), texts),
)
# Bytes that look like RTP or RTCP get further than any bytes do.
alike = st.builds(
    lambda first, second, rest: bytes((first, second)) + rest,
    st.integers(0x80, 0xBF), st.sampled_from([0, 8, 71, 100, 101, 128, *range(199, 207)]), st.binary(max_size=120),
)  # fmt: skip


@given(headers, st.binary(max_size=400))
def test_rtp_is_read_back(header: RtpHeader, payload: bytes) -> None:
    packet = build_packet(header, payload)
    assert parse_header(packet) == header
    assert payload_of(packet) == payload


@given(st.lists(packets, min_size=1, max_size=4))
def test_rtcp_is_read_back(compound: list[RtcpPacket]) -> None:
    assert list(parse_compound(build_compound(compound))) == compound


@given(st.one_of(st.binary(max_size=200), alike))
def test_any_packet_is_read_or_refused(data: bytes) -> None:
    for parse in (parse_header, payload_of, parse_compound):
        with contextlib.suppress(RemoteProtocolError):
            parse(data)
    with contextlib.suppress(RemoteProtocolError):
        Reporter(OutgoingStream(lambda bits: 1), Reception(), "x").receive(data, 1.0, 1e9)


@given(st.lists(st.tuples(st.one_of(st.binary(max_size=60), alike), st.floats(0, 0.1)), max_size=60))
def test_the_packet_path_survives_any_packets_and_keeps_its_counts(arrivals: list[tuple[bytes, float]]) -> None:
    path = PacketPath(OutgoingStream(lambda bits: (1 << bits) - 1))
    receive = {0: "PCMU", 8: "PCMA", 101: "telephone-event", 71: "opus", 100: "telephone-event/48000"}
    path.set_routes(routes(receive, {"PCMA": 8, "opus": 111}))
    path.quiet_until_s = 0.5
    path.key_tap = KeyTap({8: "PCMA", 111: "opus"}, {48000: 110, 8000: 101})
    lock = SourceLock(path.accepts, lambda: path.reception.ssrc)
    now = 0.0
    passed = 0
    for packet, gap in arrivals:
        now += gap
        lock.admit(("192.0.2.7", 4000), packet, now)
        forwarded = path.forward(packet, now)
        if forwarded is not None:
            passed += 1
            header = parse_header(forwarded)
            assert header.payload_type in {8, 111, 101, 110}
            assert header.ssrc == 0xFFFFFFFF
    assert path.passed == passed
    assert passed + sum(path.dropped.values()) == len(arrivals)
    Reporter(path.outgoing, path.reception, "x").report(now, 1e9)


@given(st.lists(st.integers(0, 90), min_size=1, unique=True), st.integers(0, 0xFFFF), word)
def test_what_arrives_in_whatever_order_keeps_its_distances(order: list[int], sequence: int, timestamp: int) -> None:
    path = PacketPath(OutgoingStream(lambda bits: 0))
    path.set_routes(routes({0: "PCMU"}, {"PCMU": 0}))
    first = order[0]
    for index, n in enumerate(order):
        header = RtpHeader(0, (sequence + n) & 0xFFFF, (timestamp + n * 160) & 0xFFFFFFFF, 9)
        forwarded = path.forward(build_packet(header, b"x"), 1.0 + index * 0.02)
        if n < first:
            assert forwarded is None  # its number would be one that was sent before this stream
            continue
        assert forwarded is not None
        got = parse_header(forwarded)
        assert got.sequence == n - first
        assert got.timestamp == (n - first) * 160


sdp_lines = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "o=- 1 1 IN IP4 192.0.2.9", "s=-", "t=0 0", "c=IN IP4 192.0.2.9", "c=IN IP6 2001:db8::9",
                "c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0 8 101", "m=audio 0 RTP/AVP 0",
                "m=video 4000 RTP/AVP 96", "m=audio 9 RTP/SAVP 0", "m=audio 4000 RTP/AVP 96 9 0 13 101 100",
                "a=rtpmap:96 opus/48000/2", "a=rtpmap:100 telephone-event/48000", "a=fmtp:96 maxplaybackrate=8000",
                "a=sendonly", "a=inactive", "a=rtpmap:101 telephone-event/8000", "a=rtpmap:0 PCMA/8000", "a=ptime:x",
                "a=rtcp:x IN IP4", "a=rtcp:4001 IN IP4 1.2.3.4", "a=setup:active", "a=ice-ufrag:x", "a=ice-pwd:y",
                "a=fingerprint:sha-256 AA", "a=candidate:1 1 udp 1 1.2.3.4 5 typ host",
            ]
        ),
        st.text(st.characters(codec="utf-8"), max_size=30),
        st.builds("{}={}".format, st.sampled_from("voscmatb"), st.text(st.characters(codec="utf-8"), max_size=30)),
    ),
    max_size=15,
)  # fmt: skip


@given(sdp_lines)
def test_any_description_is_read_or_refused(lines: list[str]) -> None:
    text = "\r\n".join(["v=0", *lines])
    with contextlib.suppress(RemoteProtocolError):
        parsed = parse_sdp(text)
        assert parse_sdp(str(parsed)).media == parsed.media
    with contextlib.suppress(RemoteProtocolError):
        parse_answer(text)


def check_answer(offered: SessionDescription, answered: SessionDescription) -> None:
    """RFC 3264 section 6: every stream in its place, of its kind and transport, with formats out of the offer."""
    assert len(answered.media) == len(offered.media)
    for ours, theirs in zip(answered.media, offered.media, strict=True):
        assert (ours.media, ours.profile) == (theirs.media, theirs.profile)
        assert set(ours.formats) <= set(theirs.formats)
        assert theirs.port or not ours.port, "a stream that is refused stays refused"
        if ours.port:
            assert list(ours.formats) == [text for text in dict.fromkeys(theirs.formats) if text in ours.formats]
            mapped = {value.split()[0] for value in ours.values("rtpmap")}
            assert mapped == set(ours.formats)
            directions = [name for name in DIRECTIONS if ours.has(name)]
            theirs_direction = next(
                (
                    n
                    for level in (theirs, offered)
                    for n in ("sendrecv", "sendonly", "recvonly", "inactive")
                    if level.has(n)
                ),
                "sendrecv",
            )
            fits = {
                "sendrecv": {"sendrecv", "sendonly", "recvonly", "inactive"}, "sendonly": {"recvonly", "inactive"},
                "recvonly": {"sendonly", "inactive"}, "inactive": {"inactive"},
            }  # fmt: skip
            assert len(directions) == 1
            assert directions[0] in fits[theirs_direction], "RFC 3264 section 6.1"


@given(sdp_lines, sdp_lines)
def test_any_offer_is_answered_as_rfc_3264_says_or_refused(first: list[str], second: list[str]) -> None:
    session = SdpSession(1, tuple(CODECS))
    version = 0
    for lines in (first, second):
        text = "\r\n".join(["v=0", "o=- 1 1 IN IP4 192.0.2.9", *lines])
        try:
            answer, negotiated = session.answer_offer(text, LOCAL)
        except RemoteProtocolError:
            continue
        offered, answered = parse_sdp(text), parse_sdp(answer)
        check_answer(offered, answered)
        assert sum(m.port != 0 for m in answered.media) == 1
        assert negotiated.payload_type in negotiated.receive
        assert answered.origin.session_id == "1"
        assert version <= answered.origin.version <= version + 1
        again = parse_sdp(session.create_offer(LOCAL))
        assert [m.media for m in again.media] == [m.media for m in offered.media]
        assert again.origin.version == answered.origin.version + 1
        version = again.origin.version


@given(st.binary(max_size=300))
def test_any_opus_packet_is_taken_apart_or_refused(packet: bytes) -> None:
    found = opus.frames(packet)
    if found is not None:
        assert sum(map(len, found)) < len(packet)
        assert len(found) * opus.frame_units(packet[0]) == opus.units(packet)
        twice = opus.join([packet, packet])
        if twice is not None:
            assert opus.frames(twice) == found * 2


@given(sdp_lines)
def test_any_answer_is_taken_or_refused(lines: list[str]) -> None:
    session = SdpSession(1)
    session.create_offer(LOCAL)
    with contextlib.suppress(RemoteProtocolError):
        session.accept_answer("\r\n".join(["v=0", "o=- 1 1 IN IP4 192.0.2.9", *lines]))
