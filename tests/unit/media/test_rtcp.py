"""RTCP packets by their bytes, and the reports of a running stream."""

from __future__ import annotations

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.rtcp import (
    Goodbye,
    OtherRtcp,
    ReceiverReport,
    ReportBlock,
    Reporter,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    build_compound,
    middle_of_ntp,
    ntp_from_unix,
    parse_compound,
    round_trip_s,
)
from gateway.protocol.rtp import OutgoingStream, Reception

pytestmark = pytest.mark.unit

BLOCK = ReportBlock(0xAABBCCDD, 64, -3, 0x00011234, 55, 0xB7058000, 0x00054000)
BLOCK_HEX = "aabbccdd 40fffffd 00011234 00000037 b7058000 00054000"
VECTORS: list[tuple[str, RtcpPacket]] = [
    (
        "81c8000c 00000001 b44db705 80000000 00000002 00000003 00000004" + BLOCK_HEX,
        SenderReport(1, 0xB44DB70580000000, 2, 3, 4, (BLOCK,)),
    ),
    ("81c90007 00000001" + BLOCK_HEX, ReceiverReport(1, (BLOCK,))),
    ("80c90001 00000001", ReceiverReport(1)),
    ("81ca0003 00000001 01056162 63646500", SourceDescription(((1, "abcde"),))),
    ("81ca0003 00000001 01026162 00000000", SourceDescription(((1, "ab"),))),  # the end is a whole word
    (
        "82ca0004 00000001 01016100 00000002 01016200",
        SourceDescription(((1, "a"), (2, "b"))),
    ),
    ("81cb0001 00000001", Goodbye((1,))),
    ("81cb0002 00000001 02686900", Goodbye((1,), "hi")),
    ("81cd0003 00000001 00000002 00010000", OtherRtcp(205, 1, bytes.fromhex("000000010000000200010000"))),
]


@pytest.mark.parametrize(("wire", "packet"), VECTORS)
def test_packets_are_read_and_written_by_their_bytes(wire: str, packet: RtcpPacket) -> None:
    data = bytes.fromhex(wire)
    assert parse_compound(data) == (packet,)
    assert build_compound([packet]) == data


def test_a_compound_packet_is_read_whole() -> None:
    data = b"".join(bytes.fromhex(wire) for wire, _ in VECTORS)
    assert parse_compound(data) == tuple(packet for _, packet in VECTORS)


@pytest.mark.parametrize(("wire", "packet"), VECTORS)
def test_no_vector_is_read_when_it_is_cut(wire: str, packet: RtcpPacket) -> None:
    data = bytes.fromhex(wire)
    for length in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            parse_compound(data[:length])


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        ("", "empty"),
        ("40c90001 00000001", "version"),
        ("80c80001 00000001", "sender report"),
        ("80c90000", "receiver report"),
        ("81c90001 00000001", "report block"),
        ("81ca0000", "source description"),
        ("81ca0001 00000001", "no end"),
        ("81ca0002 00000001 01096162", "item"),
        ("81ca0002 00000001 00010101 80c90001", "cut short"),
        ("82cb0001 00000001", "BYE"),
        ("81cb0002 00000001 09686900", "reason"),
        ("a0c90001 00000000", "padding"),
        ("a0c90001 00000003", "padding"),
        ("a0c90001 00000008", "padding"),
        ("a0c90001 00000004 80c90001 00000001", "padding"),
    ],
)
def test_what_is_no_rtcp_is_refused(wire: str, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        parse_compound(bytes.fromhex(wire))


def test_padding_is_taken_off_the_last_packet() -> None:
    assert parse_compound(bytes.fromhex("a0c90002 00000001 00000004")) == (ReceiverReport(1),)


def test_other_items_of_a_description_are_passed_over() -> None:
    data = bytes.fromhex("81ca0004 00000001 0603783431 0102 6162 000000")  # TOOL, then CNAME
    assert parse_compound(data) == (SourceDescription(((1, "ab"),)),)


def test_ntp_time_is_since_1900() -> None:
    assert ntp_from_unix(0.5) == (2208988800 << 32) | 0x80000000
    assert middle_of_ntp(0x1111222233334444) == 0x22223333


def test_the_round_trip_is_that_of_the_example_in_rfc_3550() -> None:
    # Section 6.4.1, figure 2: SR at 46853.125 s, DLSR 5.250 s, received at 46864.500 s: 6.125 s.
    block = ReportBlock(1, 0, 0, 0, 0, 0xB7052000, 0x00054000)
    assert round_trip_s(block, 0xB44DB710_80000000) == 6.125
    assert round_trip_s(ReportBlock(1, 0, 0, 0, 0, 0, 0), 0xB44DB710_80000000) is None
    assert round_trip_s(block, 0xB44DB705_20000000) is None  # before it was sent: clocks stepped


def make_reporter(ssrc: int) -> Reporter:
    stream = OutgoingStream(lambda bits: ssrc if bits == 32 else 0)
    return Reporter(stream, Reception(), f"name-{ssrc}")


def transmit(sender: Reporter, receiver: Reporter, numbers: range, at_s: float) -> None:
    for n in numbers:
        stream = sender.outgoing
        stream.sequence, stream.timestamp, stream.sent_at_s = n, n * 160, at_s + n * 0.02
        stream.packets += 1
        stream.octets += 160
        receiver.reception.update(n, n * 160, stream.ssrc, 160, stream.sent_at_s)


def test_two_ends_tell_each_other_loss_and_round_trip() -> None:
    one, other = make_reporter(1), make_reporter(2)
    assert parse_compound(one.report(0.0, 1e9)) == (ReceiverReport(1), SourceDescription(((1, "name-1"),)))
    transmit(one, other, range(5), 0.0)
    transmit(one, other, range(6, 10), 0.0)
    first = one.report(0.2, 1e9)
    report = parse_compound(first)[0]
    assert isinstance(report, SenderReport)
    assert (report.packets, report.octets) == (9, 9 * 160)
    assert report.rtp_timestamp == 9 * 160 + 160  # 20 ms after the last packet
    other.receive(first, 0.25, 1e9 + 0.05)
    answer = other.report(1.25, 1e9 + 1.05)
    head, _ = parse_compound(answer)
    assert isinstance(head, ReceiverReport)  # it sent nothing
    (block,) = head.reports
    assert (block.ssrc, block.cumulative_lost, block.fraction_lost) == (1, 1, 25)
    assert block.delay_since_last_sr == 65536
    one.receive(answer, 1.3, 1e9 + 1.1)
    assert one.round_trip_s == pytest.approx(0.1, abs=1e-3)
    assert (one.peer_lost, one.peer_fraction_lost) == (1, 25)


def test_a_report_of_another_stream_is_not_ours() -> None:
    one = make_reporter(1)
    one.receive(build_compound([ReceiverReport(2, (BLOCK,))]), 0.0, 1e9)
    assert (one.peer_lost, one.round_trip_s) == (0, None)


def test_only_a_sender_that_sent_since_the_last_report_makes_a_sender_report() -> None:
    one, other = make_reporter(1), make_reporter(2)
    transmit(one, other, range(3), 0.0)
    kinds = [type(parse_compound(one.report(now, 1e9 + now))[0]) for now in (1.0, 6.0)]
    assert kinds == [SenderReport, ReceiverReport]


def test_the_last_report_says_goodbye() -> None:
    assert parse_compound(make_reporter(7).report(0.0, 1e9, goodbye=True))[-1] == Goodbye((7,))


def test_a_delay_is_told_only_for_the_source_that_reported() -> None:
    one, other = make_reporter(1), make_reporter(2)
    transmit(one, other, range(3), 0.0)
    stranger = make_reporter(3)
    stranger.outgoing.packets = 1
    other.receive(stranger.report(0.1, 1e9), 0.1, 1e9)
    head = parse_compound(other.report(1.0, 1e9 + 1))[0]
    assert isinstance(head, ReceiverReport)
    assert (head.reports[0].last_sr, head.reports[0].delay_since_last_sr) == (0, 0)
