"""One direction of the packet path: mapping, rebasing, what is left out."""

from __future__ import annotations

import pytest

from gateway.codecs.g711 import ULAW_TO_ALAW
from gateway.media.path import PacketPath, routes
from gateway.protocol.rtp import OutgoingStream, RtpHeader, build_packet, parse_header, payload_of

pytestmark = pytest.mark.unit

SSRC = 0xCAFE
OUT_SSRC = 0x0000BEEF
SOUND = bytes(range(160))
START_S = 100.0


def make_path(first_sequence: int = 1000, first_timestamp: int = 5000) -> PacketPath:
    bits = iter([OUT_SSRC, first_sequence, first_timestamp])
    path = PacketPath(OutgoingStream(lambda width: next(bits)))
    path.set_routes(routes({0: "PCMU", 8: "PCMA", 101: "telephone-event"}, {"PCMU": 0, "PCMA": 8}))
    return path


def rtp(n: int, *, ssrc: int = SSRC, payload_type: int = 0, payload: bytes = SOUND, marker: bool = False) -> bytes:
    return build_packet(RtpHeader(payload_type, n & 0xFFFF, n * 160 & 0xFFFFFFFF, ssrc, marker), payload)


def at(n: int) -> float:
    return START_S + n * 0.02


def run(path: PacketPath, numbers: list[int], ssrc: int = SSRC) -> list[RtpHeader | None]:
    passed = [path.forward(rtp(n, ssrc=ssrc), at(n)) for n in numbers]
    return [None if packet is None else parse_header(packet) for packet in passed]


def sequences(headers: list[RtpHeader | None]) -> list[int | None]:
    return [None if header is None else header.sequence for header in headers]


def test_numbers_are_mapped_by_an_offset_so_that_loss_and_order_stay() -> None:
    path = make_path()
    got = run(path, [7, 8, 10, 9, 13])
    assert sequences(got) == [1000, 1001, 1003, 1002, 1006]
    assert [header and header.timestamp for header in got] == [5000, 5160, 5480, 5320, 5960]
    assert {header.ssrc for header in got if header} == {OUT_SSRC}
    assert [header and header.marker for header in got] == [True, False, False, False, False]
    assert (path.reception.lost, path.passed, path.passed_octets) == (2, 5, 800)
    assert (path.outgoing.sequence, path.outgoing.timestamp) == (1006, 5960)


def test_numbers_wrap_on_both_sides() -> None:
    path = make_path(first_sequence=65534, first_timestamp=0xFFFFFFFF - 159)
    got = run(path, [65533, 65534, 65535, 65536, 65537])
    assert sequences(got) == [65534, 65535, 0, 1, 2]
    assert [header and header.timestamp for header in got] == [0xFFFFFF60, 0, 160, 320, 480]


def test_the_payload_and_the_marker_pass_untouched() -> None:
    path = make_path()
    path.forward(rtp(1), at(1))
    packet = path.forward(rtp(2, marker=True, payload_type=8), at(2))
    assert packet is not None
    assert payload_of(packet) == SOUND
    assert parse_header(packet).marker
    assert parse_header(packet).payload_type == 8


def test_another_law_is_converted_and_numbers_are_translated() -> None:
    path = make_path()
    path.set_routes(routes({96: "PCMU"}, {"PCMA": 97}))
    packet = path.forward(rtp(1, payload_type=96), at(1))
    assert packet is not None
    assert parse_header(packet).payload_type == 97
    assert payload_of(packet) == SOUND.translate(ULAW_TO_ALAW)
    assert path.transcoded == 1


def test_the_preferred_codec_is_what_the_other_law_becomes() -> None:
    table = routes({0: "PCMU", 8: "PCMA"}, {"PCMA": 8}, "PCMA")
    assert (table[0].payload_type, table[8].payload_type, table[8].table) == (8, 8, None)
    assert routes({0: "PCMU"}, {})[0].cause == "no_common_codec"


def test_csrcs_and_extensions_are_taken_off() -> None:
    path = make_path()
    packet = bytes.fromhex("91 00 0001 00000002 0000cafe 00000009 bede0000") + SOUND
    passed = path.forward(packet, at(1))
    assert passed is not None
    assert passed[0] == 0x80
    assert payload_of(passed) == SOUND


@pytest.mark.parametrize("packet", [b"", b"\x80" * 11, bytes.fromhex("40 00 0001 00000002 0000cafe")])
def test_what_is_no_rtp_is_dropped(packet: bytes) -> None:
    path = make_path()
    assert path.forward(packet, at(1)) is None
    assert path.dropped == {"malformed": 1}
    assert path.reception.packets == 0


def test_key_presses_and_comfort_noise_leave_no_gap() -> None:
    path = make_path()
    run(path, [1, 2])
    for n in (3, 4):
        assert path.forward(rtp(n, payload_type=101, payload=b"\x05\x0a\0\xa0"), at(n)) is None
    assert path.forward(rtp(5, payload_type=13, payload=b"\x40"), at(5)) is None
    assert sequences(run(path, [6, 7])) == [1002, 1003]
    assert path.outgoing.timestamp == 5000 + 6 * 160  # the pause stays
    assert path.dropped == {"telephone_event": 2, "comfort_noise": 1}
    assert path.dropped_types == {101: 2, 13: 1}
    assert path.reception.lost == 0


def test_a_packet_late_by_a_key_press_keeps_its_place() -> None:
    path = make_path()
    run(path, [1])
    path.forward(rtp(3, payload_type=101), at(3))
    assert sequences(run(path, [4, 2, 5])) == [1002, 1001, 1003]


def test_a_late_key_press_is_only_counted() -> None:
    path = make_path()
    run(path, [1, 3])
    path.forward(rtp(2, payload_type=101), at(3))
    assert sequences(run(path, [4])) == [1003]


def test_a_key_press_before_any_audio_changes_nothing() -> None:
    path = make_path()
    path.forward(rtp(1, payload_type=101), at(1))
    assert sequences(run(path, [2, 3])) == [1000, 1001]


def test_offsets_hold_long_after_a_key_press() -> None:
    path = make_path()
    run(path, [1])
    path.forward(rtp(2, payload_type=101), at(2))
    last = 0
    for n in range(3, 70_000):
        packet = path.forward(rtp(n), at(n))
        assert packet is not None
        last = parse_header(packet).sequence
    assert last == (1000 + 69_999 - 2) & 0xFFFF


def test_a_duplicate_is_dropped() -> None:
    path = make_path()
    assert sequences(run(path, [1, 2, 2, 3])) == [1000, 1001, None, 1002]
    assert path.dropped == {"duplicate": 1}


def test_a_new_source_goes_on_without_a_gap() -> None:
    path = make_path()
    run(path, [1, 2])
    packet = path.forward(rtp(40_000, ssrc=SSRC + 1), at(12))  # 200 ms after the last one
    assert packet is not None
    header = parse_header(packet)
    assert (header.sequence, header.timestamp, header.marker, header.ssrc) == (1002, 5160 + 1600, True, OUT_SSRC)


def test_two_sources_at_once_do_not_take_turns() -> None:
    path = make_path()
    run(path, [1])
    run(path, [2], ssrc=SSRC + 1)
    assert run(path, [2, 3]) == [None, None]
    assert path.dropped == {"stale_source": 2}
    assert path.forward(rtp(50), at(50)) is not None  # the new one fell silent


@pytest.mark.parametrize("jump", [20_000, 30_000, 65_000])
def test_a_jump_goes_on_without_a_gap(jump: int) -> None:
    path = make_path()
    run(path, [1, 2])
    passed = [path.forward(rtp(jump + n), at(3 + n)) for n in range(3)]
    assert [parse_header(packet).sequence for packet in passed if packet] == [1002, 1003, 1004]
    assert path.reception.changes == 1


def test_a_source_that_follows_at_once_does_not_overlap_the_last_frame() -> None:
    path = make_path()
    run(path, [1])
    packet = path.forward(rtp(9, ssrc=SSRC + 1), at(1) + 0.001)
    assert packet is not None
    assert parse_header(packet).timestamp == 5160


def test_a_hold_passes_nothing_and_resumes_without_a_gap() -> None:
    path = make_path()
    run(path, [1, 2])
    path.closed = "hold"
    assert run(path, [3, 4, 5]) == [None] * 3
    path.closed = None
    got = run(path, [6, 5, 7])
    assert sequences(got) == [1002, None, 1003]
    assert got[0] is not None
    assert got[0].timestamp == 5000 + 5 * 160
    assert path.dropped == {"hold": 3, "late": 1}


def test_a_strange_payload_type_of_a_strange_source_is_no_new_source() -> None:
    path = make_path()
    run(path, [1])
    assert path.forward(rtp(5, ssrc=9, payload_type=96), at(2)) is None
    assert sequences(run(path, [2])) == [1001]
    assert path.dropped_types == {96: 1}


def test_another_outgoing_stream_is_gone_on_from() -> None:
    path = make_path()
    run(path, [1])
    other = OutgoingStream(lambda bits: 77)
    other.sent_at_s = at(1)
    path.redirect(other)
    (header,) = run(path, [2])
    assert header is not None
    assert (header.ssrc, header.sequence, header.timestamp) == (77, 78, 77 + 160)


def test_only_agreed_payload_types_are_accepted() -> None:
    path = make_path()
    assert path.accepts(rtp(1))
    assert path.accepts(rtp(1, payload_type=101))
    assert path.accepts(rtp(1, payload_type=13))
    assert not path.accepts(rtp(1, payload_type=96))
    assert not path.accepts(b"\x80\x00")
    assert not path.accepts(b"\x00" + rtp(1)[1:])


def backlog(path: PacketPath, first: int, count: int, now_s: float) -> list[int | None]:
    """Packets that come all at once."""
    passed = [path.forward(rtp(first + n), now_s + n * 0.0005) for n in range(count)]
    return [None if packet is None else parse_header(packet).sequence for packet in passed]


def test_after_a_stall_only_the_last_packets_that_waited_go_on() -> None:
    path = make_path()
    run(path, [0, 1])
    got = backlog(path, 2, 50, at(1) + 1.0)  # a second in which nothing came, then all of it
    assert got[0] == 1002
    assert got[1:45] == [None] * 44
    assert got[45:] == [
        1047,
        1048,
        1049,
        1050,
        1051,
    ]  # with their own numbers: what was left out is lost, and is seen to be
    assert path.dropped == {"backlog": 44}
    assert path.reception.lost == 0
    assert sequences(run(path, [52, 53])) == [1052, 1053]


def test_a_short_hold_up_is_left_to_the_jitter_buffer() -> None:
    path = make_path()
    run(path, [0, 1])
    assert None not in backlog(path, 2, 14, at(1) + 0.29)


def test_a_speaker_who_paused_was_not_held_up() -> None:
    path = make_path()
    run(path, [0, 1])
    passed = [
        path.forward(build_packet(RtpHeader(0, n, (n + 100) * 160, SSRC), SOUND), at(n + 100) + 0.015 * (n % 2))
        for n in range(2, 12)
    ]
    assert None not in passed


def test_a_source_that_stood_still_and_goes_on_in_time_loses_nothing() -> None:
    path = make_path()
    run(path, [0, 1])
    passed = [path.forward(rtp(n), at(n) + 1.0) for n in range(2, 8)]
    assert None not in passed


def test_a_new_source_after_a_stall_starts_afresh() -> None:
    path = make_path()
    run(path, [0, 1])
    path.forward(rtp(2), at(1) + 1.0)
    assert path.forward(rtp(3, ssrc=SSRC + 1), at(1) + 1.001) is not None
    assert path.dropped == {}


def wide(n: int, units: int, payload_type: int, timestamp: int) -> bytes:
    return build_packet(RtpHeader(payload_type, n & 0xFFFF, (timestamp + units) & 0xFFFFFFFF, SSRC), b"\xf8\xff\xfe")


def test_a_codec_with_another_clock_goes_on_where_the_stream_stands() -> None:
    path = make_path()
    path.set_routes(routes({0: "PCMU", 96: "opus", 9: "G722"}, {"PCMU": 0, "opus": 111, "G722": 9}))
    run(path, [1, 2, 3])
    out = [parse_header(path.forward(wide(n, 960 * n, 96, 7_000_000), at(n)) or b"") for n in (4, 5, 6)]
    assert [header.sequence for header in out] == [1003, 1004, 1005]
    assert [header.payload_type for header in out] == [111] * 3
    # RFC 7160 section 4.1: from the last timestamp on by the new clock
    assert [header.timestamp for header in out] == [5320 + 960 * n for n in (1, 2, 3)]
    assert (out[0].marker, out[1].marker) == (True, False)
    assert path.outgoing.clock_rate_hz == path.reception.clock_rate_hz == 48000
    assert path.outgoing.timestamp_at(at(7)) == 5320 + 960 * 4
    back = parse_header(path.forward(rtp(7, payload_type=9), at(7)) or b"")
    assert (back.sequence, back.timestamp) == (1006, 5320 + 960 * 3 + 160)
    assert path.outgoing.clock_rate_hz == 8000
    assert (path.reception.lost, path.dropped) == (0, {})


def test_jitter_is_told_by_the_clock_of_the_codec() -> None:
    path = make_path()
    path.set_routes(routes({96: "opus"}, {"opus": 111}))
    for n in range(50):
        path.forward(wide(n, 960 * n, 96, 0), at(n))
    assert path.reception.jitter_ms < 0.01


def test_dtx_of_opus_is_a_pause_and_no_loss() -> None:
    path = make_path()
    path.set_routes(routes({96: "opus"}, {"opus": 111}))
    times = [0, 1, 2, 22, 42, 43]  # 400 ms between two packets, as Opus sends in silence (RFC 7587 section 3.1.3)
    out = [path.forward(wide(n, 960 * t, 96, 0), at(t)) for n, t in enumerate(times)]
    assert [parse_header(packet or b"").timestamp - 5000 for packet in out] == [960 * t for t in times]
    assert (path.reception.lost, path.dropped) == (0, {})


def test_a_codec_that_the_other_side_lacks_is_dropped_and_never_taken_for_another() -> None:
    path = make_path()
    path.set_routes(routes({96: "opus", 0: "PCMU", 99: "CN"}, {"PCMA": 8}, "opus"))
    assert path.forward(wide(1, 0, 96, 0), at(1)) is None
    assert parse_header(path.forward(rtp(2), at(2)) or b"").payload_type == 8
    assert path.forward(rtp(3, payload_type=99), at(3)) is None
    assert path.dropped == {"no_common_codec": 1, "comfort_noise": 1}
