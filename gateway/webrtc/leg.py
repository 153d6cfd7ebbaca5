"""The WebRTC leg to a page: one audio stream each way, whose packets go to and from the packet router."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from gateway.domain.codecs import CODECS
from gateway.domain.errors import LocalProtocolError, PeerTimeout, RemoteProtocolError, Unavailable
from gateway.media.page_side import LegState, LegStats
from gateway.media.port import Receiver
from gateway.media.sockets import SocketWatch
from gateway.protocol.rtcp import FarReport, Goodbye, Reporter
from gateway.protocol.rtp import HEADER, HEADER_BYTES, OutgoingStream, Reception
from gateway.webrtc.sdp import PAYLOAD_TYPES, LocalPart, build_offer, parse_answer
from gateway.webrtc.seam import IcePath, Transports

_CLOCKS_HZ: Final = {number: CODECS[name].clock_rate_hz for name, number in PAYLOAD_TYPES.items()}
_FINAL: Final = frozenset({LegState.FAILED, LegState.CLOSED})


class WebRtcLeg:
    """One audio stream each way between Ponte and a page; a `gateway.media.page_side.RtpLeg`.

    Make an offer, give it to the page, accept its answer, and close the leg in the end, also where it failed or the
    page closed it. It cannot be used again: make another one.

    Args:
        addresses: local IP addresses to gather candidates on; none: all but loopback. For a Chrome on the same machine:
            ``[*local_addresses(), "127.0.0.1"]``.
        stun_url: ``stun:host:port`` where Chrome is beyond a NAT; empty for none.
        connect_timeout_s: seconds for ICE and DTLS together.
        rtcp_interval_s: seconds between RTCP reports to the page.
        watch: tells when a packet comes; None: the event loop.

    Attributes:
        state: where the leg is.
        on_state: called after each change; may be set at any time.
        outgoing: the stream towards the page.

    Raises:
        SeamBroken: this version of aiortc does not fit.
        ConfigError: *stun_url* is malformed.
    """

    def __init__(
        self,
        *,
        addresses: Sequence[str] = (),
        stun_url: str = "",
        connect_timeout_s: float = 10.0,
        rtcp_interval_s: float = 2.5,
        watch: SocketWatch | None = None,
    ) -> None:
        self.state = LegState.NEW
        self.on_state: Callable[[LegState], None] = lambda state: None
        self.payload_types: Mapping[str, int] = PAYLOAD_TYPES
        self.outgoing = OutgoingStream(secrets.randbits)
        self._log = structlog.get_logger()
        self._connect_timeout_s = connect_timeout_s
        self._rtcp_interval_s = rtcp_interval_s
        self._cname = secrets.token_hex(12)
        self._receiver: Receiver | None = None
        self._reception = Reception()
        self._reporter = Reporter(self.outgoing, self._reception, self._cname)
        self._timer: asyncio.TimerHandle | None = None
        self._ssrc = self.outgoing.ssrc.to_bytes(4, "big")
        self._sent = 0
        self._unsent = 0
        self._offered = False
        self._transports = Transports(
            IcePath(addresses=addresses, stun_url=stun_url, controlling=True, watch=watch),
            on_change=self._transport_changed,
            on_rtp=self._rtp_received,
            on_rtcp=self._rtcp_received,
        )
        self._send_rtp = self._transports.send_rtp

    async def offer(self) -> str:
        """Return the complete offer: every codec, sendrecv, all candidates.

        Raises:
            LocalProtocolError: the leg made its offer before, or is closed.
            Unavailable: there is no address to gather on.
        """
        if self._offered or self.state is not LegState.NEW:
            raise LocalProtocolError("A leg makes one offer")
        self._offered = True
        await self._transports.gather()
        candidates = self._transports.path.candidates()
        if not candidates:
            await self._end(LegState.FAILED)
            raise Unavailable("No network address for WebRTC; is the interface up?")
        username, password = self._transports.path.credentials()
        return build_offer(
            LocalPart(
                username=username,
                password=password,
                fingerprint=self._transports.fingerprint(),
                candidates=candidates,
                ssrc=self.outgoing.ssrc,
                cname=self._cname,
                session_id=secrets.randbits(62),
            )
        )

    async def accept(self, answer_sdp: str) -> None:
        """Take the page's answer and wait until packets can flow.

        Raises:
            RemoteProtocolError: the answer is malformed or refuses the audio.
            PeerTimeout: ICE or DTLS took too long; the leg failed.
            Unavailable: there is no way through, or the page's certificate is not the one of its answer; it failed.
            LocalProtocolError: there is no offer to answer.
        """
        if not self._offered or self.state is not LegState.NEW:
            raise LocalProtocolError("A leg takes one answer, after its offer")
        answer = parse_answer(answer_sdp)
        self._change(LegState.CONNECTING)
        transports = self._transports
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await transports.path.connect(
                    answer.username, answer.password, lite=answer.lite, candidates=answer.candidates
                )
                await transports.connect_dtls(answer.fingerprints, server=answer.server)
        except TimeoutError:
            await self._end(LegState.FAILED)
            raise PeerTimeout(
                "WebRTC with the page did not connect in time; is UDP open between Chrome's host and this one?"
            ) from None
        except ConnectionError:
            await self._end(LegState.FAILED)
            raise Unavailable("WebRTC with the page could not be connected") from None
        except BaseException:
            await self._end(LegState.FAILED)
            raise
        if self._transports.path.ice.state == "closed":  # by close(), meanwhile
            raise Unavailable("The WebRTC leg was closed while it connected")
        self.payload_types = answer.payload_types
        self._change(LegState.CONNECTED)
        self._schedule()

    def send(self, packet: bytes) -> None:
        """Send *packet*, with one of our payload types. Never blocks; what cannot be sent is dropped and counted."""
        if packet[8:12] != self._ssrc:
            packet = self._adopt(packet)
        if self._send_rtp(packet):
            self._sent += 1
        else:
            self._unsent += 1

    def _adopt(self, packet: bytes) -> bytes:
        """Give *packet* of a sender that does not go on from `outgoing` the SSRC that the page knows."""
        outgoing = self.outgoing
        _, marker_type, outgoing.sequence, outgoing.timestamp, _ = HEADER.unpack_from(packet)
        outgoing.clock_rate_hz = _CLOCKS_HZ.get(marker_type & 0x7F, outgoing.clock_rate_hz)
        outgoing.sent_at_s = time.monotonic()
        outgoing.packets += 1
        outgoing.octets += len(packet) - HEADER_BYTES
        return packet[:8] + self._ssrc + packet[12:]

    def set_receiver(self, on_rtp: Receiver | None) -> None:
        """Give each RTP packet of the page to *on_rtp* with the monotonic instant at which it came; None: to nobody."""
        self._receiver = on_rtp

    def far_report(self) -> FarReport | None:
        """See `gateway.media.port.ReportingPort`."""
        return self._reporter.far

    def set_beyond(self, beyond: Callable[[], FarReport | None] | None) -> None:
        """See `gateway.media.port.ReportingPort`."""
        self._reporter.beyond = beyond

    def stats(self) -> LegStats:
        """Return the figures so far."""
        trip = self._reporter.round_trip_s
        return LegStats(
            sent=self._sent,
            unsent=self._unsent,
            received=self._reception.packets,
            lost=self._reception.lost,
            jitter_ms=self._reception.jitter_ms,
            undecryptable=self._transports.undecryptable,
            round_trip_ms=None if trip is None else trip * 1000,
            peer_lost=self._reporter.peer_lost,
            peer_jitter_ms=self._reporter.peer_jitter * 1000 / self.outgoing.clock_rate_hz,
            last_packet_s=self._reception.last_at_s,
        )

    async def close(self) -> None:
        """Tell the page and close the sockets. A second time changes nothing."""
        await self._end(LegState.CLOSED)

    def _rtp_received(self, packet: bytes, now: float) -> None:
        _, marker_type, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
        clock_rate_hz = _CLOCKS_HZ.get(marker_type & 0x7F)
        if clock_rate_hz != self._reception.clock_rate_hz and clock_rate_hz is not None:
            self._reception.use_clock(clock_rate_hz)
        self._reception.update(sequence, timestamp, ssrc, len(packet) - HEADER_BYTES, now)
        if self._receiver is not None:
            self._receiver(packet, now)

    def _rtcp_received(self, packet: bytes) -> None:
        try:
            packets = self._reporter.receive(packet, time.monotonic(), time.time())
        except RemoteProtocolError:
            self._log.debug("webrtc.rtcp_malformed")
            return
        if any(isinstance(found, Goodbye) for found in packets):
            self._log.debug("webrtc.rtcp_bye")

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._rtcp_interval_s, self._report)

    def _report(self) -> None:
        self._transports.send_rtcp(self._reporter.report(time.monotonic(), time.time()))
        self._schedule()

    def _transport_changed(self) -> None:
        """A transport changed by itself: consent was lost, or the page closed its end."""
        if self.state is not LegState.CONNECTED:
            return  # accept() and close() say how they end
        if self._transports.path.ice.state == "failed" or not self._transports.alive:
            self._stop_reports()
            self._change(LegState.FAILED)
        elif self._transports.dtls_closed:
            self._stop_reports()
            self._change(LegState.CLOSED)

    def _change(self, state: LegState) -> None:
        if state is self.state or self.state in _FINAL:
            return
        self._log.info("webrtc.state", old=self.state.value, new=state.value)
        self.state = state
        self.on_state(state)

    def _stop_reports(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _end(self, state: LegState) -> None:
        if self.state is LegState.CONNECTED and self._timer is not None:
            self._transports.send_rtcp(self._reporter.report(time.monotonic(), time.time(), goodbye=True))
        self._stop_reports()
        self._change(state)
        await self._transports.close()
