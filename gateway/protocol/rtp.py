"""RTP (RFC 3550): headers read and written on the bytes as they are, and what a receiver and a sender remember.

Nothing here makes an object per packet except `parse_header`, which is for tests and tools.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import RemoteProtocolError

HEADER: Final = struct.Struct("!BBHII")
"""Version/P/X/CC, M/PT, sequence number, timestamp, SSRC (RFC 3550 section 5.1)."""

HEADER_BYTES: Final = 12
PLAIN: Final = 0x80
"""First byte of a header with no padding, no extension and no CSRC: what nearly every packet has."""

MAX_DROPOUT: Final = 3000  # RFC 3550 A.1: a minute of 20 ms packets may be lost before it counts as a restart
MAX_MISORDER: Final = 100  # RFC 3550 A.1: 2 s of 20 ms packets may come late
TIMESTAMP_JUMP_S: Final = 2.0
"""A timestamp further ahead than the clock explains by this much is a new time base, not a pause."""

_MASK16: Final = 0xFFFF
_MASK32: Final = 0xFFFFFFFF


def is_rtcp(packet: bytes) -> bool:
    """Whether *packet* is RTCP where both share a port (RFC 5761 section 4): second byte 192 to 223."""
    return len(packet) > 1 and 192 <= packet[1] <= 223


@dataclass(frozen=True, slots=True)
class RtpHeader:
    """The fixed header of one packet (RFC 3550 section 5.1)."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool = False


def parse_header(packet: bytes) -> RtpHeader:
    """Return the fixed header of *packet*.

    Raises:
        RemoteProtocolError: *packet* is no RTP packet.
    """
    payload_span(packet)
    _, marker_type, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
    return RtpHeader(marker_type & 0x7F, sequence, timestamp, ssrc, bool(marker_type & 0x80))


def payload_span(packet: bytes) -> tuple[int, int]:
    """Return where the payload of *packet* begins and ends, without CSRCs, extension and padding.

    Raises:
        RemoteProtocolError: *packet* is no RTP packet (RFC 3550 A.1).
    """
    length = len(packet)
    if length < HEADER_BYTES:
        raise RemoteProtocolError("RTP packet shorter than its header")
    first = packet[0]
    if first >> 6 != 2:
        raise RemoteProtocolError("RTP version is not 2")
    start = HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if length < start + 4:
            raise RemoteProtocolError("RTP header extension is cut short")
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = length
    if first & 0x20:
        padding = packet[-1]
        if padding == 0:
            raise RemoteProtocolError("RTP padding of length 0")
        end -= padding
    if start > end:
        raise RemoteProtocolError("RTP packet shorter than its header says")
    return start, end


def payload_of(packet: bytes) -> bytes:
    """Return the payload of *packet*.

    Raises:
        RemoteProtocolError: *packet* is no RTP packet.
    """
    start, end = payload_span(packet)
    return packet[start:end]


def build_packet(header: RtpHeader, payload: bytes) -> bytes:
    """Return a packet with *header* and *payload*, with no extension and no padding."""
    marker_type = header.payload_type | (0x80 if header.marker else 0)
    return HEADER.pack(PLAIN, marker_type, header.sequence, header.timestamp, header.ssrc) + payload


class OutgoingStream:
    """One stream that we send: its SSRC and where it stands. It outlives the sources that feed it.

    A receiver sees one unbroken stream when another source takes over, since the new one goes on from
    here. The last position is also what the sender report needs (RFC 3550 section 6.4.1).

    Args:
        random_bits: gives random bits, for the SSRC and the first position (RFC 3550 section 5.1).
        clock_rate_hz: RTP timestamp units per second.
    """

    __slots__ = ("clock_rate_hz", "octets", "packets", "sent_at_s", "sequence", "ssrc", "timestamp")

    def __init__(self, random_bits: Callable[[int], int], clock_rate_hz: int = 8000) -> None:
        self.ssrc = random_bits(32)
        self.sequence = random_bits(16)
        self.timestamp = random_bits(32)
        self.clock_rate_hz = clock_rate_hz
        self.sent_at_s: float | None = None
        self.packets = 0
        self.octets = 0

    def timestamp_at(self, now_s: float) -> int:
        """Return the RTP timestamp that belongs to the monotonic instant *now_s*."""
        if self.sent_at_s is None:
            return self.timestamp
        return (self.timestamp + round((now_s - self.sent_at_s) * self.clock_rate_hz)) & _MASK32


class Reception:
    """What was received of one source: extended sequence number, loss and jitter (RFC 3550 A.1, A.3, A.8).

    Args:
        clock_rate_hz: RTP timestamp units per second.

    Attributes:
        clock_rate_hz: timestamp units per second of the packets that come; changed by `use_clock` alone.
    """

    __slots__ = (
        "_base", "_before", "_cycles", "_expected_prior", "_jitter", "_jump", "_received_prior", "_timed_at_s",
        "_transit", "changes", "clock_rate_hz", "gaps", "last_at_s", "octets", "packets", "sequence", "ssrc",
        "timestamp",
    )  # fmt: skip

    def __init__(self, clock_rate_hz: int = 8000) -> None:
        self.clock_rate_hz = clock_rate_hz
        self._jump = TIMESTAMP_JUMP_S * clock_rate_hz
        self.ssrc: int | None = None
        self.sequence = 0  # highest of this source
        self.packets = 0
        self.octets = 0
        self.changes = 0  # times that another source or a jump was seen
        self.gaps = 0  # times that numbers were missing before a packet; late ones fill theirs unseen
        self.last_at_s: float | None = None
        self._before = [0, 0]  # expected and received of earlier sources, whose loss is not forgotten
        self._base = 0
        self._cycles = 0
        self.timestamp = 0  # of the last timed packet
        self._timed_at_s = 0.0
        self._transit: float | None = None
        self._jitter = 0.0
        self._expected_prior = 0
        self._received_prior = 0

    def use_clock(self, clock_rate_hz: int) -> None:
        """Take timestamps to count by another clock from now on (RFC 7160); what two clocks tell cannot be compared."""
        self.clock_rate_hz = clock_rate_hz
        self._jump = TIMESTAMP_JUMP_S * clock_rate_hz
        self._transit = None
        self._jitter = 0.0

    def update(self, sequence: int, timestamp: int, ssrc: int, octets: int, now_s: float, timed: bool = True) -> bool:
        """Count a packet in.

        Args:
            sequence: its sequence number.
            timestamp: its RTP timestamp.
            ssrc: its source.
            octets: bytes of its payload.
            now_s: monotonic instant of its arrival.
            timed: its timestamp is the instant of its first sample; false for telephone events (RFC 4733),
                whose timestamp stands still.

        Returns:
            Whether its numbers do not continue those before: the first packet, another SSRC, a jump.
        """
        fresh = False
        if ssrc != self.ssrc:
            self._restart(sequence, ssrc)
            fresh = True
        else:
            ahead = (sequence - self.sequence) & _MASK16
            if ahead < MAX_DROPOUT:
                if timed and ahead and self._transit is not None:
                    step = ((timestamp - self.timestamp + 0x80000000) & _MASK32) - 0x80000000
                    if step < 0 or step > (now_s - self._timed_at_s) * self.clock_rate_hz + self._jump:
                        self._restart(sequence, ssrc)
                        fresh = True
                if ahead > 1:
                    self.gaps += 1
                if sequence < self.sequence:
                    self._cycles += 0x10000
                self.sequence = sequence
            elif ahead <= 0x10000 - MAX_MISORDER:
                self._restart(sequence, ssrc)
                fresh = True
        self.packets += 1
        self.octets += octets
        self.last_at_s = now_s
        if timed:
            transit = now_s * self.clock_rate_hz - timestamp
            if self._transit is not None and not fresh:
                change = abs(transit - self._transit)
                if change < 0x7FFFFFFF:  # else the timestamp wrapped between the two
                    self._jitter += (change - self._jitter) / 16
            self._transit = transit
            self.timestamp = timestamp
            self._timed_at_s = now_s
        return fresh

    def _restart(self, sequence: int, ssrc: int) -> None:
        if self.ssrc is not None:
            self.changes += 1
            self._before = [self.expected, self.packets]
            self._expected_prior = self._received_prior = 0
        self.ssrc = ssrc
        self._base = self.sequence = sequence
        self._cycles = 0
        self._transit = None

    @property
    def extended_sequence(self) -> int:
        """Highest sequence number with the count of its wraps in the upper 16 bits."""
        return (self._cycles + self.sequence) & _MASK32

    @property
    def expected(self) -> int:
        """Packets that were sent to us, as far as the numbers tell, of all sources so far."""
        if self.ssrc is None:
            return 0
        return self._before[0] + self._cycles + self.sequence - self._base + 1

    @property
    def lost(self) -> int:
        """Packets lost so far of all sources; late and duplicate ones count as received (RFC 3550 A.3)."""
        return max(0, self.expected - self.packets)

    @property
    def source_lost(self) -> int:
        """Packets lost of the present source, negative where duplicates came."""
        return (self.expected - self._before[0]) - (self.packets - self._before[1])

    @property
    def source_expected(self) -> int:
        """Packets that the present source sent."""
        return self.expected - self._before[0]

    @property
    def jitter(self) -> int:
        """Interarrival jitter in timestamp units (RFC 3550 A.8)."""
        return int(self._jitter)

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter in milliseconds."""
        return self._jitter * 1000 / self.clock_rate_hz

    def take_fraction_lost(self) -> int:
        """Return the share of packets lost since the last call, in 1/256 (RFC 3550 A.3)."""
        expected = self.expected - self._before[0]
        received = self.packets - self._before[1]
        expected_since = expected - self._expected_prior
        lost_since = expected_since - (received - self._received_prior)
        self._expected_prior, self._received_prior = expected, received
        if expected_since <= 0 or lost_since <= 0:
            return 0
        return min(255, (lost_since << 8) // expected_since)
