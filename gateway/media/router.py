"""The built-in media plane: G.711 is passed through in this process."""

from __future__ import annotations

import random
import secrets
import time

from gateway.domain.errors import LocalProtocolError
from gateway.domain.ids import CallId
from gateway.media.keys import OnKey
from gateway.media.lock import LockRules
from gateway.media.plane import MediaPlane, MediaStats, Negotiated
from gateway.media.port import RtpPort
from gateway.media.ports import PortPool, open_pair
from gateway.media.session import RtpSession


class PacketRouter(MediaPlane):
    """The built-in media plane.

    Args:
        port_range: lowest and highest UDP port, both included. 5,000 calls by default.
        port_rest_s: seconds before a port is used again: longer than a phone goes on sending after a BYE that it missed
            the first time.
        rtcp_interval_s: seconds between RTCP reports (RFC 3550 section 6.2).
        lock_rules: when packets from elsewhere than the SDP's address are believed.
        offer_srtp: offer SRTP, and nothing else, to the peers that we call. It is answered in any case.

    Raises:
        ConfigError: the range holds no pair of ports.
    """

    def __init__(
        self,
        *,
        port_range: tuple[int, int] = (20_000, 29_999),
        port_rest_s: float = 10.0,
        rtcp_interval_s: float = 5.0,
        lock_rules: LockRules | None = None,
        offer_srtp: bool = False,
    ) -> None:
        self._pool = PortPool(*port_range, rest_s=port_rest_s, clock=time.monotonic)
        self._rtcp_interval_s = rtcp_interval_s
        self._lock_rules = lock_rules or LockRules()
        self._offer_srtp = offer_srtp
        self._sessions: dict[CallId, RtpSession] = {}

    async def create_offer(self, call_id: CallId, *, local_address: str) -> str:
        """Open the ports of a call and return our offer. See `MediaPlane`.

        Raises:
            Unavailable: no ports are free.
        """
        session = self._open(call_id, local_address)
        return session.sdp.create_offer(session.local(local_address))

    async def accept_answer(self, call_id: CallId, answer_sdp: str) -> Negotiated:
        """See `MediaPlane`."""
        session = self._session(call_id)
        negotiated = session.sdp.accept_answer(answer_sdp)
        session.apply(negotiated)
        return negotiated

    async def answer_offer(self, call_id: CallId, offer_sdp: str, *, local_address: str) -> tuple[str, Negotiated]:
        """See `MediaPlane`.

        Raises:
            Unavailable: no ports are free.
        """
        fresh = call_id not in self._sessions
        session = self._open(call_id, local_address)
        try:
            answer, negotiated = session.sdp.answer_offer(offer_sdp, session.local(local_address))
        except BaseException:
            if fresh:
                self._close(call_id)
            raise
        session.apply(negotiated)
        return answer, negotiated

    async def reoffer(self, call_id: CallId, *, local_address: str) -> str:
        """See `MediaPlane`."""
        session = self._session(call_id)
        return session.sdp.create_offer(session.local(local_address))

    def connect(self, call_id: CallId, port: RtpPort, on_key: OnKey | None = None) -> None:
        """See `MediaPlane`."""
        self._session(call_id).connect(port, on_key)

    def mute(self, call_id: CallId, duration_s: float) -> None:
        """See `MediaPlane`."""
        self._session(call_id).mute(duration_s)

    def query(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`."""
        return self._session(call_id).stats()

    async def delete(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`."""
        return self._close(call_id)

    async def close(self) -> None:
        """End the media of every call."""
        for call_id in list(self._sessions):
            self._close(call_id)

    def _open(self, call_id: CallId, local_address: str) -> RtpSession:
        session = self._sessions.get(call_id)
        if session is None:
            session = self._sessions[call_id] = RtpSession(
                open_pair(self._pool, local_address),
                local_address,
                random_bits=secrets.randbits,
                rules=self._lock_rules,
                rtcp_interval_s=self._rtcp_interval_s,
                jitter=random.random,
                secure=self._offer_srtp,
            )
        return session

    def _session(self, call_id: CallId) -> RtpSession:
        try:
            return self._sessions[call_id]
        except KeyError:
            raise LocalProtocolError("The media plane does not know this call") from None

    def _close(self, call_id: CallId) -> MediaStats:
        session = self._sessions.pop(call_id, None)
        if session is None:
            return MediaStats()
        stats = session.stats()
        session.close()
        self._pool.give_back(session.pair.port)
        return stats
