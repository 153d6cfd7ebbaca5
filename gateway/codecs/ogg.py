"""Opus in Ogg, written so that what is on the disk is a whole file at any time (RFC 3533, RFC 7845). No I/O."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

GRANULE_HZ: Final = 48000
"""Positions count these, whatever the sound's own rate is (RFC 7845 section 4)."""

_PAGE: Final = struct.Struct("<4sBBqIIIB")
_FIRST: Final = 0x02
_LAST: Final = 0x04
_MAX_SEGMENTS: Final = 255
_CHECKSUM_AT: Final = 22


def _checksum_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return tuple(table)


_TABLE: Final = _checksum_table()


def checksum(page: bytes | bytearray) -> int:
    """Return the CRC of a page whose own checksum is 0 (RFC 3533 section 6: 0x04c11db7, not reflected)."""
    value = 0
    table = _TABLE
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ table[value >> 24 ^ byte]
    return value


class OggOpus:
    """Packs Opus packets into pages. Each page is complete: a reader can stop after any of them.

    Args:
        head: the identification header, as encoders give it (RFC 7845 section 5.1).
        serial: of the stream, random.
        comments: ``NAME=value``, without personal data.

    Attributes:
        pre_skip: 1/48000 s at the start that are not sound, from *head*.
    """

    def __init__(self, head: bytes, serial: int, comments: Sequence[str] = ()) -> None:
        self._serial = serial
        self._number = 0
        self._head = head
        self._comments = comments
        self.pre_skip = struct.unpack_from("<H", head, 10)[0]

    def start(self) -> bytes:
        """Return the two pages that a file begins with."""
        vendor = b"Ponte"
        tags = [b"OpusTags", struct.pack("<I", len(vendor)), vendor, struct.pack("<I", len(self._comments))]
        for comment in self._comments:
            text = comment.encode()
            tags += [struct.pack("<I", len(text)), text]
        return self._page([self._head], 0, _FIRST) + self._page([b"".join(tags)], 0, 0)

    def pages(self, packets: Sequence[bytes], granule: int, packet_units: int, *, last: bool = False) -> bytes:
        """Return pages with *packets*.

        Args:
            packets: each of less than 64 kB, and none empty.
            granule: position at their end in 1/48000 s, the pre-skip counted in.
            packet_units: length of a packet in 1/48000 s.
            last: the stream ends with them.
        """
        out = []
        group: list[bytes] = []
        segments = 0
        for n, packet in enumerate(packets):
            more = len(packet) // 255 + 1
            if segments + more > _MAX_SEGMENTS:
                out.append(self._page(group, granule - (len(packets) - n) * packet_units, 0))
                group, segments = [], 0
            group.append(packet)
            segments += more
        if group:
            out.append(self._page(group, granule, _LAST if last else 0))
        return b"".join(out)

    def _page(self, packets: Sequence[bytes], granule: int, flags: int) -> bytes:
        lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,)) for packet in packets)
        header = _PAGE.pack(b"OggS", 0, flags, granule, self._serial, self._number, 0, len(lacing))
        self._number += 1
        page = bytearray(header + lacing + b"".join(packets))
        struct.pack_into("<I", page, _CHECKSUM_AT, checksum(page))
        return bytes(page)


def duration_s(tail: bytes) -> float:
    """Return how long a file's sound lasts, by its last page; the pre-skip, some milliseconds, is counted in.

    Args:
        tail: the file's end, of two pages or more (128 kB).
    """
    start = tail.rfind(b"OggS")
    while start >= 0:
        if start + _PAGE.size <= len(tail):
            granule = _PAGE.unpack_from(tail, start)[3]
            return float(max(0, granule)) / GRANULE_HZ
        start = tail.rfind(b"OggS", 0, start)
    return 0.0
