"""Keys for SRTP in the session description (SDES, RFC 4568), for the suites that libsrtp and common phones share."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.protocol.sdp.description import number

SECURE_PROFILES: Final = frozenset({"RTP/SAVP", "RTP/SAVPF"})

KEY_BYTES: Final = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
"""Master key and salt together, by suite (RFC 4568 section 6.2, RFC 7714 section 14.2). In the order of our offers."""

_MAX_TAG: Final = 999_999_999  # 9 digits (RFC 4568 section 9.1)


@dataclass(frozen=True, slots=True)
class Crypto:
    """One ``a=crypto`` line.

    Attributes:
        tag: its number, by which an answer names it.
        suite: one of `KEY_BYTES`.
        key: master key, then salt, of whoever wrote the line. Never shown.
    """

    tag: int
    suite: str
    key: bytes = field(repr=False)

    def value(self) -> str:
        """Return the value of the attribute, key included."""
        return f"{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class CryptoPair:
    """What both sides protect with: each sends with its own key."""

    ours: Crypto
    theirs: Crypto


def parse_crypto(value: str) -> Crypto | None:
    """Return the line, None where it asks for what we cannot do, which RFC 4568 section 7.1.2 has us skip.

    That is an unknown suite, several keys, a master key identifier, and each session parameter but ``WSH``, which is
    only a hint; a lifetime is longer than any call, and is not kept account of.
    """
    parts = value.split()
    tag = number(parts[0], 0, _MAX_TAG) if len(parts) >= 3 else None
    if tag is None or parts[1] not in KEY_BYTES or any(not extra.startswith("WSH=") for extra in parts[3:]):
        return None
    method, _, info = parts[2].partition(":")
    encoded, *limits = info.split("|")
    if method.lower() != "inline" or ";" in info or any(":" in limit for limit in limits):
        return None
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Crypto(tag, parts[1], key) if len(key) == KEY_BYTES[parts[1]] else None


def usable(values: Iterable[str]) -> list[Crypto]:
    """Return those lines that we can do, in their order, which is the peer's preference."""
    return [crypto for crypto in map(parse_crypto, values) if crypto is not None]


class OwnKeys:
    """Our keys of one call: one for each suite, the same in each offer and answer, so that no stream starts over.

    Args:
        random_bits: gives random bits that nobody can guess.
        keys: by suite, those that somebody else made, who then protects the packets.
    """

    __slots__ = ("_keys", "_random_bits")

    def __init__(self, random_bits: Callable[[int], int], keys: Mapping[str, bytes] | None = None) -> None:
        self._random_bits = random_bits
        self._keys: dict[str, bytes] = dict(keys or {})

    def line(self, tag: int, suite: str) -> Crypto:
        """Return our line for *suite*."""
        if suite not in self._keys:
            length = KEY_BYTES[suite]
            self._keys[suite] = self._random_bits(8 * length).to_bytes(length, "big")
        return Crypto(tag, suite, self._keys[suite])

    def offer(self) -> list[Crypto]:
        """Return a line for each suite."""
        return [self.line(tag, suite) for tag, suite in enumerate(KEY_BYTES, 1)]
