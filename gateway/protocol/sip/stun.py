"""STUN keep-alives on the SIP port (RFC 5626 section 4.4.2): Binding requests of RFC 8489, answered without state."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from gateway.protocol.sip.flow import HostPort

_COOKIE: Final = 0x2112A442
_HEADER: Final = struct.Struct("!HHI12s")
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_XOR_MAPPED_ADDRESS: Final = 0x0020


def is_stun(data: bytes) -> bool:
    """Return whether a datagram is STUN: its first two bits are 0 and the cookie is there; no SIP message begins so."""
    return len(data) >= _HEADER.size and data[0] < 0x40 and data[4:8] == _COOKIE.to_bytes(4, "big")


def binding_answer(data: bytes, remote: HostPort) -> bytes | None:
    """Return the answer to a Binding request, which tells the sender its address; None for anything else.

    Args:
        data: the datagram.
        remote: where it came from.
    """
    if not is_stun(data):
        return None
    kind, length, _, transaction = _HEADER.unpack_from(data)
    if kind != _BINDING_REQUEST or length != len(data) - _HEADER.size or length % 4:
        return None
    address = ipaddress.ip_address(remote[0].partition("%")[0])
    mask = (_COOKIE.to_bytes(4, "big") + transaction)[: len(address.packed)]
    hidden = bytes(one ^ other for one, other in zip(address.packed, mask, strict=True))
    value = struct.pack("!BBH", 0, 1 if address.version == 4 else 2, remote[1] ^ (_COOKIE >> 16)) + hidden
    attribute = struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(value)) + value
    return _HEADER.pack(_BINDING_SUCCESS, len(attribute), _COOKIE, transaction) + attribute
