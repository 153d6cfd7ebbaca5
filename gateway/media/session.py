"""The media of one call: its two sockets, its two packet paths, its RTCP. Nothing in the packet path awaits."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Final

import structlog

from gateway.domain.errors import RemoteProtocolError
from gateway.media.keys import KeyTap, KeyWatch, OnKey
from gateway.media.lock import Address, LockRules, SourceLock
from gateway.media.path import PacketPath, routes
from gateway.media.plane import DirectionStats, MediaStats
from gateway.media.port import ContinuousPort, RtpPort
from gateway.media.ports import PortPair
from gateway.media.repacketize import PAGE_PTIME_MS, Repacketizer
from gateway.media.srtp import SrtpGuard
from gateway.protocol.rtcp import Reporter
from gateway.protocol.rtp import OutgoingStream, is_rtcp
from gateway.protocol.sdp import LocalMedia, Negotiated, SdpSession
from gateway.protocol.sdp.crypto import CryptoPair
from gateway.protocol.sdp.description import ip_or_none

_PACKET_BYTES: Final = 2048  # over an Ethernet MTU: what is longer is no audio packet
_CODECS: Final = ("PCMU", "PCMA")


class RtpSession:
    """The media of one call.

    Args:
        pair: its sockets; closed with the session.
        local_address: IP address that the SIP peer reaches us by.
        random_bits: gives random bits, for SSRCs and numbers.
        rules: of the source lock.
        rtcp_interval_s: seconds between RTCP reports.
        jitter: gives a number from 0 to 1, to spread the reports (RFC 3550 section 6.2).
        secure: offer SRTP.
    """

    def __init__(
        self,
        pair: PortPair,
        local_address: str,
        *,
        random_bits: Callable[[int], int],
        rules: LockRules,
        rtcp_interval_s: float,
        jitter: Callable[[], float],
        secure: bool = False,
    ) -> None:
        self.pair = pair
        self.sdp = SdpSession(random_bits(62), _CODECS, secure=secure, random_bits=random_bits)
        self._guard: SrtpGuard | None = None  # kept over a time without SRTP
        self._srtp: SrtpGuard | None = None
        self._pack: Repacketizer | None = None  # where the peer wants another length than the page's 20 ms
        self._ptime_ms = PAGE_PTIME_MS
        self._mux = False  # RTCP on the port of RTP
        self._local_address = local_address
        self._random_bits = random_bits
        self._rtcp_interval_s = rtcp_interval_s
        self._jitter = jitter
        self._log = structlog.get_logger()
        self._loop = asyncio.get_running_loop()
        self._port: RtpPort | None = None
        self._to_sip = PacketPath(OutgoingStream(random_bits))
        self._to_wa = PacketPath(OutgoingStream(random_bits))
        self._lock = SourceLock(self._to_wa.accepts, lambda: self._to_wa.reception.ssrc, rules)
        self._target: Address | None = None  # where RTP goes, None: nowhere
        self._rtcp_target: Address | None = None
        self._reporter = Reporter(self._to_sip.outgoing, self._to_wa.reception, f"{random_bits(96):024x}")
        self._last_rtcp_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keys: KeyWatch | None = None
        self._keys_sent = 0  # by taps that were replaced
        self._closed = False
        self._to_wa.closed = self._to_sip.closed = "not_connected"
        self._send_rtp = pair.rtp.sendto
        self._loop.add_reader(pair.rtp.fileno(), self._rtp_readable)
        self._loop.add_reader(pair.rtcp.fileno(), self._rtcp_readable)

    def local(self, local_address: str) -> LocalMedia:
        """Return where we receive; the sockets' own address where they are bound to one."""
        if self.pair.wildcard:
            self._local_address = local_address
        return LocalMedia(self._local_address, self.pair.port, self.pair.port + 1)

    def apply(self, negotiated: Negotiated) -> None:
        """Send and receive as *negotiated* says, at once."""
        now = time.monotonic()
        self._secure(negotiated.crypto)
        self._mux = negotiated.rtcp_mux
        self._follow_ptime(negotiated.ptime_ms)
        signalled = self._usable(*negotiated.remote)
        if signalled is not None:  # a hold by c=0.0.0.0 is no move: where the peer is stays known
            self._lock.signal(signalled, now)
        address = ip_or_none(negotiated.remote[0])
        deaf = address is not None and address.is_unspecified
        self._lock.frozen = deaf or not negotiated.receives
        self._rtcp_target = None if deaf else self._usable(*negotiated.remote_rtcp)
        self._to_sip.closed = None if negotiated.sends else "hold"
        self._aim()
        self._wire()
        if self._timer is None and not self._closed:
            self._schedule()

    def _follow_ptime(self, ptime_ms: int) -> None:
        # Once packets have numbers of their own they keep them, or numbers would come twice.
        if ptime_ms != self._ptime_ms and (self._pack is not None or ptime_ms != PAGE_PTIME_MS):
            if self._pack is None:
                self._pack = Repacketizer(ptime_ms, self._to_sip.outgoing)
            else:
                self._pack.change(ptime_ms)
        self._ptime_ms = ptime_ms

    def _secure(self, crypto: CryptoPair | None) -> None:
        if crypto is not None:
            if self._guard is None:
                self._guard = SrtpGuard(crypto)
            else:
                self._guard.follow(crypto)
        self._srtp = self._guard if crypto is not None else None

    def _usable(self, host: str, port: int) -> Address | None:
        """Return where to send to, None where the peer named a host by name, of the other family, no port, or nowhere.

        A name is never looked up: a peer could make the packet path wait for its DNS.
        """
        address = ip_or_none(host)
        version = 6 if self.pair.rtp.family == socket.AF_INET6 else 4
        if address is None or address.is_unspecified or address.version != version or not port:
            return None
        return str(address), port

    def connect(self, port: RtpPort, on_key: OnKey | None = None) -> None:
        """Let packets flow between the SIP peer and *port*; *on_key* takes the peer's keys."""
        if self._keys is not None:
            self._keys.close()
        self._keys = None if on_key is None else KeyWatch(self._loop, on_key)
        self._to_wa.on_event = None if self._keys is None else self._keys.receive
        if self._port is not None:
            self._port.set_receiver(None)
        self._port = port
        self._to_wa.redirect(port.outgoing if isinstance(port, ContinuousPort) else OutgoingStream(self._random_bits))
        self._wire()
        port.set_receiver(self._from_page)

    def mute(self, duration_s: float) -> None:
        """Silence the peer's audio for *duration_s* from now on."""
        self._to_wa.quiet_until_s = max(self._to_wa.quiet_until_s, time.monotonic() + duration_s)

    def _tap(self, negotiated: Negotiated) -> None:
        """Listen for keys of the page where the peer takes telephone-events; else they stay in the audio."""
        codecs = {number: codec for codec, number in negotiated.send.items()}
        tap = self._to_sip.key_tap
        if negotiated.telephone_event is None:
            fresh = None
        elif tap is not None and tap.sender.payload_type == negotiated.telephone_event:
            tap.use(codecs)
            return
        else:
            fresh = KeyTap(codecs, negotiated.telephone_event)
        self._keys_sent += tap.sender.events if tap is not None else 0
        self._to_sip.key_tap = fresh

    def _wire(self) -> None:
        """Build the tables of payload types from what was negotiated and what the page speaks."""
        negotiated, port = self.sdp.negotiated, self._port
        if negotiated is None:
            return
        self._tap(negotiated)
        self._to_wa.closed = "not_connected" if port is None else None if negotiated.receives else "hold"
        page = dict(port.payload_types) if port is not None else dict.fromkeys(negotiated.send, 0)
        preferred = negotiated.codec if negotiated.codec in page else None
        self._to_wa.set_routes(routes(negotiated.receive, page, preferred))
        self._to_sip.set_routes(routes({n: codec for codec, n in page.items()}, negotiated.send, negotiated.codec))

    def _aim(self) -> None:
        self._target = self._lock.target

    def _from_page(self, packet: bytes, now_s: float) -> None:
        forwarded = self._to_sip.forward(packet, now_s)
        if forwarded is None:
            return
        target = self._target
        if target is None:
            self._to_sip.drop("no_address")
            return
        if self._pack is None:
            self._send(forwarded, target)
            return
        tap = self._to_sip.key_tap
        for packet in self._pack.feed(forwarded, tap.sender.payload_type if tap is not None else None):
            self._send(packet, target)

    def _send(self, packet: bytes, target: Address) -> None:
        if self._srtp is not None:
            protected = self._srtp.protect(packet)
            if protected is None:
                self._to_sip.drop("srtp_failed")
                return
            packet = protected
        try:
            self._send_rtp(packet, target)
        except BlockingIOError:
            self._to_sip.drop("socket_full")
        except OSError:
            self._to_sip.drop("send_failed")

    def _rtp_readable(self) -> None:
        try:
            packet, address = self.pair.rtp.recvfrom(_PACKET_BYTES)
        except OSError:  # nothing there after all, or an ICMP error of an earlier packet
            return
        now = time.monotonic()
        source = address[:2]
        if (self._mux or source != self._lock.locked) and is_rtcp(packet):
            if self._mux:
                self._take_rtcp(packet, source)
            else:
                self._to_wa.drop("rtcp_on_rtp_port")
            return
        if self._srtp is not None:  # before anything is believed of it, the source least of all
            plain = self._srtp.unprotect(packet)
            if plain is None:
                self._to_wa.drop("srtp_failed")
                return
            packet = plain
        if source != self._lock.locked:
            if not self._lock.admit(source, packet, now):
                self._to_wa.drop("foreign_source")
                return
            self._aim()
            if source != self._lock.signalled:
                self._log.info("media.source_believed", **{"pii.address": f"{source[0]} {source[1]}"})
        else:
            self._lock.heard(now)
        forwarded = self._to_wa.forward(packet, now)
        if forwarded is not None and self._port is not None:
            self._port.send(forwarded)

    def _rtcp_readable(self) -> None:
        try:
            packet, address = self.pair.rtcp.recvfrom(_PACKET_BYTES)
        except OSError:
            return
        self._take_rtcp(packet, address[:2])

    def _take_rtcp(self, packet: bytes, source: Address) -> None:
        # RTCP tells only figures, but it also moves our reports: the host must be one that RTP is taken from.
        hosts = {known[0] for known in (self._lock.target, self._rtcp_target) if known is not None}
        if source[0] not in hosts:
            self._to_wa.drop("foreign_rtcp")
            return
        if self._srtp is not None:
            plain = self._srtp.unprotect_rtcp(packet)
            if plain is None:
                self._to_wa.drop("srtp_failed")
                return
            packet = plain
        try:
            now = time.monotonic()
            self._reporter.receive(packet, now, time.time())
        except RemoteProtocolError:
            self._to_wa.drop("malformed_rtcp")
            return
        self._last_rtcp_s = now
        if self._rtcp_target is not None and not self._mux:
            self._rtcp_target = source

    def _schedule(self) -> None:
        delay = self._rtcp_interval_s * (0.5 + self._jitter())
        self._timer = self._loop.call_later(delay, self._report)

    def _report(self) -> None:
        self._send_report(goodbye=False)
        self._schedule()

    def _send_report(self, *, goodbye: bool) -> None:
        target = self._rtcp_target
        if target is None:
            return
        report: bytes | None = self._reporter.report(time.monotonic(), time.time(), goodbye=goodbye)
        if report is not None and self._srtp is not None:
            report = self._srtp.protect_rtcp(report)
        if report is None:
            self._to_sip.drop("srtp_failed")
            return
        locked = self._lock.locked
        signalled = self._lock.signalled
        if locked is not None and signalled is not None and signalled[0] == target[0] != locked[0]:
            # Behind a NAT the SDP's address reaches nobody: RTCP goes beside where RTP comes from.
            target = (locked[0], min(locked[1] + 1, 65535))
        try:
            if self._mux:
                self.pair.rtp.sendto(report, self._target or target)
            else:
                self.pair.rtcp.sendto(report, target)
        except OSError:
            self._to_sip.drop("rtcp_send_failed")

    def stats(self) -> MediaStats:
        """Return the figures so far."""
        trip = self._reporter.round_trip_s
        tap = self._to_sip.key_tap
        return MediaStats(
            wa_to_sip=_direction_stats(self._to_sip, self._keys_sent + (tap.sender.events if tap is not None else 0)),
            sip_to_wa=_direction_stats(self._to_wa, self._keys.keys if self._keys is not None else 0),
            round_trip_ms=None if trip is None else trip * 1000,
            peer_lost=self._reporter.peer_lost,
            peer_jitter_ms=self._reporter.peer_jitter / 8,  # 8 timestamp units in a millisecond
            source_moves=self._lock.changes,
            last_rtp_s=self._to_wa.reception.last_at_s,
            last_rtcp_s=self._last_rtcp_s,
        )

    def close(self) -> None:
        """Say goodbye and close the sockets."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._keys is not None:
            self._keys.close()
        if self._port is not None:
            self._port.set_receiver(None)
            self._port = None
        if self.sdp.negotiated is not None:
            self._send_report(goodbye=True)
        self._loop.remove_reader(self.pair.rtp.fileno())
        self._loop.remove_reader(self.pair.rtcp.fileno())
        self.pair.close()


def _direction_stats(path: PacketPath, keys: int) -> DirectionStats:
    reception = path.reception
    return DirectionStats(
        packets=reception.packets,
        bytes=reception.octets,
        passed=path.passed,
        lost=reception.lost,
        jitter_ms=reception.jitter_ms,
        last_packet_s=reception.last_at_s,
        source_changes=reception.changes,
        transcoded=path.transcoded,
        keys=keys,
        muted=path.muted,
        dropped=dict(path.dropped),
        dropped_payload_types=dict(path.dropped_types),
    )
