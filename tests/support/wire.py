"""What really goes over the loopback: SIP messages and RTP packets with the kernel's time stamps.

A raw packet socket, hence root or CAP_NET_RAW. The kernel drops whatever is not on the wanted ports before it reaches
us, so that the tap costs next to nothing while Chromium talks to itself over the same interface.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from gateway.codecs.narrow import NarrowBand
from gateway.codecs.payload import units
from gateway.domain.codecs import CODECS, G711
from tests.support.audio import Samples
from tests.support.audio_g711 import decode_g711

_ETH_P_IP: Final = 0x0800
_SO_ATTACH_FILTER: Final = 26
_SO_TIMESTAMPNS: Final = 35
_PACKET_OUTGOING: Final = 4
_UDP: Final = 17
_SNAP_BYTES: Final = 65_535
# Cap of what one tap keeps: half an hour of a call in both directions.
_MOST_PACKETS: Final = 200_000


class NoTap(Exception):
    """The packet socket could not be opened; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram on the wire.

    Attributes:
        at_s: when the kernel sent it, wall clock.
        source: address and port that it comes from.
        target: address and port that it goes to.
        payload: what it carries.
    """

    at_s: float
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes


@dataclass(frozen=True, slots=True)
class SipMessage:
    """A SIP message on the wire, as far as tests look at it.

    Attributes:
        datagram: the datagram.
        method: of the request, or of the request that is answered.
        status: of a response; None for a request.
        call_id: the Call-ID.
        headers: every header, names in lower case; of repeated ones the first.
        body: the body.
    """

    datagram: Datagram
    method: str
    status: int | None
    call_id: str
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """An RTP packet on the wire.

    Attributes:
        datagram: the datagram.
        payload_type: 0 PCMU, 8 PCMA.
        marker: the marker bit.
        sequence: sequence number.
        timestamp: RTP time.
        ssrc: source.
        payload: the codec's bytes.
    """

    datagram: Datagram
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    @property
    def at_s(self) -> float:
        """When it was on the wire."""
        return self.datagram.at_s


def parse_sip(datagram: Datagram) -> SipMessage | None:
    """The SIP message of a datagram; None where it is none (a keep-alive)."""
    head, _, body = datagram.payload.decode("utf-8", "replace").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    words = first.split(" ", 2)
    if len(words) < 2 or "call-id" not in headers:
        return None
    if words[0] == "SIP/2.0":
        method, status = headers.get("cseq", "").partition(" ")[2], int(words[1])
        return SipMessage(datagram, method, status, headers["call-id"], headers, body)
    return SipMessage(datagram, words[0], None, headers["call-id"], headers, body)


def parse_rtp(datagram: Datagram) -> RtpPacket | None:
    """The RTP packet of a datagram; None where it is none (RTCP, SIP)."""
    data = datagram.payload
    if len(data) < 12 or data[0] >> 6 != 2 or 64 <= data[1] & 0x7F <= 95:
        return None
    sequence, timestamp, ssrc = struct.unpack_from("!HII", data, 2)
    start = 12 + 4 * (data[0] & 0x0F)
    if data[0] & 0x10 and len(data) >= start + 4:
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data) - (data[-1] if data[0] & 0x20 else 0)
    if start > end:
        return None
    return RtpPacket(datagram, data[1] & 0x7F, bool(data[1] & 0x80), sequence, timestamp, ssrc, data[start:end])


@dataclass(frozen=True, slots=True)
class Stream:
    """The audio of one RTP stream, laid out by its RTP time; what never came is silence.

    Attributes:
        samples: decoded, at 8 kHz.
        packets: those with audio, by RTP time.
        lost: how many sequence numbers were never seen between the first and the last.
    """

    samples: Samples
    packets: Sequence[RtpPacket]
    lost: int

    def on_wire_s(self, sample: int) -> float:
        """When the packet with this sample was on the wire.

        Raises:
            IndexError: no packet carried it.
        """
        first = self.packets[0].timestamp
        for packet in self.packets:
            start = (packet.timestamp - first) & 0xFFFFFFFF
            if start <= sample < start + len(packet.payload):
                return packet.at_s
        raise IndexError(f"no packet carried sample {sample}")


def narrowed(packets: Sequence[RtpPacket], codec: str) -> list[RtpPacket]:
    """The packets of a wide band stream as PCMU, with timestamps of 8 kHz, so that one way of measuring fits all.

    The payload type is the one that most of the packets have.
    """
    if codec in G711:
        return list(packets)
    types = Counter(packet.payload_type for packet in packets)
    wanted = max(types, key=types.__getitem__, default=None)
    clock_rate_hz = CODECS[codec].clock_rate_hz
    narrow = NarrowBand(CODECS[codec])
    found = []
    for packet in packets:
        if packet.payload_type == wanted:
            # A resampler gives its first packet some samples short; its delay of 2 ms is part of what is measured.
            payload = narrow.feed(packet.payload).rjust(units(codec, packet.payload) * 8000 // clock_rate_hz, b"\xff")
            since_first = ((packet.timestamp - packets[0].timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            timestamp = since_first * 8000 // clock_rate_hz & 0xFFFFFFFF
            found.append(replace(packet, payload_type=0, timestamp=timestamp, payload=payload))
    return found


def stream_of(packets: Iterable[RtpPacket], *, longest_s: float = 1800) -> Stream:
    """Lay out the packets of one SSRC.

    Raises:
        ValueError: no G.711 packet among them, or they span more than *longest_s*.
    """
    seen: dict[int, RtpPacket] = {}
    for packet in packets:
        if packet.payload_type in (0, 8):
            seen.setdefault(packet.timestamp, packet)
    if not seen:
        raise ValueError("no RTP packet with PCMU or PCMA")
    base = next(iter(seen.values()))

    def since_base(packet: RtpPacket) -> int:
        return ((packet.timestamp - base.timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    ordered = sorted(seen.values(), key=since_base)
    first, last = ordered[0], ordered[-1]
    length = since_base(last) - since_base(first) + len(last.payload)
    if length > longest_s * 8000:
        raise ValueError(f"the RTP time stamps span {length / 8000:.0f} s")
    samples = np.zeros(length)
    for packet in ordered:
        start = since_base(packet) - since_base(first)
        samples[start : start + len(packet.payload)] = decode_g711(packet.payload, packet.payload_type)
    span = (last.sequence - first.sequence) & 0xFFFF
    return Stream(samples, ordered, max(0, span + 1 - len(ordered)))


def port_filter(ranges: Sequence[range]) -> list[tuple[int, int, int, int]]:
    """A classic BPF program: UDP over IPv4 with either port in one of the ranges, each step (code, jt, jf, k).

    Raises:
        ValueError: so many ranges that a jump would not fit.
    """
    load_half, load_byte, load_header_length, load_half_indexed = 0x28, 0x30, 0xB1, 0x48
    equal, at_least, greater, give = 0x15, 0x35, 0x25, 0x06
    tests: list[tuple[int, int, int, int]] = []
    for offset in (0, 2):
        tests.append((load_half_indexed, 0, 0, 14 + offset))
        for ports in ranges:
            tests.append((at_least, 0, 1, ports.start))  # below: the next range
            tests.append((greater, 0, -1, ports.stop - 1))  # not above: found
    head = [(load_half, 0, 0, 12), (equal, 0, -2, _ETH_P_IP), (load_byte, 0, 0, 23), (equal, 0, -2, _UDP)]
    head.append((load_header_length, 0, 0, 14))
    program = head + tests
    refuse, accept = len(program), len(program) + 1
    if accept > 250:
        raise ValueError("too many port ranges for one filter")

    def aim(jump: int, at: int) -> int:
        return {-1: accept - at - 1, -2: refuse - at - 1}.get(jump, jump)

    aimed = [(code, aim(jt, at), aim(jf, at), k) for at, (code, jt, jf, k) in enumerate(program)]
    return [*aimed, (give, 0, 0, 0), (give, 0, 0, _SNAP_BYTES)]


class Tap:
    """Keeps every UDP datagram on loopback whose source or target port is wanted.

    Reads in a thread of its own; the time stamps are the kernel's, so it does not matter how late it reads.
    """

    def __init__(self, ports: Sequence[range]) -> None:
        self._ports = ports
        self._kept: list[Datagram] = []
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Begin.

        Raises:
            NoTap: not allowed to.
        """
        try:
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError:
            raise NoTap(
                "looking at packets needs root or CAP_NET_RAW: run as root, or grant it to this Python by "
                "`setcap cap_net_raw+ep` on a copy of the interpreter"
            ) from None
        steps = port_filter(self._ports)
        program = b"".join(struct.pack("HBBI", *step) for step in steps)
        held = ctypes.create_string_buffer(program)
        tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(steps), ctypes.addressof(held)))
        tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        tap.settimeout(0.2)
        # Bound only now: nothing that the filter should have dropped can be waiting already.
        tap.bind(("lo", _ETH_P_IP))
        self._socket = tap
        self._thread = threading.Thread(target=self._read, args=(tap,), name="wire tap", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; what was kept stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def datagrams(self) -> list[Datagram]:
        """Everything so far, in the order of the wire."""
        return list(self._kept)

    def sip(self, *, since_s: float = 0) -> list[SipMessage]:
        """The SIP messages so far, from an instant on."""
        parsed = (
            parse_sip(kept)
            for kept in self.datagrams()
            if kept.at_s >= since_s and b"SIP/2.0" in kept.payload.partition(b"\r\n")[0]
        )
        return [message for message in parsed if message is not None]

    def rtp(self, *, since_s: float = 0, source: range | None = None, target: range | None = None) -> list[RtpPacket]:
        """The RTP packets so far.

        Args:
            since_s: from this instant on.
            source: only those from one of these ports.
            target: only those to one of these ports.
        """
        found = []
        for kept in self.datagrams():
            if kept.at_s < since_s or (source and kept.source[1] not in source):
                continue
            if target and kept.target[1] not in target:
                continue
            packet = parse_rtp(kept)
            if packet is not None:
                found.append(packet)
        return found

    def _read(self, tap: socket.socket) -> None:
        while not self._stop.is_set() and len(self._kept) < _MOST_PACKETS:
            try:
                data, ancillary, _, address = tap.recvmsg(_SNAP_BYTES, 256)
            except TimeoutError:
                continue
            # Loopback has each packet twice, going out and coming in; bound to one protocol a socket is shown the
            # second only, but nothing promises that.
            if address[2] == _PACKET_OUTGOING:
                continue
            datagram = _parse_ethernet(data, _stamp(ancillary))
            if datagram is not None:
                self._kept.append(datagram)


def _stamp(ancillary: Sequence[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("ll", data[:16])
            return float(seconds + nanoseconds / 1e9)
    raise OSError("the kernel gave no time stamp")


def _parse_ethernet(frame: bytes, at_s: float) -> Datagram | None:
    header = 4 * (frame[14] & 0x0F)
    udp = 14 + header
    if len(frame) < udp + 8:
        return None
    source, target, length = struct.unpack_from("!HHH", frame, udp)
    addresses = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
    return Datagram(at_s, (addresses[0], source), (addresses[1], target), frame[udp + 8 : udp + length])


@contextmanager
def tapping(*ports: range | int) -> Iterator[Tap]:
    """Tap some ports for the length of the block.

    Args:
        ports: single ports and ranges of them.

    Raises:
        NoTap: neither root nor CAP_NET_RAW.
    """
    tap = Tap([port if isinstance(port, range) else range(port, port + 1) for port in ports]).start()
    try:
        yield tap
    finally:
        tap.stop()


def may_tap() -> bool:
    """Whether this process may open a packet socket."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return False
    return os.name == "posix"
