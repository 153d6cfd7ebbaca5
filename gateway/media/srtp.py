"""SRTP (RFC 3711, RFC 7714): with the keys of the SIP peer's SDP, and by whichever session; the one user of libsrtp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pylibsrtp
from pylibsrtp import SRTP_MAX_SRTCP_TRAILER_LEN, SRTP_MAX_TRAILER_LEN, Policy, Session
from pylibsrtp._binding import ffi, lib

from gateway.protocol.sdp.crypto import Crypto, CryptoPair

SrtpError = pylibsrtp.Error
"""libsrtp refuses the packet."""

_PROFILES: Final = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def _session(crypto: Crypto, ssrc_type: int) -> SrtpVerbs:
    return SrtpVerbs(Session(Policy(key=crypto.key, ssrc_type=ssrc_type, srtp_profile=_PROFILES[crypto.suite])))


class SrtpVerbs:
    """The four verbs of a libsrtp session, each in 60 % of pylibsrtp's time: memory is made once, not for each packet.

    Each takes a packet as bytes and returns it as bytes. They raise `SrtpError` where libsrtp refuses (forged,
    repeated, too old), ValueError where the packet is longer than any that is honest.

    Args:
        session: whose context and memory is used; kept alive.
    """

    __slots__ = ("_session", "protect", "protect_rtcp", "unprotect", "unprotect_rtcp")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.protect = _verb(session, lib.srtp_protect, SRTP_MAX_TRAILER_LEN)
        self.unprotect = _verb(session, lib.srtp_unprotect, 0)
        self.protect_rtcp = _verb(session, lib.srtp_protect_rtcp, SRTP_MAX_SRTCP_TRAILER_LEN)
        self.unprotect_rtcp = _verb(session, lib.srtp_unprotect_rtcp, 0)


def _verb(session: Session, function: Any, trailer_bytes: int) -> Callable[[bytes], bytes]:
    context, memory, view = session._srtp[0], session._cdata, session._buffer
    length = ffi.new("int *")
    most = len(view) - trailer_bytes

    def verb(packet: bytes) -> bytes:
        count = length[0] = len(packet)
        if count > most:
            raise ValueError("packet is too long")
        view[0:count] = packet
        if function(context, memory, length):
            raise SrtpError
        plain: bytes = view[0 : length[0]]
        return plain

    return verb


class SrtpGuard:
    """Protects what goes to a peer and checks what comes from it.

    A key that was used before goes on where it was: its roll-over counter must not restart (RFC 3711 section 9.1, two
    packets under one key stream).

    Args:
        pair: the keys of both sides.
    """

    __slots__ = ("_incoming", "_outgoing", "_sending", "_theirs")

    def __init__(self, pair: CryptoPair) -> None:
        self._sending: dict[tuple[str, bytes], SrtpVerbs] = {}  # one for each suite at most, by our key
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
            return self._outgoing.protect(packet)
        except (SrtpError, ValueError):
            return None

    def unprotect(self, packet: bytes) -> bytes | None:
        """Return SRTP as RTP; None where it is forged, repeated or too old."""
        try:
            return self._incoming.unprotect(packet)
        except (SrtpError, ValueError):
            return None

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """Return RTCP as SRTCP; None as in `protect`."""
        try:
            return self._outgoing.protect_rtcp(packet)
        except (SrtpError, ValueError):
            return None

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Return SRTCP as RTCP; None as in `unprotect`."""
        try:
            return self._incoming.unprotect_rtcp(packet)
        except (SrtpError, ValueError):
            return None
