"""One direction of the packet path: each packet counted, its header rewritten, its payload passed on.

Sequence numbers and timestamps are mapped by a constant offset, not made anew, so that loss, reordering and pauses
stay visible to the receiver. Packets that are left out on purpose leave no gap. When the source changes (another SSRC,
a jump, the end of a hold) the offsets are chosen anew so that the outgoing stream goes on without one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.codecs.g711 import translation
from gateway.codecs.payload import silent
from gateway.domain.codecs import CODECS, EVENT_CLOCKS_HZ, G711
from gateway.domain.codecs import COMFORT_NOISE as COMFORT_NOISE_NAME
from gateway.domain.errors import RemoteProtocolError
from gateway.media.conversion import Conversion
from gateway.media.keys import KeyTap
from gateway.protocol.dtmf import SILENT_S
from gateway.protocol.rtp import HEADER, HEADER_BYTES, MAX_MISORDER, PLAIN, OutgoingStream, Reception, payload_of

COMFORT_NOISE: Final = 13  # RFC 3551: static, may be sent where it was not negotiated
STALE_SOURCE_S: Final = 0.1  # 5 packets of 20 ms: a source that was replaced is ignored while the new one is heard
FRAMES_PER_S: Final = 50  # of 20 ms
STALL_S: Final = 0.3  # a hole in the arrivals that no usual jitter buffer bridges: the gap is heard in any case
BURST_S: Final = 0.01  # half a frame: packets closer than this were waiting somewhere
KEPT_FRAMES: Final = 5  # of what waited during a stall: 100 ms, what fills a jitter buffer again


@dataclass(frozen=True, slots=True)
class Route:
    """What becomes of a payload type.

    Attributes:
        payload_type: its number on the way out; None: the packet is not passed on.
        table: 256 bytes that turn the payload into another codec, None to leave it.
        cause: why it is not passed on.
        timed: its timestamp is that of its first sample.
        codec: what it is on the way out.
        clock_rate_hz: of its timestamps; the same on the way out, but where it is converted.
        source: codec that is to be converted into *codec*, by a `Conversion`; empty where the payload stays.
        target_type: payload type on the way out of what is converted.
    """

    payload_type: int | None = None
    table: bytes | None = None
    cause: str = ""
    timed: bool = True
    codec: str = ""
    clock_rate_hz: int = 8000
    source: str = ""
    target_type: int = 0


_UNKNOWN: Final = Route(cause="unknown_payload_type", timed=False)
_COMFORT_NOISE: Final = Route(cause="comfort_noise", timed=False)
_NO_CODEC: Final = Route(cause="no_common_codec", timed=False)
_TAKEN: Final = frozenset({"", "telephone_event", "comfort_noise"})


def routes(
    receive: Mapping[int, str],
    send: Mapping[str, int],
    preferred: str | None = None,
    convertible: frozenset[str] = frozenset(),
) -> tuple[Route, ...]:
    """Return the route of each of the 128 payload types.

    Args:
        receive: codec by payload type on the way in; telephone-event by its names, comfort noise as ``CN``.
        send: payload type by codec on the way out.
        preferred: codec to turn another one into, where *send* does not have that; by default its first.
        convertible: codecs that can be turned into each other by decoding and coding.
    """
    best = next((codec for codec in (preferred, *send) if codec in convertible and codec in send), None)
    target = next((codec for codec in (preferred, *send) if codec in G711 and codec in send), None)
    table = [_UNKNOWN] * 128
    table[COMFORT_NOISE] = _COMFORT_NOISE
    for payload_type, codec in receive.items():
        if codec in EVENT_CLOCKS_HZ:
            table[payload_type] = Route(
                cause="telephone_event", timed=False, codec=codec, clock_rate_hz=EVENT_CLOCKS_HZ[codec]
            )
        elif codec == COMFORT_NOISE_NAME:
            table[payload_type] = _COMFORT_NOISE
        elif codec in send:
            table[payload_type] = Route(send[codec], codec=codec, clock_rate_hz=CODECS[codec].clock_rate_hz)
        elif target is not None and codec in G711:
            table[payload_type] = Route(send[target], translation(codec, target), codec=target)
        elif best is not None and codec in convertible:
            table[payload_type] = Route(
                codec=best, clock_rate_hz=CODECS[codec].clock_rate_hz, source=codec, target_type=send[best]
            )
        else:
            table[payload_type] = _NO_CODEC
    return tuple(table)


class PacketPath:
    """One direction.

    Args:
        outgoing: the stream that the packets become.
    """

    __slots__ = (
        "_backlog", "_first", "_last_source", "_old_shift", "_rebase", "_routes", "_shift",
        "_shifted_at", "_timestamp_shift", "closed", "conversion", "dropped", "dropped_types", "key_tap", "muted",
        "on_event", "outgoing", "passed", "passed_octets", "quiet_until_s", "reception", "transcoded",
    )  # fmt: skip

    def __init__(self, outgoing: OutgoingStream) -> None:
        self.outgoing = outgoing
        self.reception = Reception()
        self.closed: str | None = None  # why packets are only counted, None: they are passed on
        self.on_event: Callable[[int, int, bool, bytes, float, int], bool] | None = None  # takes telephone-events
        self.key_tap: KeyTap | None = None  # listens to what goes out
        self.conversion: Conversion | None = None  # takes what the other side does not speak
        self.quiet_until_s = 0.0  # audio goes on as silence until then
        self.muted = 0
        self.passed = 0
        self.passed_octets = 0
        self.transcoded = 0
        self.dropped: dict[str, int] = {}
        self.dropped_types: dict[int, int] = {}
        self._routes: tuple[Route, ...] = (_UNKNOWN,) * 128
        self._rebase = True
        self._shift = 0  # outgoing sequence number minus incoming
        self._old_shift = 0  # the one of packets before _shifted_at
        self._shifted_at = 0
        self._first = 0  # number of the packet that the offsets were chosen by
        self._timestamp_shift = 0
        self._backlog = 0  # packets still to leave out after a stall
        self._last_source: int | None = None  # SSRC before the present one

    def set_routes(self, table: tuple[Route, ...]) -> None:
        """Use *table*, from `routes`, from now on."""
        self._routes = table

    def redirect(self, outgoing: OutgoingStream) -> None:
        """Pass packets on as *outgoing* from now on."""
        self.outgoing = outgoing
        self._rebase = True
        if self.conversion is not None:
            self.conversion.restart()

    def drop(self, cause: str) -> None:
        """Count a packet that is not passed on."""
        self.dropped[cause] = self.dropped.get(cause, 0) + 1

    def accepts(self, packet: bytes) -> bool:
        """Whether *packet* is RTP with a payload type that was agreed on."""
        return len(packet) >= HEADER_BYTES and packet[0] >> 6 == 2 and self._routes[packet[1] & 0x7F].cause in _TAKEN

    def forward(self, packet: bytes, now_s: float) -> bytes | None:
        """Return *packet* as it goes on, None where it does not.

        Args:
            packet: one RTP packet.
            now_s: monotonic instant of its arrival.
        """
        if len(packet) < HEADER_BYTES:
            self.drop("malformed")
            return None
        first, marker_type, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
        if first == PLAIN:
            payload = packet[HEADER_BYTES:]
        else:  # extensions and CSRCs mean nothing to the other side
            try:
                payload = payload_of(packet)
            except RemoteProtocolError:
                self.drop("malformed")
                return None
        reception = self.reception
        route = self._routes[marker_type & 0x7F]
        if ssrc != reception.ssrc:
            if route is _UNKNOWN:
                self._drop_type(marker_type & 0x7F, route.cause)
                return None
            if ssrc == self._last_source and now_s - (reception.last_at_s or 0.0) < STALE_SOURCE_S:
                self.drop("stale_source")
                return None
            self._last_source = reception.ssrc
        highest = reception.sequence
        waited = False
        if route.timed:
            if route.clock_rate_hz != reception.clock_rate_hz:  # another codec
                reception.use_clock(route.clock_rate_hz)
                self._rebase = True
                self._backlog = 0
            elif self._backlog or reception.last_at_s is None or now_s - reception.last_at_s > STALL_S:
                waited = self._waited(timestamp, ssrc, now_s)
        fresh = reception.update(sequence, timestamp, ssrc, len(payload), now_s, route.timed)
        if fresh:
            self._rebase = True
        if route.payload_type is None:
            conversion = self.conversion
            if route.source and conversion is not None:
                if waited or self.closed is not None:
                    self.drop(self.closed or "backlog")
                    return None
                if fresh:
                    conversion.restart()
                self._rebase = True  # packets that are passed on again go on from what is sent by then
                self.transcoded += 1
                conversion.receive(route.source, route.codec, route.target_type, sequence, timestamp, payload, now_s)
                return None
            if conversion is not None and self.closed is None:
                if route is _COMFORT_NOISE and conversion.comfort(sequence, payload, now_s):
                    return None
                conversion.leave_out(sequence, now_s)
            self._drop_type(marker_type & 0x7F, route.cause)
            self._leave_out(sequence)
            if route.cause == "telephone_event" and self.on_event is not None:
                held = self.on_event(ssrc, timestamp, marker_type >= 0x80, payload, now_s, route.clock_rate_hz)
                if held:
                    self.quiet_until_s = max(self.quiet_until_s, now_s + SILENT_S)
            return None
        if self.closed is not None:
            self.drop(self.closed)
            self._rebase = True
            return None
        if waited:
            self.drop("backlog")
            return None
        outgoing = self.outgoing
        if self._rebase:
            self._start(sequence, timestamp, now_s, route.clock_rate_hz)
            marker_type |= 0x80
        elif sequence == highest:
            self.drop("duplicate")
            return None
        out_timestamp = (timestamp + self._timestamp_shift) & 0xFFFFFFFF
        if sequence == reception.sequence:
            outgoing.sequence = out_sequence = (sequence + self._shift) & 0xFFFF
            outgoing.timestamp = out_timestamp
            outgoing.sent_at_s = now_s
        elif 0 < ((self._first - sequence) & 0xFFFF) < MAX_MISORDER:
            self.drop("late")  # from before the offsets were chosen: its number is taken
            return None
        else:  # a late packet does not move the stream back
            before = ((self._shifted_at - sequence) & 0xFFFF) < MAX_MISORDER
            out_sequence = (sequence + (self._old_shift if before else self._shift)) & 0xFFFF
        if route.table is not None:
            payload = payload.translate(route.table)
            self.transcoded += 1
        if now_s < self.quiet_until_s:
            payload = silent(route.codec, payload)
            self.muted += 1
        payload_type = route.payload_type
        if self.key_tap is not None and sequence == reception.sequence:
            event = self.key_tap.replace(payload_type, payload, out_timestamp)
            if event is not None:
                payload, out_timestamp, marker = event
                payload_type = self.key_tap.sender.payload_type
                marker_type = 0x80 if marker else 0
        outgoing.packets += 1
        outgoing.octets += len(payload)
        self.passed += 1
        self.passed_octets += len(payload)
        return (
            HEADER.pack(PLAIN, payload_type | (marker_type & 0x80), out_sequence, out_timestamp, outgoing.ssrc)
            + payload
        )

    def _waited(self, timestamp: int, ssrc: int, now_s: float) -> bool:
        """Whether the packet is one too many of those that waited while the sender, the network or we stood still.

        Passed on in a burst they would stay in the receiver's jitter buffer as delay, for the rest of the call in some.
        """
        reception = self.reception
        clock = reception.clock_rate_hz
        if reception.last_at_s is None or ssrc != reception.ssrc:
            self._backlog = 0
            return False
        gap_s = now_s - reception.last_at_s
        if gap_s > STALL_S:
            # After a speaker's pause the timestamp has moved on as far as the clock has; after a hold-up it has not.
            step = ((timestamp - reception.timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            self._backlog = max(0, int(gap_s * clock - step) * FRAMES_PER_S // clock - KEPT_FRAMES)
        elif self._backlog:
            self._backlog = self._backlog - 1 if gap_s < BURST_S else 0
            return gap_s < BURST_S
        return False

    def _drop_type(self, payload_type: int, cause: str) -> None:
        self.drop(cause)
        self.dropped_types[payload_type] = self.dropped_types.get(payload_type, 0) + 1

    def _leave_out(self, sequence: int) -> None:
        """Close the gap that a packet left out on purpose would make; a late one cannot be closed any more."""
        if not self._rebase and sequence == self.reception.sequence:
            self._old_shift = self._shift
            self._shift = (self._shift - 1) & 0xFFFF
            self._shifted_at = sequence

    def _start(self, sequence: int, timestamp: int, now_s: float, clock_rate_hz: int) -> None:
        """Choose the offsets so that this packet is the next one of the outgoing stream."""
        outgoing = self.outgoing
        outgoing.clock_rate_hz = clock_rate_hz
        if outgoing.sent_at_s is None:
            next_sequence, next_timestamp = outgoing.sequence, outgoing.timestamp
        else:
            elapsed = round((now_s - outgoing.sent_at_s) * clock_rate_hz)
            next_sequence = outgoing.sequence + 1
            next_timestamp = outgoing.timestamp + max(clock_rate_hz // FRAMES_PER_S, elapsed)
        self._first = self._shifted_at = sequence
        self._shift = self._old_shift = (next_sequence - sequence) & 0xFFFF
        self._timestamp_shift = (next_timestamp - timestamp) & 0xFFFFFFFF
        self._rebase = False
