"""Packets of 20 ms joined or split into those that the SIP peer asked for (``a=ptime``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.protocol.rtp import HEADER, HEADER_BYTES, PLAIN, OutgoingStream

PAGE_PTIME_MS: Final = 20  # what Chrome sends
_UNITS_PER_MS: Final = 8  # G.711: timestamp units, samples and bytes are the same


class Repacketizer:
    """Makes a stream of packets of one length of one of another length. Its numbers are its own.

    What was lost stays lost: the timestamp has the gap, and as many numbers are left out as packets would have filled
    it. Telephone-events pass as they are, after the audio that waited.

    Args:
        ptime_ms: length of the packets that leave.
        outgoing: the stream, whose count of packets is set right for the sender reports.
    """

    __slots__ = ("_bytes", "_due", "_marker", "_outgoing", "_pending", "_pending_at", "_sequence", "_taken", "_type")

    def __init__(self, ptime_ms: int, outgoing: OutgoingStream) -> None:
        self._bytes = ptime_ms * _UNITS_PER_MS
        self._outgoing = outgoing
        self._pending = b""
        self._pending_at = 0  # timestamp of its first sample
        self._type = 0
        self._marker = 0
        self._due = 0  # timestamp that comes next
        self._taken: int | None = None  # number of the last packet taken
        self._sequence = 0  # of the next packet to leave

    def change(self, ptime_ms: int) -> None:
        """Let packets of another length leave from now on."""
        self._bytes = ptime_ms * _UNITS_PER_MS

    def feed(self, packet: bytes, event_type: int | None) -> list[bytes]:
        """Take a packet without extension or padding; return what leaves now.

        Args:
            packet: RTP.
            event_type: payload type of telephone-event.
        """
        _, marker_type, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
        out: list[bytes] = []
        if self._taken is None:
            self._sequence = sequence
            self._due = timestamp
        else:
            step = (sequence - self._taken) & 0xFFFF
            if not step or step >= 0x8000:
                self._outgoing.packets -= 1  # late: what it belongs to has left
                return out
            lost = (step - 1) * 160
            if lost:
                out += self._flush(ssrc)
                self._sequence += -(-lost // self._bytes)
        self._taken = sequence
        payload_type = marker_type & 0x7F
        if payload_type == event_type:
            out += self._flush(ssrc)
            out.append(self._packet(marker_type, timestamp, ssrc, packet[HEADER_BYTES:]))
            self._due = (self._due + 160) & 0xFFFFFFFF
        else:
            if timestamp != self._due or payload_type != self._type:
                out += self._flush(ssrc)
            if not self._pending:
                self._pending_at = timestamp
            self._type = payload_type
            self._marker |= marker_type & 0x80
            self._pending += packet[HEADER_BYTES:]
            self._due = (timestamp + len(packet) - HEADER_BYTES) & 0xFFFFFFFF
            out += self._full(ssrc)
        self._outgoing.packets += len(out) - 1
        return out

    def _full(self, ssrc: int) -> Iterator[bytes]:
        while len(self._pending) >= self._bytes:
            yield self._cut(self._bytes, ssrc)

    def _flush(self, ssrc: int) -> Iterator[bytes]:
        if self._pending:
            yield self._cut(len(self._pending), ssrc)

    def _cut(self, count: int, ssrc: int) -> bytes:
        packet = self._packet(self._type | self._marker, self._pending_at, ssrc, self._pending[:count])
        self._pending = self._pending[count:]
        self._pending_at = (self._pending_at + count) & 0xFFFFFFFF
        self._marker = 0
        return packet

    def _packet(self, marker_type: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
        sequence, self._sequence = self._sequence & 0xFFFF, (self._sequence + 1) & 0xFFFF
        return HEADER.pack(PLAIN, marker_type, sequence, timestamp, ssrc) + payload
