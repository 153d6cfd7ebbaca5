"""Opus packets taken apart, joined and made silent, without decoding (RFC 6716 section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

RATE_HZ: Final = 48000
"""Of RTP timestamps, whatever the sound's own rate is (RFC 7587 section 4.1)."""

MAX_UNITS: Final = 5760  # 120 ms, the longest packet
MAX_FRAME_BYTES: Final = 1275  # section 3.2.1
_MAX_FRAMES: Final = 48  # of 2.5 ms
_SILK: Final = (480, 960, 1920, 2880)
_HYBRID: Final = (480, 960)
_CELT: Final = (120, 240, 480, 960)
_CELT_FULL_BAND: Final = {120: 28, 240: 29, 480: 30, 960: 31}  # configurations of mono CELT by length of a frame
_SILENT_FRAME: Final = b"\xff\xfe"  # CELT's silence flag, then nothing (section 4.3)


def frame_units(toc: int) -> int:
    """Return how long each frame of a packet is whose first byte is *toc*, in 1/48000 s."""
    configuration = toc >> 3
    if configuration < 12:
        return _SILK[configuration & 3]
    return _HYBRID[configuration & 1] if configuration < 16 else _CELT[configuration & 3]


def units(payload: bytes) -> int:
    """Return how long *payload* lasts in 1/48000 s; 0 where it is no Opus packet."""
    if not payload:
        return 0
    count = (1, 2, 2, payload[1] & 0x3F if len(payload) > 1 else 0)[payload[0] & 3]
    length = count * frame_units(payload[0])
    return length if length <= MAX_UNITS else 0


def frames(payload: bytes) -> list[bytes] | None:
    """Return the frames of *payload*, None where it is malformed."""
    if not units(payload):
        return None
    code = payload[0] & 3
    body = payload[1:]
    if code == 0:
        found = [body]
    elif code == 1:
        half, odd = divmod(len(body), 2)
        if odd:
            return None
        found = [body[:half], body[half:]]
    elif code == 2:
        taken = _length(body, 0)
        if taken is None:
            return None
        size, start = taken
        if start + size > len(body):
            return None
        found = [body[start : start + size], body[start + size :]]
    else:
        many = _frames_of_code_3(body)
        if many is None:
            return None
        found = many
    return found if all(len(frame) <= MAX_FRAME_BYTES for frame in found) else None


def _frames_of_code_3(body: bytes) -> list[bytes] | None:
    count, start, end = body[0] & 0x3F, 1, len(body)
    if body[0] & 0x40:  # padding
        while True:
            if start >= end:
                return None
            more = body[start]
            start += 1
            end -= 254 if more == 255 else more
            if more != 255:
                break
    if body[0] & 0x80:  # each frame has its own size
        sizes = []
        for _ in range(count - 1):
            taken = _length(body, start)
            if taken is None:
                return None
            size, start = taken
            sizes.append(size)
        sizes.append(end - start - sum(sizes))
        if sizes[-1] < 0:
            return None
    else:
        size, rest = divmod(end - start, count)
        if rest or end < start:
            return None
        sizes = [size] * count
    found = []
    for size in sizes:
        found.append(body[start : start + size])
        start += size
    return found


def _length(body: bytes, start: int) -> tuple[int, int] | None:
    """Return a frame's size that stands at *start* and where the next thing begins (section 3.2.1)."""
    if start >= len(body):
        return None
    first = body[start]
    if first < 252:
        return first, start + 1
    if start + 1 >= len(body):
        return None
    return first + 4 * body[start + 1], start + 2


def join(payloads: Sequence[bytes]) -> bytes | None:
    """Return one packet that holds what *payloads* hold; None where their frames may not share one."""
    if len(payloads) == 1:
        return payloads[0]
    if not payloads[0]:
        return None
    toc = payloads[0][0]
    found: list[bytes] = []
    for payload in payloads:
        more = frames(payload)
        if more is None or payload[0] & 0xFC != toc & 0xFC:
            return None
        found += more
    if len(found) > _MAX_FRAMES or len(found) * frame_units(toc) > MAX_UNITS:
        return None
    sizes = b"".join(_size(len(frame)) for frame in found[:-1])
    return bytes((toc | 3, 0x80 | len(found))) + sizes + b"".join(found)


def _size(length: int) -> bytes:
    if length < 252:
        return bytes((length,))
    first = 252 + (length & 3)
    return bytes((first, (length - first) >> 2))


def silence(length: int) -> bytes:
    """Return a packet of silence that lasts *length* (1/48000 s, one that Opus packets can have)."""
    for frame in (960, 480, 240, 120):
        count, rest = divmod(length, frame)
        if not rest and 0 < count <= _MAX_FRAMES and length <= MAX_UNITS:
            toc = _CELT_FULL_BAND[frame] << 3
            return bytes((toc,)) + _SILENT_FRAME if count == 1 else bytes((toc | 3, count)) + _SILENT_FRAME * count
    return bytes((_CELT_FULL_BAND[960] << 3,)) + _SILENT_FRAME
