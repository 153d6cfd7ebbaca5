"""RTP and RTCP over two UDP ports, plain or with SDES keys (RFC 3550, RFC 3711). Nothing in the packet path awaits."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final

import structlog

from gateway.media.link import LinkUser, OnLost
from gateway.media.lock import Address, LockRules, SourceLock
from gateway.media.ports import PortPair
from gateway.media.sockets import LoopWatch, SocketWatch
from gateway.media.srtp import SrtpGuard
from gateway.protocol.rtp import is_rtcp
from gateway.protocol.sdp import LocalMedia, Negotiated, SdpSession
from gateway.protocol.sdp.crypto import CryptoPair
from gateway.protocol.sdp.description import ip_or_none

_PACKET_BYTES: Final = 2048  # over an Ethernet MTU: what is longer is no audio packet


class UdpLink:
    """A pair of UDP ports; a `MediaLink`.

    Args:
        pair: the sockets; closed with the link.
        rules: of the source lock.
        on_closed: called once the sockets are closed.
        watch: tells when a packet comes; None: the event loop.
    """

    def __init__(
        self, pair: PortPair, rules: LockRules, on_closed: Callable[[], None], watch: SocketWatch | None = None
    ) -> None:
        self.on_lost: OnLost = lambda cause: None
        self._pair = pair
        self._rules = rules
        self._on_closed = on_closed
        self._user: LinkUser
        self._lock: SourceLock
        self._local_address = ""
        self._guard: SrtpGuard | None = None  # kept over a time without SRTP
        self._srtp: SrtpGuard | None = None
        self._mux = False  # RTCP on the port of RTP
        self._target: Address | None = None  # where RTP goes, None: nowhere
        self._rtcp_target: Address | None = None
        self._closed = False
        self._log = structlog.get_logger()
        self._watch = watch or LoopWatch()
        self._send_rtp = pair.rtp.sendto

    def attach(self, user: LinkUser) -> None:
        """See `MediaLink`."""
        self._user = user
        self._lock = SourceLock(user.accepts, user.stream, self._rules)
        self._watch.watch(self._pair.rtp, self._rtp_readable)
        self._watch.watch(self._pair.rtcp, self._rtcp_readable)

    # SDP

    async def offer(self, sdp: SdpSession, local_address: str) -> str:
        """See `MediaLink`."""
        return sdp.create_offer(self._local(local_address))

    def accept(self, sdp: SdpSession, answer: str) -> Negotiated:
        """See `MediaLink`."""
        return sdp.accept_answer(answer)

    async def answer(self, sdp: SdpSession, offer: str, local_address: str) -> tuple[str, Negotiated]:
        """See `MediaLink`."""
        return sdp.answer_offer(offer, self._local(local_address))

    def _local(self, local_address: str) -> LocalMedia:
        """Return where we receive; the sockets' own address where they are bound to one."""
        if self._pair.wildcard or not self._local_address:
            self._local_address = local_address
        return LocalMedia(self._local_address, self._pair.port, self._pair.port + 1)

    def apply(self, negotiated: Negotiated) -> None:
        """See `MediaLink`."""
        now = time.monotonic()
        self._secure(negotiated.crypto)
        self._mux = negotiated.rtcp_mux
        signalled = self._usable(*negotiated.remote)
        if signalled is not None:  # a hold by c=0.0.0.0 is no move: where the peer is stays known
            self._lock.signal(signalled, now)
        address = ip_or_none(negotiated.remote[0])
        deaf = address is not None and address.is_unspecified
        self._lock.frozen = deaf or not negotiated.receives
        self._rtcp_target = None if deaf else self._usable(*negotiated.remote_rtcp)
        self._aim()

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
        version = 6 if self._pair.rtp.family == socket.AF_INET6 else 4
        if address is None or address.is_unspecified or address.version != version or not port:
            return None
        return str(address), port

    def start(self) -> None:
        """See `MediaLink`: the ports are open from the start."""

    @property
    def source_moves(self) -> int:
        """See `MediaLink`."""
        return self._lock.changes

    def _aim(self) -> None:
        self._target = self._lock.target

    # packets

    def send(self, packet: bytes) -> str | None:
        """See `MediaLink`."""
        target = self._target
        if target is None:
            return "no_address"
        if self._srtp is not None:
            protected = self._srtp.protect(packet)
            if protected is None:
                return "srtp_failed"
            packet = protected
        try:
            self._send_rtp(packet, target)
        except BlockingIOError:
            return "socket_full"
        except OSError:
            return "send_failed"
        return None

    def _rtp_readable(self, now: float) -> None:
        try:
            packet, address = self._pair.rtp.recvfrom(_PACKET_BYTES)
        except OSError:  # nothing there after all, or an ICMP error of an earlier packet
            return
        source = address[:2]
        if (self._mux or source != self._lock.locked) and is_rtcp(packet):
            if self._mux:
                self._take_rtcp(packet, source)
            else:
                self._user.on_drop("rtcp_on_rtp_port")
            return
        if self._srtp is not None:  # before anything is believed of it, the source least of all
            plain = self._srtp.unprotect(packet)
            if plain is None:
                self._user.on_drop("srtp_failed")
                return
            packet = plain
        if source != self._lock.locked:
            if not self._lock.admit(source, packet, now):
                self._user.on_drop("foreign_source")
                return
            self._aim()
            if source != self._lock.signalled:
                self._log.info("media.source_believed", **{"pii.address": f"{source[0]} {source[1]}"})
        else:
            self._lock.heard(now)
        self._user.on_rtp(packet, now)

    def _rtcp_readable(self, now: float) -> None:
        try:
            packet, address = self._pair.rtcp.recvfrom(_PACKET_BYTES)
        except OSError:
            return
        self._take_rtcp(packet, address[:2])

    def _take_rtcp(self, packet: bytes, source: Address) -> None:
        # RTCP tells only figures, but it also moves our reports: the host must be one that RTP is taken from.
        hosts = {known[0] for known in (self._lock.target, self._rtcp_target) if known is not None}
        if source[0] not in hosts:
            self._user.on_drop("foreign_rtcp")
            return
        if self._srtp is not None:
            plain = self._srtp.unprotect_rtcp(packet)
            if plain is None:
                self._user.on_drop("srtp_failed")
                return
            packet = plain
        if self._user.on_rtcp(packet) and self._rtcp_target is not None and not self._mux:
            self._rtcp_target = source

    def send_rtcp(self, packet: bytes) -> str | None:
        """See `MediaLink`."""
        target = self._rtcp_target
        if target is None:
            return None
        if self._srtp is not None:
            protected = self._srtp.protect_rtcp(packet)
            if protected is None:
                return "srtp_failed"
            packet = protected
        locked = self._lock.locked
        signalled = self._lock.signalled
        if locked is not None and signalled is not None and signalled[0] == target[0] != locked[0]:
            # Behind a NAT the SDP's address reaches nobody: RTCP goes beside where RTP comes from.
            target = (locked[0], min(locked[1] + 1, 65535))
        try:
            if self._mux:
                self._pair.rtp.sendto(packet, self._target or target)
            else:
                self._pair.rtcp.sendto(packet, target)
        except OSError:
            return "rtcp_send_failed"
        return None

    async def close(self) -> None:
        """See `MediaLink`."""
        if self._closed:
            return
        self._closed = True
        self._watch.forget(self._pair.rtp)
        self._watch.forget(self._pair.rtcp)
        self._pair.close()
        self._on_closed()
