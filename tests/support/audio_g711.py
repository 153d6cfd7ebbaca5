"""G.711 as ITU-T writes it down: a second opinion beside the product's own tables."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]


def _ulaw_table() -> Samples:
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude) / 32767


def _alaw_table() -> Samples:
    code = np.arange(256) ^ 0x55
    segment, mantissa = (code & 0x70) >> 4, (code & 0x0F) << 4
    magnitude = np.where(segment == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude) / 32767


_ULAW: Final = _ulaw_table()
_ALAW: Final = _alaw_table()


def decode_g711(payload: bytes, payload_type: int) -> Samples:
    """PCMU (0) or PCMA (8) as samples.

    Raises:
        ValueError: another payload type.
    """
    tables = {0: _ULAW, 8: _ALAW}
    if payload_type not in tables:
        raise ValueError(f"payload type {payload_type} is neither PCMU nor PCMA")
    return np.asarray(tables[payload_type][np.frombuffer(payload, dtype=np.uint8)], dtype=np.float64)
