"""What the packet path needs of a payload of any codec without decoding it: its length and its silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.codecs import opus
from gateway.codecs.g711 import SILENCE
from gateway.domain.codecs import G722, OPUS, PCMA, PCMU

_G722_SILENCE: Final = b"\xfd"  # smallest steps in both bands: a decoder settles at -60 dBFS within a packet


def _filled(code: bytes) -> Callable[[bytes], bytes]:
    return lambda payload: code * len(payload)


_SILENT: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    PCMU.name: _filled(bytes((SILENCE["PCMU"],))),
    PCMA.name: _filled(bytes((SILENCE["PCMA"],))),
    G722.name: _filled(_G722_SILENCE),
    OPUS.name: lambda payload: opus.silence(opus.units(payload)),
}


def silent(codec: str, payload: bytes) -> bytes:
    """Return silence that lasts as long as *payload*."""
    return _SILENT[codec](payload)


def units(codec: str, payload: bytes) -> int:
    """Return how many RTP timestamp units *payload* lasts; 0 where it is malformed."""
    return opus.units(payload) if codec == OPUS.name else len(payload)  # 8 bytes in a ms for G.711 and G.722
