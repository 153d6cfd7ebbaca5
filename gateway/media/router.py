"""The built-in media plane: audio is passed through in this process."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from gateway.codecs.sound import SoundCodecs
from gateway.domain.codecs import CODECS
from gateway.domain.errors import LocalProtocolError
from gateway.domain.finish import finish
from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingSpec, RecordingStatus
from gateway.media.keys import OnKey
from gateway.media.link import MediaLink, OnLost, is_webrtc
from gateway.media.lock import LockRules
from gateway.media.page_side import LegFactory, PagePort, PageSide
from gateway.media.plane import MediaPlane, MediaStats, Negotiated
from gateway.media.port import RtpPort
from gateway.media.ports import PortPool, open_pair
from gateway.media.recordings import OnFailed, Recordings
from gateway.media.session import RtpSession
from gateway.media.sockets import SocketWatch
from gateway.media.udp_link import UdpLink


class PacketRouter(MediaPlane):
    """The built-in media plane.

    Args:
        port_range: lowest and highest UDP port, both included. 5,000 calls by default.
        port_rest_s: seconds before a port is used again: longer than a phone goes on sending after a BYE that it missed
            the first time.
        rtcp_interval_s: seconds between RTCP reports (RFC 3550 section 6.2).
        lock_rules: when packets from elsewhere than the SDP's address are believed.
        offer_srtp: offer SRTP, and nothing else, to the peers that we call. It is answered in any case.
        webrtc_link: makes the link of a call with a WebRTC client, from the ports that calls use; None: such offers are
            refused.
        page_leg: makes the legs of pages; None: `page_side` gives sides without any.
        watch: tells when a packet of a phone comes; None: the event loop.
        codecs: names of `gateway.domain.codecs.CODECS` that are spoken with SIP peers, best first: the order of our
            offers. An answer follows the peer's.
        sounds: what can be converted where a page and a SIP peer have no codec in common; by default all that this
            machine has.

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
        webrtc_link: Callable[[PortPool], MediaLink] | None = None,
        page_leg: LegFactory | None = None,
        watch: SocketWatch | None = None,
        codecs: Sequence[str] = tuple(CODECS),
        sounds: SoundCodecs | None = None,
    ) -> None:
        self._pool = PortPool(*port_range, rest_s=port_rest_s, clock=time.monotonic)
        self._rtcp_interval_s = rtcp_interval_s
        self._lock_rules = lock_rules or LockRules()
        self._offer_srtp = offer_srtp
        self._webrtc_link = webrtc_link
        self._page_leg = page_leg
        self._watch = watch
        self._codecs = tuple(codecs)
        self._sounds = sounds or SoundCodecs.load()
        if self._sounds.missing:
            structlog.get_logger().warning(
                "media.opus_not_converted",
                detail=f"{self._sounds.missing}; calls in which both sides speak Opus are not affected",
            )
        self._sessions: dict[CallId, RtpSession] = {}
        self._recordings = Recordings()

    def page_side(self) -> PagePort:
        """See `MediaPlane`."""
        return PagePort(self._page_leg)

    async def create_offer(
        self, call_id: CallId, *, local_address: str, webrtc: bool = False, page: PageSide | None = None
    ) -> str:
        """Open the ports of a call and return our offer. See `MediaPlane`.

        Raises:
            Unavailable: no ports are free.
        """
        fresh = call_id not in self._sessions
        session = self._open(call_id, local_address, webrtc=webrtc)
        try:
            return await session.create_offer(local_address)
        except BaseException:
            if fresh:
                await self._close(call_id)
            raise

    async def accept_answer(self, call_id: CallId, answer_sdp: str) -> Negotiated:
        """See `MediaPlane`."""
        return self._session(call_id).accept_answer(answer_sdp)

    async def answer_offer(
        self, call_id: CallId, offer_sdp: str, *, local_address: str, page: PageSide | None = None
    ) -> tuple[str, Negotiated]:
        """See `MediaPlane`.

        Raises:
            Unavailable: no ports are free.
        """
        fresh = call_id not in self._sessions
        session = self._open(call_id, local_address, webrtc=fresh and is_webrtc(offer_sdp))
        try:
            return await session.answer_offer(offer_sdp, local_address)
        except BaseException:
            if fresh:
                await self._close(call_id)
            raise

    async def reoffer(self, call_id: CallId, *, local_address: str) -> str:
        """See `MediaPlane`."""
        return await self._session(call_id).create_offer(local_address)

    def connect(
        self, call_id: CallId, page: PageSide | RtpPort, on_key: OnKey | None = None, on_lost: OnLost | None = None
    ) -> None:
        """See `MediaPlane`.

        Raises:
            LocalProtocolError: *page* is another plane's.
        """
        if not isinstance(page, RtpPort):
            raise LocalProtocolError("This page side is another media plane's")
        self._session(call_id).connect(page, on_key, on_lost)

    def mute(self, call_id: CallId, duration_s: float) -> None:
        """See `MediaPlane`."""
        self._session(call_id).mute(duration_s)

    def silence(self, call_id: CallId, *, wa_to_sip: bool, sip_to_wa: bool) -> None:
        """See `MediaPlane`."""
        self._session(call_id).silence(wa_to_sip=wa_to_sip, sip_to_wa=sip_to_wa)

    def play(self, call_id: CallId, cadence: str) -> None:
        """See `MediaPlane`."""
        self._session(call_id).play(cadence)

    async def record(self, call_id: CallId, spec: RecordingSpec, on_failed: OnFailed) -> RecordingStatus:
        """See `MediaPlane`."""
        self._session(call_id)
        status = await self._recordings.start(call_id, spec, on_failed)
        session = self._sessions.get(call_id)
        if session is None:  # the call ended meanwhile
            return await self._recordings.end(call_id) or status
        session.tap = self._recordings.tap(call_id)
        return status

    async def stop_recording(self, call_id: CallId) -> RecordingStatus | None:
        """See `MediaPlane`."""
        return await self._recordings.stop(call_id)

    def move_recording(self, call_id: CallId, to: CallId) -> None:
        """See `MediaPlane`."""
        session = self._session(to)
        if call_id in self._sessions:
            self._sessions[call_id].tap = None
        session.tap = self._recordings.move(call_id, to)

    def query(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`."""
        session = self._sessions.get(call_id)
        if session is None:
            return MediaStats()
        recording = self._recordings.status(call_id)
        return session.stats() if recording is None else replace(session.stats(), recording=recording)

    async def delete(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`."""
        return await self._close(call_id)

    async def close(self) -> None:
        """End the media of every call."""
        await finish(self._close_all())

    async def _close_all(self) -> None:
        for call_id in list(self._sessions):
            await self._close(call_id)

    def _open(self, call_id: CallId, local_address: str, *, webrtc: bool = False) -> RtpSession:
        session = self._sessions.get(call_id)
        if session is None:
            session = self._sessions[call_id] = RtpSession(
                self._webrtc_link(self._pool) if webrtc and self._webrtc_link else self._udp_link(local_address),
                random_bits=secrets.randbits,
                rtcp_interval_s=self._rtcp_interval_s,
                jitter=random.random,
                codecs=self._codecs,
                secure=self._offer_srtp,
                sounds=self._sounds,
            )
        return session

    def _udp_link(self, local_address: str) -> UdpLink:
        pair = open_pair(self._pool, local_address)
        return UdpLink(pair, self._lock_rules, lambda: self._pool.give_back(pair.port), self._watch)

    def _session(self, call_id: CallId) -> RtpSession:
        try:
            return self._sessions[call_id]
        except KeyError:
            raise LocalProtocolError("The media plane does not know this call") from None

    async def _close(self, call_id: CallId) -> MediaStats:
        session = self._sessions.pop(call_id, None)
        if session is None:
            return MediaStats()
        try:
            stats = session.stats()
        except Exception:  # a fault of ours in figures must not keep ports, timers and the recording
            structlog.get_logger().exception("media.figures_failed")
            stats = MediaStats()
        await session.close()
        return replace(stats, recording=await self._recordings.end(call_id))
