"""Telephone keys and SDES lines: whatever comes is read or ignored, and what is sent is received."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.codecs.dtmf import DtmfDetector
from gateway.media.keys import KeyTap
from gateway.protocol.dtmf import DIGITS, MAX_KEY_MS, EventReceiver, EventSender, KeyPress, parse_info
from gateway.protocol.sdp.crypto import KEY_BYTES, Crypto, parse_crypto

pytestmark = pytest.mark.property

word = st.integers(0, 0xFFFFFFFF)
digits = st.sampled_from(DIGITS)


@given(st.text(max_size=40), st.binary(max_size=80))
def test_any_info_body_is_read_or_ignored(kind: str, body: bytes) -> None:
    for content_type in (kind, "application/dtmf", "application/dtmf-relay"):
        key = parse_info(content_type, body)
        assert key is None or (key.digit in DIGITS and 0 < key.duration_ms <= MAX_KEY_MS)


@given(digits, st.integers(1, 999_999), st.sampled_from(["\r\n", "\n"]))
def test_an_info_body_is_read_back(digit: str, duration_ms: int, end: str) -> None:
    body = f"Signal={digit}{end}Duration={duration_ms}{end}".encode()
    assert parse_info("application/dtmf-relay", body) == KeyPress(digit, min(duration_ms, MAX_KEY_MS))


@given(st.lists(st.tuples(st.integers(0, 2), word, st.booleans(), st.binary(max_size=8), st.floats(0, 1)), max_size=60))
def test_any_events_are_survived_and_nothing_is_told_more_often_than_it_came(
    arrivals: list[tuple[int, int, bool, bytes, float]],
) -> None:
    receiver, now, told = EventReceiver(), 0.0, 0
    for ssrc, timestamp, marker, payload, gap in arrivals:
        now += gap
        told += len(receiver.receive(ssrc, timestamp, marker, payload, now)) + len(receiver.expire(now))
    assert told <= len(arrivals)


presses = st.lists(st.tuples(digits, st.integers(2, 40), st.integers(3, 12)), min_size=1, max_size=8)


@given(presses, word, st.randoms(use_true_random=False), st.floats(0, 0.3))
@settings(max_examples=150)
def test_keys_survive_loss_reordering_and_repetition(
    keys: list[tuple[str, int, int]], start: int, random: object, loss: float
) -> None:
    """Each key comes once and in order; with no loss also with its length. Lost wholly it is lost."""
    sender = EventSender(101)
    packets: list[tuple[int, int, bool, bytes]] = []  # key, timestamp, marker, payload
    now = start
    for index, (digit, frames, pause) in enumerate(keys):
        sender.press(digit)
        sender.release(frames * 160)
        for _ in range(frames + pause):
            found = sender.next(now & 0xFFFFFFFF, 160)
            if found is not None:
                packets.append((index, found[1], found[2], found[0]))
            now += 160
    arriving = [packet for packet in packets if random.random() >= loss]  # type: ignore[attr-defined]
    for position in range(0, len(arriving) - 1, 3):
        if random.random() < 0.3:  # type: ignore[attr-defined]
            arriving[position], arriving[position + 1] = arriving[position + 1], arriving[position]
    receiver = EventReceiver()
    told: list[KeyPress] = []
    for _, timestamp, marker, payload in arriving:
        for _ in range(2):
            told += receiver.receive(7, timestamp, marker, payload, 0.0)
    told += receiver.expire(1e9)
    # A key of which nothing came before the next one is late as a whole.
    newest = list(itertools.accumulate((packet[0] for packet in arriving), max))
    came = [
        keys[index] for index in dict.fromkeys(p[0] for p, last in zip(arriving, newest, strict=True) if p[0] == last)
    ]
    assert [key.digit for key in told] == [digit for digit, _, _ in came]
    if loss == 0:
        assert [key.duration_ms for key in told] == [frames * 20 for _, frames, _ in came]


@given(st.lists(st.binary(max_size=500), max_size=12), st.sampled_from(["PCMU", "PCMA"]))
@settings(max_examples=50)
def test_any_audio_in_any_portions_is_heard_the_same(portions: list[bytes], codec: str) -> None:
    whole, parts = DtmfDetector(), DtmfDetector()
    everything = whole.feed(codec, b"".join(portions))
    assert [heard for portion in portions for heard in parts.feed(codec, portion)] == everything


@given(st.lists(st.tuples(st.integers(0, 127), st.binary(max_size=200), word), max_size=20))
@settings(max_examples=50)
def test_a_tap_survives_any_packets(packets: list[tuple[int, bytes, int]]) -> None:
    tap = KeyTap({0: "PCMU", 8: "PCMA"}, {8000: 101})
    tap.sender.press("1")
    for payload_type, payload, timestamp in packets:
        tap.replace(payload_type, payload, timestamp)


@given(st.text(max_size=120))
def test_any_crypto_line_is_read_or_ignored(text: str) -> None:
    for value in (text, f"1 AES_CM_128_HMAC_SHA1_80 inline:{text}"):
        crypto = parse_crypto(value)
        assert crypto is None or len(crypto.key) == KEY_BYTES[crypto.suite]


@given(st.integers(0, 999_999_999), st.sampled_from(sorted(KEY_BYTES)), st.binary(min_size=44, max_size=44))
def test_a_crypto_line_is_read_back(tag: int, suite: str, key: bytes) -> None:
    crypto = Crypto(tag, suite, key[: KEY_BYTES[suite]])
    assert parse_crypto(crypto.value()) == crypto
