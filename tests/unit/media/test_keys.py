"""Keys in the packet path: events in the place of audio, audio silenced while a key is held."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from gateway.codecs.g711 import SILENCE, encode
from gateway.codecs.tones import tone
from gateway.media.keys import KeyTap
from gateway.media.path import PacketPath, routes
from gateway.protocol.dtmf import PAYLOAD, SILENT_S, EventReceiver, KeyPress, frequencies
from gateway.protocol.rtp import OutgoingStream, RtpHeader, build_packet, parse_header, payload_of
from tests.support.audio import silence, sine
from tests.support.audio_codecs import Encoder

pytestmark = pytest.mark.unit

SSRC = 77


def make_path(send: dict[str, int] | None = None) -> PacketPath:
    bits = iter([0xBEEF, 100, 16_000])
    path = PacketPath(OutgoingStream(lambda width: next(bits)))
    path.set_routes(routes({0: "PCMU", 8: "PCMA", 101: "telephone-event"}, send or {"PCMU": 0, "PCMA": 8}))
    return path


def rtp(n: int, payload: bytes, payload_type: int = 0) -> bytes:
    return build_packet(RtpHeader(payload_type, n & 0xFFFF, n * 160 & 0xFFFFFFFF, SSRC), payload)


def spoken(*parts: array[int], codec: str = "PCMU") -> list[bytes]:
    samples = array("h", [])
    for part in parts:
        samples += part
    payload = encode(codec, samples)
    return [payload[start : start + 160] for start in range(0, len(payload) - 159, 160)]


def hush(ms: int) -> array[int]:
    return array("h", bytes(16 * ms))


@pytest.mark.parametrize("send", [{"PCMU": 0, "PCMA": 8}, {"PCMA": 8}], ids=["passed", "transcoded"])
def test_a_key_in_the_audio_becomes_an_event_in_the_same_stream(send: dict[str, int]) -> None:
    path = make_path(send)
    path.key_tap = KeyTap({number: codec for codec, number in send.items()}, {8000: 96})
    packets = spoken(hush(100), tone(frequencies("8"), -20, 800), hush(300))
    out = [path.forward(rtp(n, payload), n * 0.02) for n, payload in enumerate(packets)]
    assert all(out)
    headers = [parse_header(packet) for packet in out if packet]
    assert [header.sequence for header in headers] == list(range(100, 100 + len(out)))  # one sequence space, no gap
    assert {header.ssrc for header in headers} == {0xBEEF}
    events = [
        (h, PAYLOAD.unpack(payload_of(p))) for h, p in zip(headers, out, strict=True) if p and h.payload_type == 96
    ]
    first = headers.index(events[0][0])
    assert 5 < first <= 5 + 3  # packets: the key began in the sixth, and was known within 60 ms
    assert {header.timestamp for header, _ in events} == {16_000 + first * 160}
    assert [header.marker for header, _ in events] == [True] + [False] * (len(events) - 1)
    assert {code for _, (code, _, _) in events} == {8}
    durations = [duration for _, (_, _, duration) in events]
    assert durations[:-2] == [160 * (n + 1) for n in range(len(durations) - 2)]
    assert durations[-3:] == [durations[-1]] * 3
    assert [bool(flags & 0x80) for _, (_, flags, _) in events] == [False] * (len(events) - 3) + [True] * 3
    assert 640 <= durations[-1] <= 1120  # of 800
    kinds = [header.payload_type for header in headers]
    assert kinds[first : first + len(events)] == [96] * len(events)  # no audio between the events
    assert headers[-1].timestamp == 16_000 + (len(out) - 1) * 160
    assert path.key_tap.sender.events == 1


def test_without_a_tap_keys_stay_in_the_audio() -> None:
    path = make_path()
    packets = spoken(tone(frequencies("8"), -20, 800))
    out = [path.forward(rtp(n, payload), n * 0.02) for n, payload in enumerate(packets)]
    assert [payload_of(packet) for packet in out if packet] == packets


def test_audio_is_silenced_while_a_key_is_held_and_a_little_after_its_packets_stop() -> None:
    path = make_path()
    held: list[tuple[int, int, bool, bytes]] = []

    def on_event(ssrc: int, timestamp: int, marker: bool, payload: bytes, now_s: float, clock_rate_hz: int) -> bool:
        held.append((ssrc, timestamp, marker, payload))
        return True

    path.on_event = on_event
    sound = bytes(range(160))
    assert payload_of(path.forward(rtp(1, sound), 0.02) or b"") == sound
    event = build_packet(RtpHeader(101, 2, 320, SSRC, True), PAYLOAD.pack(5, 10, 160))
    assert path.forward(event, 0.04) is None
    assert held == [(SSRC, 320, True, PAYLOAD.pack(5, 10, 160))]
    assert payload_of(path.forward(rtp(3, sound), 0.06) or b"") == bytes([SILENCE["PCMU"]]) * 160
    assert payload_of(path.forward(rtp(4, sound, 8), 0.08) or b"") == bytes([SILENCE["PCMA"]]) * 160
    after = path.forward(rtp(5, sound), 0.05 + SILENT_S)
    assert payload_of(after or b"") == sound
    assert path.muted == 2


@pytest.mark.parametrize(
    ("codec", "events", "payload_type", "clock_rate_hz"),
    [
        ("opus", {8000: 101, 48000: 110}, 110, 48000),
        ("G722", {8000: 101, 48000: 110}, 101, 8000),
        ("opus", {8000: 101}, 101, 8000),  # a phone that knows no other beside Opus
    ],
)
def test_a_key_in_wide_band_audio_becomes_an_event_by_the_clock_of_the_audio(
    codec: str, events: dict[int, int], payload_type: int, clock_rate_hz: int
) -> None:
    encoder = Encoder(codec)
    rate_hz, units = encoder.codec.sample_rate_hz, encoder.units
    key = sum((sine(hz, -20, 0.2, rate_hz) for hz in frequencies("8")), np.zeros(rate_hz // 5))
    sound = np.concatenate([silence(0.2, rate_hz), key, silence(0.4, rate_hz)])
    path = PacketPath(OutgoingStream(lambda width: 0))
    path.set_routes(routes({96: codec}, {codec: 98}))
    path.key_tap = KeyTap({98: codec}, events)
    sent = []
    for n in range(len(sound) // encoder.frame):
        payload = encoder.encode(sound[n * encoder.frame : (n + 1) * encoder.frame])
        packet = path.forward(build_packet(RtpHeader(96, n, n * units, SSRC), payload), n * 0.02)
        sent.append(parse_header(packet or b""))
        if sent[-1].payload_type == payload_type:
            last = payload_of(packet or b"")
    assert [header.sequence for header in sent] == list(range(len(sent)))
    told = [header for header in sent if header.payload_type == payload_type]
    assert {header.timestamp for header in told} == {told[0].timestamp}
    code, flags, duration = PAYLOAD.unpack(last)
    assert (code, flags & 0x80) == (8, 0x80)
    assert duration / clock_rate_hz == pytest.approx(0.2, abs=0.045)  # whole packets, begun when it is known
    assert [header.marker for header in told] == [True] + [False] * (len(told) - 1)


def test_a_tap_follows_the_codec_of_the_audio() -> None:
    tap = KeyTap({98: "opus", 0: "PCMU"}, {8000: 101, 48000: 110})
    assert tap.replace(98, b"\xf8\xff\xfe", 0) is None
    assert (tap.sender.payload_type, tap.sender.clock_rate_hz) == (110, 48000)
    assert tap.replace(0, bytes(160), 960) is None
    assert (tap.sender.payload_type, tap.sender.clock_rate_hz) == (101, 8000)
    tap.use({98: "opus", 0: "PCMU"}, {48000: 120, 8000: 121})
    assert tap.sender.payload_type == 121
    assert tap.replace(7, b"x", 0) is None  # of no codec


def test_events_of_either_clock_are_as_long_as_they_say() -> None:
    receiver = EventReceiver()
    payload = PAYLOAD.pack(5, 0x8A, 4800)
    assert receiver.receive(SSRC, 960, True, payload, 1.0, 48000) == (KeyPress("5", 100),)
    # Another clock's timestamps may go back: believed when the last event is long ago.
    assert receiver.receive(SSRC, 800, True, PAYLOAD.pack(6, 0x8A, 800), 1.5, 8000) == ()
    assert receiver.receive(SSRC, 800, True, PAYLOAD.pack(6, 0x8A, 800), 4.0, 8000) == (KeyPress("6", 100),)
