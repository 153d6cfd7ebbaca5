"""RTP headers, and what a receiver counts."""

from __future__ import annotations

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.rtp import (
    OutgoingStream,
    Reception,
    RtpHeader,
    build_packet,
    is_rtcp,
    parse_header,
    payload_of,
)

pytestmark = pytest.mark.unit

SSRC = 0x11223344


def test_a_packet_is_laid_out_as_rfc_3550_draws_it() -> None:
    packet = build_packet(RtpHeader(8, 0x0102, 0x03040506, 0x0708090A, marker=True), b"\xd5\xd5")
    assert packet == bytes.fromhex("80 88 0102 03040506 0708090a d5d5")
    assert parse_header(packet) == RtpHeader(8, 0x0102, 0x03040506, 0x0708090A, True)
    assert payload_of(packet) == b"\xd5\xd5"


def test_csrcs_extension_and_padding_are_no_payload() -> None:
    header = bytes.fromhex("b2 00 0001 00000002 00000003")  # padding, extension, 2 CSRCs
    csrcs, extension = bytes(8), bytes.fromhex("bede 0001 10ff0000")
    assert payload_of(header + csrcs + extension + b"audio" + b"\0\0\x03") == b"audio"


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        ("", "shorter"),
        ("80 00 0001 00000002 000000", "shorter"),
        ("40 00 0001 00000002 00000003", "version"),
        ("81 00 0001 00000002 00000003", "shorter"),  # a CSRC is missing
        ("90 00 0001 00000002 00000003 bede", "extension"),
        ("90 00 0001 00000002 00000003 bede 0001", "shorter"),
        ("a0 00 0001 00000002 00000003 00", "padding"),
        ("a0 00 0001 00000002 00000003 ff", "shorter"),
    ],
)
def test_what_is_no_rtp_packet_is_refused(packet: str, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        parse_header(bytes.fromhex(packet))


def test_rtcp_is_told_apart_by_its_second_byte() -> None:
    assert [is_rtcp(bytes((0x80, second))) for second in (0, 0x88, 191, 192, 200, 223, 224)] == [
        False, False, False, True, True, True, False,
    ]  # fmt: skip
    assert not is_rtcp(b"\x80")


def feed(reception: Reception, numbers: list[int], *, start_s: float = 0.0, ssrc: int = SSRC) -> list[bool]:
    """Packets of 20 ms that arrive when they are due."""
    return [
        reception.update(n & 0xFFFF, n * 160 & 0xFFFFFFFF, ssrc, 160, start_s + (n - numbers[0]) * 0.02)
        for n in numbers
    ]


def test_losses_are_counted_over_the_wrap_of_the_sequence_number() -> None:
    reception = Reception()
    numbers = [n for n in range(65530, 65550) if n not in {65534, 65536, 65537}]
    assert feed(reception, numbers) == [True] + [False] * 16
    assert (reception.packets, reception.lost, reception.source_lost) == (17, 3, 3)
    assert reception.extended_sequence == 0x10000 + (65549 & 0xFFFF)
    assert reception.octets == 17 * 160
    assert reception.jitter_ms == pytest.approx(0, abs=1e-6)


def test_a_late_packet_is_received_and_not_lost() -> None:
    reception = Reception()
    feed(reception, [10, 11, 13, 12, 14])
    assert (reception.lost, reception.sequence) == (0, 14)


def test_holes_are_counted_apart_from_what_was_lost_in_them() -> None:
    reception = Reception()
    for n in (1, 2, 6, 7, 9):
        reception.update(n, n * 160, 7, 160, n * 0.02)
    assert (reception.lost, reception.gaps, reception.source_expected) == (4, 2, 9)


def test_a_duplicate_makes_the_loss_of_a_source_negative_but_not_the_total() -> None:
    reception = Reception()
    feed(reception, [10, 11, 11])
    assert (reception.source_lost, reception.lost) == (-1, 0)


def test_fraction_lost_is_since_the_last_report() -> None:
    reception = Reception()
    feed(reception, [0, 1, 3])
    assert reception.take_fraction_lost() == 256 // 4
    feed(reception, [4, 5])
    assert reception.take_fraction_lost() == 0
    assert reception.take_fraction_lost() == 0  # nothing came
    reception.update(2000, 2000 * 160, SSRC, 160, 40.0)
    assert reception.take_fraction_lost() == 255  # 256/256 has no code


def test_jitter_is_the_running_mean_of_rfc_3550() -> None:
    reception = Reception()
    reception.update(0, 0, SSRC, 160, 1.0)
    reception.update(1, 160, SSRC, 160, 1.025)  # 5 ms late: 40 units, a sixteenth of it counts
    assert reception.jitter == 2
    assert reception.jitter_ms == pytest.approx(2.5 / 8)
    reception.update(2, 320, SSRC, 160, 1.045)
    assert reception.jitter_ms == pytest.approx(2.5 * 15 / 16 / 8)


def test_a_wrapped_timestamp_is_no_jitter() -> None:
    reception = Reception()
    reception.update(1, 0xFFFFFFFF - 79, SSRC, 160, 1.0)
    assert not reception.update(2, 80, SSRC, 160, 1.02)
    assert reception.jitter == 0


@pytest.mark.parametrize(
    ("sequence", "timestamp", "ssrc"),
    [
        (102, 102 * 160, SSRC + 1),  # another source
        (9000, 102 * 160, SSRC),  # its numbers begin anew
        (102, 100 * 160, SSRC),  # its clock went back
        (102, 102 * 160 + 8000 * 3, SSRC),  # its clock went ahead of the time that passed
    ],
)
def test_a_new_source_or_a_jump_is_told(sequence: int, timestamp: int, ssrc: int) -> None:
    reception = Reception()
    feed(reception, [99, 101])
    assert reception.update(sequence, timestamp, ssrc, 160, 0.06)
    assert (reception.changes, reception.lost) == (1, 1)  # what was lost before stays counted
    assert reception.source_lost == 0
    assert not reception.update(sequence + 1, timestamp + 160, ssrc, 160, 0.08)


def test_a_pause_of_the_speaker_is_no_jump() -> None:
    reception = Reception()
    feed(reception, [1, 2])
    assert not reception.update(3, 3 * 160 + 80_000, SSRC, 160, 10.06)


def test_a_long_key_press_is_no_jump() -> None:
    reception = Reception()
    feed(reception, [1, 2])
    for n in range(150):  # 3 s of telephone events, which share one timestamp
        assert not reception.update(3 + n, 3 * 160, SSRC, 4, 0.04 + n * 0.02, timed=False)
    assert not reception.update(153, 153 * 160, SSRC, 160, 3.04)
    assert reception.lost == 0


def test_nothing_was_received_before_the_first_packet() -> None:
    reception = Reception()
    assert (reception.expected, reception.lost, reception.take_fraction_lost()) == (0, 0, 0)


def test_the_timestamp_of_an_instant_goes_on_from_the_last_packet() -> None:
    stream = OutgoingStream(lambda bits: (1 << bits) - 1)
    assert (stream.ssrc, stream.sequence, stream.timestamp_at(5.0)) == (0xFFFFFFFF, 0xFFFF, 0xFFFFFFFF)
    stream.sent_at_s = 5.0
    assert stream.timestamp_at(5.5) == 3999  # half a second further, wrapped
