"""A packet path whose packets are converted: numbers, what else travels in the stream, changes in its middle."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gateway.codecs.payload import units
from gateway.codecs.sound import SoundCodecs
from gateway.media.conversion import Conversion
from gateway.media.path import PacketPath, routes
from gateway.protocol.rtp import OutgoingStream, RtpHeader, build_packet, parse_header, payload_of

pytestmark = pytest.mark.unit

LIBRARY = SoundCodecs.load()
OPUS_PACKETS = [LIBRARY.encoder("opus", 8000, 20).encode(bytes(320)) for _ in range(1)]
SOUND = bytes((0xFF, 0x80)) * 80
START_S = 5.0


class Handle:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Rig:
    """A path from a page that has Opus and PCMA to a peer that has PCMU alone."""

    sent: list[bytes] = field(default_factory=list)
    timers: list[tuple[float, Callable[[], None], Handle]] = field(default_factory=list)
    now_s: float = START_S

    def __post_init__(self) -> None:
        bits = iter([0xBEEF, 65_530, 0xFFFFF000])
        self.path = PacketPath(OutgoingStream(lambda width: next(bits)))
        self.use({111: "opus", 9: "G722", 0: "PCMU", 101: "telephone-event", 13: "CN"}, {"PCMU": 0}, "PCMU")
        self.path.conversion = Conversion(self.path, LIBRARY, self.sent.append, self.schedule, lambda: self.now_s)

    def use(self, receive: dict[int, str], send: dict[str, int], preferred: str) -> None:
        self.path.set_routes(routes(receive, send, preferred, LIBRARY.names))

    def schedule(self, at_s: float, callback: Callable[[], None]) -> Handle:
        handle = Handle()
        self.timers.append((at_s, callback, handle))
        return handle

    def say(self, n: int, payload_type: int = 111, payload: bytes | None = None, *, step: int = 960) -> None:
        self.now_s = max(self.now_s, START_S + n * 0.02)
        sound = payload if payload is not None else OPUS_PACKETS[0] if payload_type == 111 else SOUND
        packet = self.path.forward(build_packet(RtpHeader(payload_type, n, n * step, 7), sound), self.now_s)
        if packet is not None:
            self.sent.append(packet)

    def headers(self) -> list[RtpHeader]:
        return [parse_header(packet) for packet in self.sent]


def continuous(headers: list[RtpHeader]) -> bool:
    return all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in itertools.pairwise(headers))


def test_converted_packets_are_one_stream_by_the_targets_clock() -> None:
    rig = Rig()
    for n in range(20):
        rig.say(n)
    headers = rig.headers()
    assert len(headers) == 20
    assert {(h.payload_type, h.ssrc) for h in headers} == {(0, 0xBEEF)}
    assert continuous(headers)
    assert {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)} == {160}
    assert [h.marker for h in headers] == [True] + [False] * 19
    assert {len(payload_of(packet)) for packet in rig.sent} == {160}
    assert (rig.path.transcoded, rig.path.passed, rig.path.outgoing.packets) == (20, 20, 20)
    assert rig.path.outgoing.clock_rate_hz == 8000


def test_it_goes_over_to_packets_that_pass_and_back_without_a_gap_in_the_numbers() -> None:
    rig = Rig()
    for n in range(5):
        rig.say(n)
    for n in range(5, 10):
        rig.say(n, 0, step=160)
    for n in range(10, 15):
        rig.say(n)
    headers = rig.headers()
    assert len(headers) == 15
    assert continuous(headers)
    gaps = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)]
    assert all(gap == pytest.approx(160, abs=2) for gap in gaps)
    assert payload_of(rig.sent[7]) == SOUND


def test_longer_packets_than_come_are_put_together() -> None:
    rig = Rig()
    assert rig.path.conversion is not None
    rig.path.conversion.use(60, None)
    for n in range(12):
        rig.say(n)
    assert [units("PCMU", payload_of(packet)) for packet in rig.sent] == [480] * 4
    assert continuous(rig.headers())


def test_events_in_between_are_no_loss() -> None:
    rig = Rig()
    for n in range(10):
        rig.say(n, 101, b"\x01\x0a\x00\xa0") if n in (4, 5) else rig.say(n)
    assert rig.path.conversion is not None
    assert rig.path.conversion.stats().concealed_ms == 0
    assert rig.path.dropped == {"telephone_event": 2}


def test_comfort_noise_is_heard_where_the_stream_is_converted() -> None:
    rig = Rig()
    for n in range(5):
        rig.say(n, 9, step=160)
    rig.say(5, 13, b"\x28", step=160)
    assert "comfort_noise" not in rig.path.dropped
    before = len(rig.sent)
    for _ in range(10):
        at_s, callback, handle = rig.timers[-1]
        assert not handle.cancelled
        rig.now_s = at_s
        callback()
    assert len(rig.sent) == before + 10
    assert continuous(rig.headers())


def test_a_lost_packet_is_made_good_and_counted() -> None:
    rig = Rig()
    for n in (0, 1, 2, 4, 5):
        rig.say(n)
    assert len(rig.sent) == 6
    assert rig.path.conversion is not None
    assert rig.path.conversion.stats().concealed_ms == 20
    assert continuous(rig.headers())


def test_opus_carries_copies_while_the_receiver_tells_of_loss() -> None:
    def sizes(percent: int) -> int:
        rig = Rig()
        rig.use({0: "PCMU"}, {"opus": 111}, "opus")
        assert rig.path.conversion is not None
        rig.path.conversion.expect_loss(percent)
        for n in range(50):
            rig.say(n, 0, bytes((n * 7 + k * k) % 251 for k in range(160)), step=160)
        rig.path.conversion.expect_loss(percent)
        return sum(has_copy(payload_of(packet)) for packet in rig.sent)

    assert sizes(0) == 0
    assert sizes(20) > 20


def has_copy(packet: bytes) -> bool:
    """Whether a SILK packet of one frame of 20 ms carries one (RFC 6716 section 4.2.3: bit behind that of activity)."""
    return packet[0] >> 3 < 12 and bool(packet[1] & 0x40)


def test_silence_that_was_asked_for_is_sent_as_silence() -> None:
    rig = Rig()
    rig.path.quiet_until_s = START_S + 1
    rig.say(0)
    assert set(payload_of(rig.sent[0])) == {0xFF}
    assert rig.path.muted == 1


def test_another_source_begins_anew() -> None:
    rig = Rig()
    for n in range(5):
        rig.say(n)
    rig.now_s += 1.0
    packet = build_packet(RtpHeader(111, 30_000, 5, 8), OPUS_PACKETS[0])
    assert rig.path.forward(packet, rig.now_s) is None
    headers = rig.headers()
    assert len(headers) == 6
    assert headers[-1].marker
    assert (headers[-1].timestamp - headers[-2].timestamp) & 0xFFFFFFFF == pytest.approx(8000 + 160, abs=162)


def test_nothing_is_sent_after_the_end() -> None:
    rig = Rig()
    for n in range(5):
        rig.say(n, 9, step=160)
    rig.say(5, 13, b"\x28", step=160)
    assert rig.path.conversion is not None
    rig.path.conversion.close()
    sent = len(rig.sent)
    rig.timers[-1][1]()
    assert len(rig.sent) == sent
    assert rig.timers[-1][2].cancelled


def test_where_nothing_can_be_converted_the_packet_is_dropped_as_before() -> None:
    rig = Rig()
    rig.path.set_routes(routes({111: "opus"}, {"PCMU": 0}, "PCMU", SoundCodecs(None).names))
    rig.say(0)
    assert rig.sent == []
    assert rig.path.dropped == {"no_common_codec": 1}


def test_a_law_still_goes_by_table_and_the_peers_first_codec_is_the_target() -> None:
    table = routes({0: "PCMU", 9: "G722", 111: "opus"}, {"G722": 9, "PCMA": 8}, "PCMA", LIBRARY.names)
    assert table[0].table is not None
    assert table[9].payload_type == 9
    assert (table[111].source, table[111].codec, table[111].target_type) == ("opus", "PCMA", 8)


def test_no_noise_is_sent_to_who_holds_the_call() -> None:
    rig = Rig()
    for n in range(10):
        rig.say(n)
    rig.say(10, 13, bytes((60,)))
    rig.path.closed = "hold"
    before = len(rig.sent)
    for _ in range(20):
        due = [timer for timer in rig.timers if not timer[2].cancelled]
        rig.timers.clear()
        for at_s, callback, _ in due:
            rig.now_s = at_s
            callback()
    assert len(rig.sent) == before
