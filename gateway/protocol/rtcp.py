"""RTCP (RFC 3550 section 6): compound packets parsed and built."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.rtp import OutgoingStream, Reception

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203

FAR_REPORT_S: Final = 15.0
"""Older reports of the far end are not passed on: three intervals of RFC 3550's 5 s."""

_CNAME: Final = 1
_UNIX_TO_NTP_S: Final = 2208988800  # 1900-01-01 to 1970-01-01 (RFC 5905)
_REPORT: Final = struct.Struct("!II III I")
_SENDER: Final = struct.Struct("!IIIII")


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one source (RFC 3550 section 6.4.1).

    Attributes:
        ssrc: the source.
        fraction_lost: share lost since the last report, in 1/256.
        cumulative_lost: packets lost so far; negative where duplicates came.
        extended_sequence: highest sequence number received, with its wraps.
        jitter: in timestamp units.
        last_sr: middle 32 bits of the NTP time of the last sender report, 0 for none.
        delay_since_last_sr: in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    extended_sequence: int
    jitter: int
    last_sr: int
    delay_since_last_sr: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR: NTP time (64 bits), the RTP timestamp of that instant, and counts (RFC 3550 section 6.4.1)."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR (RFC 3550 section 6.4.2)."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES: the sources and their CNAMEs; other items are left out (RFC 3550 section 6.5)."""

    cnames: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """BYE (RFC 3550 section 6.6)."""

    sources: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OtherRtcp:
    """A packet of a type that is not used here: APP, feedback, extended reports."""

    packet_type: int
    count: int
    body: bytes


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye | OtherRtcp


def ntp_from_unix(unix_s: float) -> int:
    """Return the 64-bit NTP timestamp of *unix_s* seconds since 1970 (RFC 3550 section 4)."""
    seconds = int(unix_s)
    fraction = int((unix_s - seconds) * (1 << 32))
    return ((seconds + _UNIX_TO_NTP_S) & 0xFFFFFFFF) << 32 | fraction


def middle_of_ntp(ntp: int) -> int:
    """Return the middle 32 bits of a 64-bit NTP timestamp, the unit of LSR and DLSR."""
    return (ntp >> 16) & 0xFFFFFFFF


def round_trip_s(block: ReportBlock, ntp: int) -> float | None:
    """Return the round trip in seconds that *block*, received at *ntp*, tells, or None (RFC 3550 section 6.4.1)."""
    if not block.last_sr:
        return None
    units = (middle_of_ntp(ntp) - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF
    return None if units >= 0x80000000 else units / 65536  # a negative one: clocks stepped, or the peer lies


def parse_compound(data: bytes) -> tuple[RtcpPacket, ...]:
    """Parse a compound packet (RFC 3550 A.2; a reduced-size one too, RFC 5506).

    Raises:
        RemoteProtocolError: *data* is no RTCP.
    """
    packets: list[RtcpPacket] = []
    position = 0
    while position < len(data):
        if len(data) < position + 4:
            raise RemoteProtocolError("RTCP header is cut short")
        first, packet_type = data[position], data[position + 1]
        length = 4 + 4 * int.from_bytes(data[position + 2 : position + 4], "big")
        if first >> 6 != 2:
            raise RemoteProtocolError("RTCP version is not 2")
        end = position + length
        if len(data) < end:
            raise RemoteProtocolError("RTCP packet is cut short")
        body = data[position + 4 : end]
        if first & 0x20:
            # RFC 3550 section 6.4.1: padding only in the last packet, a multiple of four with its own count.
            if end != len(data) or not body or not body[-1] or body[-1] % 4 or body[-1] > len(body):
                raise RemoteProtocolError("RTCP padding is wrong")
            body = body[: -body[-1]]
        packets.append(_parse_body(packet_type, first & 0x1F, body))
        position = end
    if not packets:
        raise RemoteProtocolError("RTCP packet is empty")
    return tuple(packets)


def _parse_body(packet_type: int, count: int, body: bytes) -> RtcpPacket:
    if packet_type == SENDER_REPORT:
        if len(body) < 24:
            raise RemoteProtocolError("RTCP sender report is cut short")
        ntp_high, ntp_low, rtp_timestamp, packets, octets = _SENDER.unpack_from(body, 4)
        ssrc = int.from_bytes(body[:4], "big")
        return SenderReport(
            ssrc, ntp_high << 32 | ntp_low, rtp_timestamp, packets, octets, _parse_reports(body[24:], count)
        )
    if packet_type == RECEIVER_REPORT:
        if len(body) < 4:
            raise RemoteProtocolError("RTCP receiver report is cut short")
        return ReceiverReport(int.from_bytes(body[:4], "big"), _parse_reports(body[4:], count))
    if packet_type == SOURCE_DESCRIPTION:
        return _parse_description(body, count)
    if packet_type == GOODBYE:
        return _parse_goodbye(body, count)
    return OtherRtcp(packet_type, count, body)


def _parse_reports(body: bytes, count: int) -> tuple[ReportBlock, ...]:
    if len(body) < 24 * count:
        raise RemoteProtocolError("RTCP report block is cut short")
    blocks = []
    for index in range(count):
        ssrc, loss, extended, jitter, last_sr, delay = _REPORT.unpack_from(body, 24 * index)
        cumulative = loss & 0xFFFFFF
        if cumulative & 0x800000:
            cumulative -= 0x1000000
        blocks.append(ReportBlock(ssrc, loss >> 24, cumulative, extended, jitter, last_sr, delay))
    return tuple(blocks)


def _parse_description(body: bytes, count: int) -> SourceDescription:
    names: list[tuple[int, str]] = []
    position = 0
    for _ in range(count):
        if len(body) < position + 4:
            raise RemoteProtocolError("RTCP source description is cut short")
        ssrc = int.from_bytes(body[position : position + 4], "big")
        position += 4
        while True:
            if position >= len(body):
                raise RemoteProtocolError("RTCP source description has no end")
            item = body[position]
            if item == 0:
                position += 4 - position % 4  # the end is filled up to a word
                break
            if len(body) < position + 2 or len(body) < position + 2 + body[position + 1]:
                raise RemoteProtocolError("RTCP source description item is cut short")
            text = body[position + 2 : position + 2 + body[position + 1]]
            if item == _CNAME:
                names.append((ssrc, text.decode("utf-8", "replace")))
            position += 2 + len(text)
    return SourceDescription(tuple(names))


def _parse_goodbye(body: bytes, count: int) -> Goodbye:
    if len(body) < 4 * count:
        raise RemoteProtocolError("RTCP BYE is cut short")
    sources = tuple(int.from_bytes(body[4 * index : 4 * index + 4], "big") for index in range(count))
    rest = body[4 * count :]
    if not rest:
        return Goodbye(sources)
    if len(rest) < 1 + rest[0]:
        raise RemoteProtocolError("RTCP BYE reason is cut short")
    return Goodbye(sources, rest[1 : 1 + rest[0]].decode("utf-8", "replace"))


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body


def _build_reports(reports: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        _REPORT.pack(
            block.ssrc,
            block.fraction_lost << 24 | (block.cumulative_lost & 0xFFFFFF),
            block.extended_sequence,
            block.jitter,
            block.last_sr,
            block.delay_since_last_sr,
        )
        for block in reports
    )


def build_packet(packet: RtcpPacket) -> bytes:
    """Return the bytes of *packet*."""
    match packet:
        case SenderReport():
            sender = struct.pack(
                "!IQIII",
                packet.ssrc,
                packet.ntp,
                packet.rtp_timestamp,
                packet.packets & 0xFFFFFFFF,
                packet.octets & 0xFFFFFFFF,
            )
            return _packet(SENDER_REPORT, len(packet.reports), sender + _build_reports(packet.reports))
        case ReceiverReport():
            return _packet(
                RECEIVER_REPORT, len(packet.reports), packet.ssrc.to_bytes(4, "big") + _build_reports(packet.reports)
            )
        case SourceDescription():
            chunks = b""
            for ssrc, cname in packet.cnames:
                text = cname.encode()[:255]
                chunk = ssrc.to_bytes(4, "big") + bytes((_CNAME, len(text))) + text
                chunks += chunk + bytes(4 - len(chunk) % 4)  # at least one zero ends the chunk
            return _packet(SOURCE_DESCRIPTION, len(packet.cnames), chunks)
        case Goodbye():
            body = b"".join(source.to_bytes(4, "big") for source in packet.sources)
            if packet.reason:
                text = packet.reason.encode()[:255]
                body += bytes((len(text),)) + text
            return _packet(GOODBYE, len(packet.sources), body)
        case _:
            return _packet(packet.packet_type, packet.count, packet.body)


def build_compound(packets: Sequence[RtcpPacket]) -> bytes:
    """Return the bytes of *packets* as one compound packet."""
    return b"".join(build_packet(packet) for packet in packets)


@dataclass(frozen=True, slots=True)
class FarReport:
    """What the receiver of a stream said of it last.

    Attributes:
        ssrc: the stream.
        fraction_lost: share lost since its report before, in 1/256.
        lost: packets lost since the stream began.
        jitter_s: of their arrival.
        at_s: monotonic instant at which it said so.
        round_trip_s: to it and back, None before it can be told.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    jitter_s: float
    at_s: float
    round_trip_s: float | None


class Reporter:
    """Our end of RTCP for one stream sent and one received: builds reports, reads the peer's.

    Args:
        outgoing: the stream that we send.
        reception: what we receive.
        cname: our name (RFC 7022: random, so that it says nothing about us).

    Attributes:
        far: what the peer said last of our stream, None before it did.
        beyond: says how what we received fares where it is passed on to. As a translator's (RFC 3550 section 7.2), our
            reports tell the sender of the loss and jitter of the whole way, so that it can adapt to them; None: of the
            way to us.
    """

    __slots__ = (
        "_beyond_lost", "_cname", "_expected", "_last_sr", "_last_sr_at_s", "_reported_packets", "_source", "beyond",
        "far", "outgoing", "peer_fraction_lost", "peer_jitter", "peer_lost", "reception", "round_trip_s",
    )  # fmt: skip

    def __init__(self, outgoing: OutgoingStream, reception: Reception, cname: str) -> None:
        self.outgoing = outgoing
        self.reception = reception
        self.round_trip_s: float | None = None
        self.peer_lost = 0  # of our packets, as the peer says
        self.peer_fraction_lost = 0  # in 1/256
        self.peer_jitter = 0  # timestamp units
        self.far: FarReport | None = None
        self.beyond: Callable[[], FarReport | None] | None = None
        self._beyond_lost = 0  # packets that were lost after us, of the present source
        self._expected = (-1, 0)  # of which source, and how many packets it had sent at the last report
        self._cname = cname
        self._source: int | None = None  # whom the last sender report was of
        self._last_sr = 0
        self._last_sr_at_s = 0.0
        self._reported_packets = 0

    def report(self, now_s: float, unix_s: float, *, goodbye: bool = False) -> bytes:
        """Return a compound packet: SR or RR, SDES and, at the end, BYE.

        Args:
            now_s: monotonic seconds.
            unix_s: wall clock, for the NTP timestamp.
            goodbye: we stop sending.
        """
        outgoing = self.outgoing
        reports = self._blocks(now_s)
        head: RtcpPacket
        if outgoing.packets > self._reported_packets:  # RFC 3550 section 6.4: SR only after sending since the last
            head = SenderReport(
                outgoing.ssrc,
                ntp_from_unix(unix_s),
                outgoing.timestamp_at(now_s),
                outgoing.packets,
                outgoing.octets,
                reports,
            )
            self._reported_packets = outgoing.packets
        else:
            head = ReceiverReport(outgoing.ssrc, reports)
        packets: list[RtcpPacket] = [head, SourceDescription(((outgoing.ssrc, self._cname),))]
        if goodbye:
            packets.append(Goodbye((outgoing.ssrc,)))
        return build_compound(packets)

    def _blocks(self, now_s: float) -> tuple[ReportBlock, ...]:
        reception = self.reception
        if reception.ssrc is None:
            return ()
        last_sr = delay = 0
        if self._source == reception.ssrc:
            last_sr = self._last_sr
            delay = min(0xFFFFFFFF, max(0, round((now_s - self._last_sr_at_s) * 65536)))
        fraction, jitter = self._whole_way(reception.take_fraction_lost(), now_s)
        return (
            ReportBlock(
                reception.ssrc,
                fraction,
                max(-0x800000, min(0x7FFFFF, reception.source_lost + self._beyond_lost)),
                reception.extended_sequence,
                min(0xFFFFFFFF, jitter),
                last_sr,
                delay,
            ),
        )

    def _whole_way(self, fraction: int, now_s: float) -> tuple[int, int]:
        """Return the fraction lost and the jitter as they are where the packets end up.

        Numbers are passed on with their gaps, so what the far end misses holds what we missed.
        """
        reception = self.reception
        source, sent = self._expected
        assert reception.ssrc is not None
        if source != reception.ssrc:
            self._beyond_lost = sent = 0
        since = max(0, reception.source_expected - sent)
        self._expected = (reception.ssrc, reception.source_expected)
        far = self.beyond() if self.beyond is not None else None
        if far is None or now_s - far.at_s > FAR_REPORT_S:
            return fraction, reception.jitter
        self._beyond_lost += max(0, far.fraction_lost - fraction) * since >> 8
        return max(fraction, far.fraction_lost), max(reception.jitter, round(far.jitter_s * reception.clock_rate_hz))

    def receive(self, data: bytes, now_s: float, unix_s: float) -> tuple[RtcpPacket, ...]:
        """Read a compound packet of the peer and return what is in it.

        Args:
            data: the packet.
            now_s: monotonic instant of its arrival.
            unix_s: the same on the wall clock.

        Raises:
            RemoteProtocolError: *data* is no RTCP.
        """
        packets = parse_compound(data)
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._source = packet.ssrc
                self._last_sr = middle_of_ntp(packet.ntp)
                self._last_sr_at_s = now_s
            if isinstance(packet, SenderReport | ReceiverReport):
                for block in packet.reports:
                    if block.ssrc == self.outgoing.ssrc:
                        self.peer_lost = block.cumulative_lost
                        self.peer_fraction_lost = block.fraction_lost
                        self.peer_jitter = block.jitter
                        trip = round_trip_s(block, ntp_from_unix(unix_s))
                        self.round_trip_s = self.round_trip_s if trip is None else trip
                        self.far = FarReport(
                            block.ssrc,
                            block.fraction_lost,
                            block.cumulative_lost,
                            block.jitter / self.outgoing.clock_rate_hz,
                            now_s,
                            self.round_trip_s,
                        )
        return packets
