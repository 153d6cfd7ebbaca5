"""Laying out RTP, reading SIP, and the filter: without a socket."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.support.audio import fit_sine, sine
from tests.support.audio_codecs import Encoder
from tests.support.wire import Datagram, RtpPacket, narrowed, parse_rtp, parse_sip, port_filter, stream_of

pytestmark = pytest.mark.unit

A, B = ("127.0.0.1", 4000), ("127.0.0.1", 5000)


def packet(
    sequence: int, timestamp: int, *, at_s: float = 0.0, first_byte: int = 0x80, payload: bytes = b""
) -> Datagram:
    header = struct.pack("!BBHII", first_byte, 0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7)
    return Datagram(at_s, A, B, header + (payload or b"\x80" * 160))


def parsed(*datagrams: Datagram) -> list:  # type: ignore[type-arg]
    return [parse_rtp(datagram) for datagram in datagrams]


def test_a_lost_packet_is_silence_at_its_place() -> None:
    stream = stream_of(parsed(packet(1, 1000), packet(2, 1160), packet(4, 1480)))
    assert stream.lost == 1
    assert len(stream.samples) == 4 * 160
    assert not np.any(stream.samples[320:480])
    assert np.all(stream.samples[:320] > 0.9)
    assert np.all(stream.samples[480:] > 0.9)


def test_reordered_and_repeated_packets_and_both_wraps() -> None:
    order = [packet(0xFFFF, -160, at_s=1), packet(1, 160, at_s=3), packet(0, 0, at_s=2), packet(0, 0, at_s=9)]
    stream = stream_of(parsed(*order))
    assert stream.lost == 0
    assert [stream.on_wire_s(sample) for sample in (0, 159, 160, 320)] == [1, 1, 2, 3]
    with pytest.raises(IndexError):
        stream.on_wire_s(480)


def test_nothing_to_lay_out() -> None:
    with pytest.raises(ValueError, match="no RTP"):
        stream_of([])


def test_csrc_extension_and_padding_are_no_payload() -> None:
    body = b"\x00" * 4 + b"\xbe\xde\x00\x01" + b"\x00" * 4 + b"\x11" * 8 + b"\x00\x00\x03"
    found = parse_rtp(packet(1, 0, first_byte=0x80 | 0x20 | 0x10 | 1, payload=body))
    assert found is not None
    assert found.payload == b"\x11" * 8


def test_rtcp_and_sip_are_not_rtp() -> None:
    assert parse_rtp(Datagram(0, A, B, bytes([0x80, 200]) + bytes(26))) is None
    assert parse_rtp(Datagram(0, A, B, b"INVITE sip:x SIP/2.0")) is None
    assert parse_rtp(Datagram(0, A, B, b"")) is None


def test_a_keep_alive_is_no_sip_message() -> None:
    assert parse_sip(Datagram(0, A, B, b"\r\n\r\n")) is None


def run_filter(program: list[tuple[int, int, int, int]], frame: bytes) -> int:
    """The steps of the program as the kernel takes them (only those that the tap uses)."""
    accumulator = index = at = 0
    while True:
        code, when_true, when_false, k = program[at]
        at += 1
        match code:
            case 0x28:
                accumulator = int.from_bytes(frame[k : k + 2], "big")
            case 0x30:
                accumulator = frame[k]
            case 0xB1:
                index = 4 * (frame[k] & 0x0F)
            case 0x48:
                accumulator = int.from_bytes(frame[k + index : k + index + 2], "big")
            case 0x15:
                at += when_true if accumulator == k else when_false
            case 0x35:
                at += when_true if accumulator >= k else when_false
            case 0x25:
                at += when_true if accumulator > k else when_false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"unknown step {code:#x}")


def frame(source: int, target: int, *, protocol: int = 17, ethertype: int = 0x0800, options: int = 0) -> bytes:
    ip = bytes([0x45 + options, 0]) + bytes(7) + bytes([protocol]) + bytes(10) + bytes(4 * options)
    return bytes(12) + ethertype.to_bytes(2, "big") + ip + struct.pack("!HHHH", source, target, 8, 0)


@pytest.mark.parametrize(
    ("seen", "passes"),
    [
        (frame(5060, 9), True),
        (frame(9, 5060), True),
        (frame(9, 5061), False),
        (frame(9, 5059), False),
        (frame(20_000, 9), True),
        (frame(9, 20_009), True),
        (frame(9, 20_010), False),
        (frame(9, 20_005, options=3), True),
        (frame(9, 5060, protocol=6), False),
        (frame(9, 5060, ethertype=0x86DD), False),
    ],
)
def test_the_filter_passes_the_wanted_ports_only(seen: bytes, passes: bool) -> None:
    program = port_filter([range(5060, 5061), range(20_000, 20_010)])
    assert bool(run_filter(program, seen)) is passes


@pytest.mark.parametrize(("codec", "step"), [("opus", 960), ("G722", 160), ("PCMU", 160)])
def test_a_wide_band_stream_is_laid_out_as_a_narrow_one(codec: str, step: int) -> None:
    encoder = Encoder(codec)
    sound = sine(1000, -20, 1, encoder.codec.sample_rate_hz)
    number = 0 if codec == "PCMU" else 96
    packets = []
    for n in range(50):
        payload = encoder.encode(sound[n * encoder.frame : (n + 1) * encoder.frame])
        timestamp = (n * step - 4800) & 0xFFFFFFFF
        packets.append(RtpPacket(Datagram(n * 0.02, A, B, b""), number, False, n, timestamp, 7, payload))
    event = RtpPacket(Datagram(1.0, A, B, b""), 101, False, 50, 0, 7, b"\0" * 4)
    stream = stream_of(narrowed([*packets, event], codec))
    assert len(stream.samples) == 8000
    assert stream.lost == 0
    fit = fit_sine(stream.samples[800:], 8000)
    assert fit.hz == pytest.approx(1000, abs=0.5)
    assert fit.dbfs == pytest.approx(-20, abs=0.2)
    assert stream.on_wire_s(161) == 0.02
