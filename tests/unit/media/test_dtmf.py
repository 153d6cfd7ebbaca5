"""Telephone keys as they are signalled: RFC 4733 both ways, and INFO."""

from __future__ import annotations

import pytest

from gateway.protocol.dtmf import (
    DEFAULT_INFO_MS,
    DIGITS,
    MAX_KEY_MS,
    PAYLOAD,
    SILENT_S,
    EventReceiver,
    EventSender,
    KeyPress,
    frequencies,
    parse_info,
)

pytestmark = pytest.mark.unit

SSRC = 7
END = 0x80


def event(code: int, duration: int, *, end: bool = False) -> bytes:
    return PAYLOAD.pack(code, (END if end else 0) | 10, duration)


def take(
    receiver: EventReceiver, *packets: tuple[int, bytes], ssrc: int = SSRC, marker: bool = False
) -> list[KeyPress]:
    return [
        key for timestamp, payload in packets for key in receiver.receive(ssrc, timestamp, marker, payload, now_s=1.0)
    ]


def test_the_keypad_is_that_of_q23() -> None:
    assert [frequencies(digit) for digit in "159D*0#A"] == [
        (697, 1209), (770, 1336), (852, 1477), (941, 1633), (941, 1209), (941, 1336), (941, 1477), (697, 1633),
    ]  # fmt: skip
    assert len({frequencies(digit) for digit in DIGITS}) == 16
    for wrong in ("", "E", "12"):
        with pytest.raises(ValueError, match="DTMF"):
            frequencies(wrong)


@pytest.mark.parametrize(
    ("content_type", "body", "key"),
    [
        ("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n", KeyPress("5", 160)),
        ("application/dtmf-relay", b"Signal= *\r\nDuration= 250", KeyPress("*", 250)),
        ("Application/DTMF-Relay;charset=utf-8", b"signal=b\nduration=90\n", KeyPress("B", 90)),
        ("application/dtmf-relay", b"Signal=11\r\nDuration=100\r\n", KeyPress("#", 100)),
        ("application/dtmf-relay", b"Signal=1\r\n", KeyPress("1", DEFAULT_INFO_MS)),
        ("application/dtmf-relay", b"Signal=1\r\nDuration=0\r\n", KeyPress("1", DEFAULT_INFO_MS)),
        ("application/dtmf-relay", b"Signal=1\rDuration=999999\r", KeyPress("1", MAX_KEY_MS)),
        ("application/dtmf", b"7", KeyPress("7", DEFAULT_INFO_MS)),
        ("application/dtmf", b" #\r\n", KeyPress("#", DEFAULT_INFO_MS)),
        ("application/dtmf", b"10", KeyPress("*", DEFAULT_INFO_MS)),
        ("application/dtmf", b"Signal=3\r\nDuration=80", KeyPress("3", 80)),
        ("application/dtmf-relay", b"Signal=E\r\n", None),
        ("application/dtmf-relay", b"Signal=55\r\nDuration=5", None),
        ("application/dtmf", b"", None),
        ("application/dtmf", b"\xff\xfe", None),
        ("application/media_control+xml", b"5", None),
    ],
)
def test_info_bodies(content_type: str, body: bytes, key: KeyPress | None) -> None:
    assert parse_info(content_type, body) == key


def test_a_key_is_told_once_when_it_ends_with_its_length() -> None:
    receiver = EventReceiver()
    held = [(800, event(5, n * 160)) for n in range(1, 6)]
    assert take(receiver, *held) == []
    assert receiver.active
    ends = [(800, event(5, 800, end=True))] * 3
    assert take(receiver, *ends) == [KeyPress("5", 100)]
    assert not receiver.active


def test_one_packet_of_a_key_is_enough_if_it_is_the_end() -> None:
    assert take(EventReceiver(), (800, event(11, 1600, end=True))) == [KeyPress("#", 200)]


def test_a_lost_end_is_made_up_by_the_next_key_even_if_only_its_end_comes() -> None:
    receiver = EventReceiver()
    assert take(receiver, (800, event(1, 400)), (2400, event(1, 800, end=True))) == [
        KeyPress("1", 50),
        KeyPress("1", 100),
    ]


def test_a_lost_end_is_made_up_by_time() -> None:
    receiver = EventReceiver()
    take(receiver, (800, event(2, 640)))
    assert receiver.expire(1.0 + SILENT_S / 2) == ()
    assert receiver.expire(1.0 + SILENT_S) == (KeyPress("2", 80),)
    assert receiver.expire(9.0) == ()
    assert take(receiver, (800, event(2, 960, end=True))) == []  # late, not another key


def test_late_packets_of_an_older_key_change_nothing() -> None:
    receiver = EventReceiver()
    take(receiver, (800, event(1, 800, end=True)), (2400, event(2, 160)))
    assert take(receiver, (800, event(1, 800, end=True)), (2400, event(2, 320)), (2400, event(2, 160))) == []
    assert take(receiver, (2400, event(2, 480, end=True))) == [KeyPress("2", 60)]


def test_timestamps_wrap_between_keys() -> None:
    receiver = EventReceiver()
    take(receiver, (0xFFFFFF00, event(1, 800, end=True)))
    assert take(receiver, (0x500, event(2, 800, end=True)), (0xFFFFFF00, event(1, 800, end=True))) == [
        KeyPress("2", 100)
    ]


def test_a_long_key_goes_on_in_the_next_segment() -> None:
    receiver = EventReceiver()
    first = [(1000, event(9, n)) for n in (160, 60_000, 0xFFFF)]
    second = [(1000 + 0xFFFF, event(9, 160)), (1000 + 0xFFFF, event(9, 8_000, end=True))]
    assert take(receiver, *first, *second) == [KeyPress("9", (0xFFFF + 8000) // 8)]


def test_the_same_key_again_with_a_marker_is_no_segment() -> None:
    receiver = EventReceiver()
    take(receiver, (1000, event(9, 0xFFFF)))
    assert take(receiver, (1000 + 0xFFFF, event(9, 160)), marker=True) == [KeyPress("9", 0xFFFF // 8)]


def test_another_source_is_another_key() -> None:
    receiver = EventReceiver()
    take(receiver, (800, event(1, 800)))
    assert take(receiver, (800, event(1, 800, end=True)), ssrc=8) == [KeyPress("1", 100), KeyPress("1", 100)]


def test_what_is_no_key_is_ignored() -> None:
    receiver = EventReceiver()
    assert take(receiver, (800, event(16, 800, end=True)), (800, b"\x01\x80"), (800, b"")) == []
    assert not receiver.active


def send(sender: EventSender, packets: int, *, start: int = 8000) -> list[tuple[int, bool, int, int, bool] | None]:
    """Timestamp, marker, code, duration and end flag of what goes in place of each packet of 20 ms."""
    out: list[tuple[int, bool, int, int, bool] | None] = []
    for n in range(packets):
        found = sender.next(start + n * 160, 160)
        if found is None:
            out.append(None)
            continue
        payload, timestamp, marker = found
        code, flags, duration = PAYLOAD.unpack(payload)
        out.append((timestamp, marker, code, duration, bool(flags & END)))
    return out


def test_a_key_is_sent_with_growing_duration_and_three_ends() -> None:
    sender = EventSender(101)
    assert send(sender, 1) == [None]
    sender.press("#")
    assert send(sender, 2) == [(8000, True, 11, 160, False), (8000, False, 11, 320, False)]
    sender.release(500)
    assert send(sender, 6, start=8320) == [
        (8000, False, 11, 480, False),
        (8000, False, 11, 640, True),
        (8000, False, 11, 640, True),
        (8000, False, 11, 640, True),
        None,
        None,
    ]
    assert not sender.active
    assert sender.events == 1


def test_a_key_that_was_too_long_already_ends_at_once() -> None:
    sender = EventSender(101)
    sender.press("0")
    send(sender, 5)
    sender.release(400)
    assert send(sender, 4, start=8800) == [(8000, False, 0, 960, True)] * 3 + [None]
    sender.release(400)  # nothing is held
    assert send(sender, 1) == [None]


def test_the_next_key_does_not_wait_for_repeated_ends() -> None:
    sender = EventSender(101)
    sender.press("1")
    send(sender, 2)
    sender.release(1)
    send(sender, 1, start=8320)
    sender.press("1")
    assert send(sender, 1, start=8480) == [(8480, True, 1, 160, False)]
    assert sender.events == 2


def test_a_long_key_is_sent_in_segments_that_a_receiver_joins() -> None:
    sender, receiver = EventSender(101), EventReceiver()
    sender.press("5")
    keys: list[KeyPress] = []
    for n in range(500 + 4):  # 10 s
        if n == 499:
            sender.release(80_000)
        found = sender.next((0xFFFF0000 + n * 160) & 0xFFFFFFFF, 160)
        if found is not None:
            payload, timestamp, marker = found
            assert marker == (n == 0)
            keys += receiver.receive(SSRC, timestamp, marker, payload, n * 0.02)
    assert keys == [KeyPress("5", 10_000)]
