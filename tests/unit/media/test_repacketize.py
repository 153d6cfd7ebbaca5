"""Packets of the length that the peer asked for."""

from __future__ import annotations

import itertools

import pytest

from gateway.codecs import opus
from gateway.media.repacketize import Repacketizer
from gateway.protocol.rtp import OutgoingStream, RtpHeader, build_packet, parse_header, payload_of

pytestmark = pytest.mark.unit


def stream() -> OutgoingStream:
    return OutgoingStream(lambda bits: 0)


def rtp(n: int, *, payload_type: int = 0, marker: bool = False, payload: bytes | None = None) -> bytes:
    header = RtpHeader(payload_type, (65_530 + n) & 0xFFFF, (0xFFFFFF00 + n * 160) & 0xFFFFFFFF, 7, marker)
    return build_packet(header, bytes([n]) * 160 if payload is None else payload)


def run(ptime_ms: int, numbers: list[int], outgoing: OutgoingStream | None = None) -> list[bytes]:
    pack = Repacketizer(ptime_ms, outgoing or stream())
    return [out for n in numbers for out in pack.feed(rtp(n, marker=n == 0), "PCMU")]


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
def test_every_length_carries_the_same_audio(ptime_ms: int) -> None:
    outgoing = stream()
    outgoing.packets = 30  # counted one by one by the path
    out = run(ptime_ms, list(range(30)), outgoing)
    assert {len(payload_of(packet)) for packet in out} == {8 * ptime_ms}
    assert b"".join(map(payload_of, out)) == b"".join(bytes([n]) * 160 for n in range(30))
    headers = [parse_header(packet) for packet in out]
    assert headers[0].sequence == 65_530
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(headers)} == {1}
    assert {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)} == {8 * ptime_ms}
    assert [header.marker for header in headers] == [True] + [False] * (len(headers) - 1)
    assert outgoing.packets == len(out) == 600 // ptime_ms


def test_loss_leaves_a_gap_in_numbers_and_time() -> None:
    out = run(40, [0, 1, 2, 5, 6, 7])  # 40 ms are lost in the middle of a packet
    headers = [parse_header(packet) for packet in out]
    assert [len(payload_of(packet)) for packet in out] == [320, 160, 320]
    assert [(header.sequence - 65_530) & 0xFFFF for header in headers] == [0, 1, 3]
    assert [(header.timestamp - 0xFFFFFF00) & 0xFFFFFFFF for header in headers] == [0, 320, 800]


def test_late_and_doubled_packets_are_left_out() -> None:
    assert b"".join(map(payload_of, run(40, [0, 2, 1, 2, 3]))) == b"".join(bytes([n]) * 160 for n in (0, 2, 3))


def test_a_pause_flushes_what_waited() -> None:
    pack = Repacketizer(60, stream())
    assert pack.feed(rtp(0), "PCMU") == []
    later = build_packet(RtpHeader(0, 65_531, 9000, 7), bytes(160))
    out = pack.feed(later, "PCMU")
    assert [payload_of(packet) for packet in out] == [bytes(160)]


def test_events_pass_after_the_audio_that_waited() -> None:
    pack = Repacketizer(60, stream())
    pack.feed(rtp(0), "PCMU")
    out = pack.feed(rtp(1, payload_type=101, marker=True, payload=b"\x05\x0a\0\xa0"), None)
    assert [parse_header(packet).payload_type for packet in out] == [0, 101]
    assert [(parse_header(packet).sequence - 65_530) & 0xFFFF for packet in out] == [0, 1]
    assert parse_header(out[1]).marker
    rest = [packet for n in (2, 3, 4) for packet in pack.feed(rtp(n), "PCMU")]
    assert [len(payload_of(packet)) for packet in rest] == [480]


def test_another_codec_does_not_share_a_packet_and_another_length_goes_on() -> None:
    pack = Repacketizer(40, stream())
    pack.feed(rtp(0), "PCMU")
    assert [parse_header(packet).payload_type for packet in pack.feed(rtp(1, payload_type=8), "PCMA")] == [0]
    pack.change(20)
    out = pack.feed(rtp(2, payload_type=8), "PCMA")
    assert [parse_header(packet).payload_type for packet in out] == [8, 8]
    assert [(parse_header(packet).sequence - 65_530) & 0xFFFF for packet in out] == [1, 2]


def opus_rtp(n: int, payload: bytes) -> bytes:
    return build_packet(RtpHeader(111, 65_530 + n & 0xFFFF, (0xFFFFFF00 + n * 960) & 0xFFFFFFFF, 7), payload)


@pytest.mark.parametrize(("ptime_ms", "joined"), [(10, 1), (20, 1), (40, 2), (60, 3)])
def test_opus_is_joined_and_never_split(ptime_ms: int, joined: int) -> None:
    outgoing = stream()
    outgoing.packets = 12
    pack = Repacketizer(ptime_ms, outgoing)
    out = [packet for n in range(12) for packet in pack.feed(opus_rtp(n, b"\xf8" + bytes([n]) * (n + 1)), "opus")]
    assert [found for packet in out for found in opus.frames(payload_of(packet)) or []] == [
        bytes([n]) * (n + 1) for n in range(12)
    ]
    headers = [parse_header(packet) for packet in out]
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(headers)} == {1}
    assert {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)} == {960 * joined}
    assert outgoing.packets == len(out) == 12 // joined


def test_opus_of_another_mode_begins_another_packet() -> None:
    pack = Repacketizer(60, stream())
    assert pack.feed(opus_rtp(0, b"\xf8a"), "opus") == []
    out = pack.feed(opus_rtp(1, b"\x78b"), "opus")
    assert [payload_of(packet) for packet in out] == [b"\xf8a"]
    out = pack.feed(rtp(2), "PCMU")
    assert [payload_of(packet) for packet in out] == [b"\x78b"]
