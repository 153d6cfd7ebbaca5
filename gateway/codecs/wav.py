"""The header of a WAV file that grows (RIFF, PCM)."""

from __future__ import annotations

import struct
from typing import Final

HEADER_BYTES: Final = 44
MAX_DATA_BYTES: Final = 0xFFFFFFFF - HEADER_BYTES
"""What the format's sizes of 32 bits hold."""


def header(rate_hz: int, channels: int, data_bytes: int) -> bytes:
    """Return the header of a file with *data_bytes* of 16-bit samples."""
    block = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", HEADER_BYTES - 8 + data_bytes, b"WAVE", b"fmt ", 16, 1, channels, rate_hz, rate_hz * block, block, 16,
        b"data", data_bytes,
    )  # fmt: skip
