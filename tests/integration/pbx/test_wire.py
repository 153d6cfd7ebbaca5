"""The packet tap against real datagrams on loopback."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from tests.support.ports import LOOPBACK, free_ports
from tests.support.wire import may_tap, tapping

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not may_tap(), reason="needs root or CAP_NET_RAW"),
]


def send(payload: bytes, target: int, source: int = 0) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((LOOPBACK, source))
        sender.sendto(payload, (LOOPBACK, target))


def rtp(sequence: int, timestamp: int, payload: bytes) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence, timestamp, 7) + payload


def test_sees_each_wanted_datagram_once_with_its_time() -> None:
    first = free_ports(8)
    wanted, unwanted = range(first, first + 4), first + 6
    with tapping(wanted, first + 5) as tap:
        before_s = time.time()
        send(rtp(1, 0, b"\xff" * 160), wanted[0])
        send(rtp(2, 160, b"\x00" * 160), wanted[3])
        send(b"not this one", unwanted)
        send(b"by its source", unwanted, source=first + 5)
        deadline = time.monotonic() + 3
        while len(tap.datagrams()) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        kept = tap.datagrams()
        after_s = time.time()  # the kernel stamps a datagram when it delivers it: on a busy machine after the sending
    assert [datagram.target[1] for datagram in kept] == [wanted[0], wanted[3], unwanted]
    assert kept[2].payload == b"by its source"
    assert all(before_s <= datagram.at_s <= after_s for datagram in kept)
    assert [packet.sequence for packet in tap.rtp(target=wanted)] == [1, 2]
    assert tap.rtp(target=range(first + 3, first + 4))[0].timestamp == 160


def test_sees_sip_messages() -> None:
    port = free_ports()
    with tapping(port) as tap:
        send(b"INVITE sip:1000@x SIP/2.0\r\nCall-ID: abc\r\nCSeq: 1 INVITE\r\n\r\nbody", port)
        send(b"SIP/2.0 200 OK\r\nCall-ID: abc\r\nCSeq: 1 INVITE\r\n\r\n", port)
        send(b"\r\n\r\n", port)
        deadline = time.monotonic() + 3
        while len(tap.datagrams()) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    request, response = tap.sip()
    assert (request.method, request.status, request.call_id, request.body) == ("INVITE", None, "abc", "body")
    assert (response.method, response.status) == ("INVITE", 200)
