"""Packets of 20 ms joined or split into those that the SIP peer asked for (``a=ptime``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.codecs import opus, payload
from gateway.domain.codecs import CODECS, OPUS
from gateway.protocol.rtp import HEADER, HEADER_BYTES, PLAIN, OutgoingStream

PAGE_PTIME_MS: Final = 20  # what Chrome sends


class Repacketizer:
    """Makes a stream of packets of one length one of another length. Its numbers are its own.

    What was lost stays lost: the timestamp has the gap, and as many numbers are left out as packets would have filled
    it. Telephone-events pass as they are, after the audio that waited. Opus packets are joined and never split, which
    would need a decoder: a peer that asks for 10 ms of Opus gets 20 (RFC 7587 section 7: ptime is a wish).

    Args:
        ptime_ms: length of the packets that leave.
        outgoing: the stream, whose count of packets is set right for the sender reports.
    """

    __slots__ = (
        "_codec", "_due", "_frame", "_marker", "_outgoing", "_parts", "_pending_at", "_pending_units", "_ptime_ms",
        "_sequence", "_taken", "_target", "_type",
    )  # fmt: skip

    def __init__(self, ptime_ms: int, outgoing: OutgoingStream) -> None:
        self._ptime_ms = ptime_ms
        self._outgoing = outgoing
        self._codec = ""
        self._target = 0  # timestamp units of a packet that leaves
        self._frame = 0  # of one that came
        self._parts: list[bytes] = []
        self._pending_units = 0
        self._pending_at = 0  # timestamp of the first sample that waits
        self._type = 0
        self._marker = 0
        self._due = 0  # timestamp that comes next
        self._taken: int | None = None  # number of the last packet taken
        self._sequence = 0  # of the next packet to leave

    def change(self, ptime_ms: int) -> None:
        """Let packets of another length leave from now on."""
        self._ptime_ms = ptime_ms
        self._target = ptime_ms * CODECS[self._codec].clock_rate_hz // 1000 if self._codec else 0

    def feed(self, packet: bytes, codec: str | None) -> list[bytes]:
        """Take a packet without extension or padding; return what leaves now.

        Args:
            packet: RTP.
            codec: what it is coded in; None for a telephone-event.
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
            lost = (step - 1) * self._frame
            if lost:
                out += self._flush(ssrc)
                self._sequence += -(-lost // self._target)
        self._taken = sequence
        if codec is None:
            out += self._flush(ssrc)
            out.append(self._packet(marker_type, timestamp, ssrc, packet[HEADER_BYTES:]))
            self._due = (self._due + self._frame) & 0xFFFFFFFF
        else:
            payload_type = marker_type & 0x7F
            if timestamp != self._due or payload_type != self._type:
                out += self._flush(ssrc)
            self._follow(codec)
            self._type = payload_type
            self._marker |= marker_type & 0x80
            out += self._take(packet[HEADER_BYTES:], timestamp, ssrc)
        self._outgoing.packets += len(out) - 1
        return out

    def _follow(self, codec: str) -> None:
        if codec != self._codec:
            self._codec = codec
            self.change(self._ptime_ms)
            self._frame = CODECS[codec].clock_rate_hz * PAGE_PTIME_MS // 1000

    def _take(self, part: bytes, timestamp: int, ssrc: int) -> Iterator[bytes]:
        length = payload.units(self._codec, part)
        if self._codec == OPUS.name and (
            self._pending_units + length > self._target or (self._parts and opus.join([*self._parts, part]) is None)
        ):
            yield from self._flush(ssrc)
        if not self._parts:
            self._pending_at = timestamp
        self._parts.append(part)
        self._pending_units += length
        self._due = (timestamp + length) & 0xFFFFFFFF
        if self._codec == OPUS.name:
            if self._pending_units >= self._target:
                yield from self._flush(ssrc)
            return
        while self._pending_units >= self._target:
            whole = b"".join(self._parts)  # one byte is one unit
            self._parts = [whole[self._target :]] if len(whole) > self._target else []
            yield self._cut(whole[: self._target], self._target, ssrc)

    def _flush(self, ssrc: int) -> Iterator[bytes]:
        if not self._parts:
            return
        parts, self._parts = self._parts, []
        whole = opus.join(parts) if self._codec == OPUS.name else b"".join(parts)
        yield self._cut(whole or parts[0], self._pending_units, ssrc)

    def _cut(self, whole: bytes, length: int, ssrc: int) -> bytes:
        packet = self._packet(self._type | self._marker, self._pending_at, ssrc, whole)
        self._pending_at = (self._pending_at + length) & 0xFFFFFFFF
        self._pending_units -= length
        self._marker = 0
        return packet

    def _packet(self, marker_type: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
        sequence, self._sequence = self._sequence & 0xFFFF, (self._sequence + 1) & 0xFFFF
        return HEADER.pack(PLAIN, marker_type, sequence, timestamp, ssrc) + payload
