"""SRTP (RFC 3711, RFC 7714) towards the SIP peer with the keys of its SDP. The one user of libsrtp here."""

from __future__ import annotations

from typing import Final

from pylibsrtp import Error, Policy, Session

from gateway.protocol.sdp.crypto import Crypto, CryptoPair

_PROFILES: Final = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def _session(crypto: Crypto, ssrc_type: int) -> Session:
    return Session(Policy(key=crypto.key, ssrc_type=ssrc_type, srtp_profile=_PROFILES[crypto.suite]))


class SrtpGuard:
    """Protects what goes to a peer and checks what comes from it.

    A key that was used before goes on where it was: its roll-over counter must not restart (RFC 3711 section 9.1, two
    packets under one key stream).

    Args:
        pair: the keys of both sides.
    """

    __slots__ = ("_incoming", "_outgoing", "_sending", "_theirs")

    def __init__(self, pair: CryptoPair) -> None:
        self._sending: dict[tuple[str, bytes], Session] = {}  # one for each suite at most, by our key
        self._theirs: tuple[str, bytes] | None = None
        self.follow(pair)

    def follow(self, pair: CryptoPair) -> None:
        """Use *pair* from now on."""
        ours = (pair.ours.suite, pair.ours.key)
        if ours not in self._sending:
            self._sending[ours] = _session(pair.ours, Policy.SSRC_ANY_OUTBOUND)
        self._outgoing = self._sending[ours]
        theirs = (pair.theirs.suite, pair.theirs.key)
        if theirs != self._theirs:
            self._theirs = theirs
            self._incoming = _session(pair.theirs, Policy.SSRC_ANY_INBOUND)

    def protect(self, packet: bytes) -> bytes | None:
        """Return *packet*, RTP, as SRTP; None where it cannot be protected, which is never sent in the clear."""
        try:
            return bytes(self._outgoing.protect(packet))
        except (Error, ValueError):
            return None

    def unprotect(self, packet: bytes) -> bytes | None:
        """Return SRTP as RTP; None where it is forged, repeated or too old."""
        try:
            return bytes(self._incoming.unprotect(packet))
        except (Error, ValueError):
            return None

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """Return RTCP as SRTCP; None as in `protect`."""
        try:
            return bytes(self._outgoing.protect_rtcp(packet))
        except (Error, ValueError):
            return None

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Return SRTCP as RTCP; None as in `unprotect`."""
        try:
            return bytes(self._incoming.unprotect_rtcp(packet))
        except (Error, ValueError):
            return None
