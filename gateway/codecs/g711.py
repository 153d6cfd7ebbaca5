"""G.711 (ITU-T G.711, RFC 3551 sections 4.5.14): u-law and A-law to and from 16-bit samples, and into each other.

Decoding and conversion are table look-ups by `bytes.translate`, so that they cost no Python loop. Samples are
native-endian signed 16-bit `array('h')`.
"""

from __future__ import annotations

from array import array
from operator import itemgetter
from typing import Final

_ULAW_BIAS: Final = 0x84  # 33 in 14-bit steps: makes every segment a power of two
_ULAW_CLIP: Final = 32635  # the largest magnitude that the bias does not push out of 15 bits


def _decode_ulaw_byte(code: int) -> int:
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + _ULAW_BIAS) << ((code & 0x70) >> 4)) - _ULAW_BIAS
    return -magnitude if code & 0x80 else magnitude


def _encode_ulaw_sample(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _ULAW_CLIP) + _ULAW_BIAS
    segment = magnitude.bit_length() - 8
    return ~(sign | segment << 4 | (magnitude >> (segment + 3)) & 0x0F) & 0xFF


def _decode_alaw_byte(code: int) -> int:
    code ^= 0x55  # even bits are inverted on the wire
    segment = (code & 0x70) >> 4
    magnitude = ((code & 0x0F) << 4) + 8
    if segment:
        magnitude = (magnitude + 0x100) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


def _encode_alaw_sample(sample: int) -> int:
    sign = 0x80 if sample >= 0 else 0
    magnitude = min(sample if sample >= 0 else ~sample, 0x7FFF)
    segment = max(0, magnitude.bit_length() - 8)
    mantissa = magnitude >> (segment + 3 if segment else 4) & 0x0F
    return (sign | segment << 4 | mantissa) ^ 0x55


def _halves(samples: list[int]) -> tuple[bytes, bytes]:
    """Return the tables of first and of second bytes of *samples* in this machine's byte order."""
    raw = array("h", samples).tobytes()
    return raw[0::2], raw[1::2]


ULAW_LEVELS: Final = tuple(_decode_ulaw_byte(code) for code in range(256))
ALAW_LEVELS: Final = tuple(_decode_alaw_byte(code) for code in range(256))
_ULAW_HALVES: Final = _halves(list(ULAW_LEVELS))
_ALAW_HALVES: Final = _halves(list(ALAW_LEVELS))

# u-law takes 14 bits and A-law 13 (G.711 tables 1 and 2): the lower bits of a sample are cut off.
_ULAW_CODES: Final = bytes(_encode_ulaw_sample(i - 0x10000 if i & 0x8000 else i) for i in range(0, 0x10000, 4))
_ALAW_CODES: Final = bytes(_encode_alaw_sample(i - 0x10000 if i & 0x8000 else i) for i in range(0, 0x10000, 8))

ULAW_TO_ALAW: Final = bytes(_encode_alaw_sample(level) for level in ULAW_LEVELS)
"""A-law code by u-law code, for `bytes.translate`."""
ALAW_TO_ULAW: Final = bytes(_encode_ulaw_sample(level) for level in ALAW_LEVELS)
"""u-law code by A-law code, for `bytes.translate`."""


def _widened(codes: bytes) -> bytes:
    """Return *codes*, of samples with their lower bits cut off, as a table of whole samples."""
    times = 0x10000 // len(codes)
    whole = bytearray(0x10000)
    for n in range(times):
        whole[n::times] = codes
    return bytes(whole)


_CODES: Final = {"PCMU": _widened(_ULAW_CODES), "PCMA": _widened(_ALAW_CODES)}

SILENCE: Final = {"PCMU": 0xFF, "PCMA": 0xD5}
"""The code of the sample nearest to zero."""


def _decode(payload: bytes, halves: tuple[bytes, bytes]) -> array[int]:
    raw = bytearray(2 * len(payload))
    raw[0::2] = payload.translate(halves[0])
    raw[1::2] = payload.translate(halves[1])
    return array("h", bytes(raw))


def decode_ulaw(payload: bytes) -> array[int]:
    """Return the 16-bit samples of a PCMU payload."""
    return _decode(payload, _ULAW_HALVES)


def decode_alaw(payload: bytes) -> array[int]:
    """Return the 16-bit samples of a PCMA payload."""
    return _decode(payload, _ALAW_HALVES)


def encode_ulaw(samples: array[int]) -> bytes:
    """Return the PCMU payload of 16-bit *samples*."""
    codes = _ULAW_CODES
    return bytes([codes[(sample & 0xFFFF) >> 2] for sample in samples])


def encode_alaw(samples: array[int]) -> bytes:
    """Return the PCMA payload of 16-bit *samples*."""
    codes = _ALAW_CODES
    return bytes([codes[(sample & 0xFFFF) >> 3] for sample in samples])


def encode_bytes(codec: str, sound: bytes) -> bytes:
    """Return the payload of 16-bit samples given as bytes in this machine's byte order: the quick way.

    Args:
        codec: ``PCMU`` or ``PCMA``.
        sound: two bytes a sample.
    """
    samples = memoryview(sound).cast("H").tolist()
    if len(samples) < 2:  # of which itemgetter makes no tuple
        return bytes(_CODES[codec][sample] for sample in samples)
    return bytes(itemgetter(*samples)(_CODES[codec]))


def decode(codec: str, payload: bytes) -> array[int]:
    """Return the samples of *payload*.

    Args:
        codec: ``PCMU`` or ``PCMA``.
        payload: one byte per sample.
    """
    return {"PCMU": decode_ulaw, "PCMA": decode_alaw}[codec](payload)


def encode(codec: str, samples: array[int]) -> bytes:
    """Return the payload of *samples*.

    Args:
        codec: ``PCMU`` or ``PCMA``.
        samples: signed 16-bit.
    """
    return {"PCMU": encode_ulaw, "PCMA": encode_alaw}[codec](samples)


def translation(source: str, target: str) -> bytes | None:
    """Return the table that turns payloads of *source* into *target*, None where they are the same codec.

    Raises:
        KeyError: one of them is no G.711.
    """
    if source == target:
        return None
    return {("PCMU", "PCMA"): ULAW_TO_ALAW, ("PCMA", "PCMU"): ALAW_TO_ULAW}[source, target]
