"""The link to a WebRTC client of the SIP side: ICE, DTLS-SRTP and RTCP on one port (RFC 8834), by aiortc.

One link lives as long as its SIP leg. Connecting begins when packets are wanted and the peer's description is known,
which is when the call is answered: before that no browser has our description, and would answer no check.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from gateway.domain.errors import RemoteProtocolError
from gateway.domain.finish import finish
from gateway.media.client_sdp import NOWHERE, OwnTransport, RemoteTransport, put_on, take_off
from gateway.media.link import LinkUser, OnLost
from gateway.media.ports import PortPool
from gateway.media.sockets import SocketWatch
from gateway.protocol.sdp import Negotiated, NoCommonCodec, SdpSession, SessionDescription, parse_sdp
from gateway.protocol.sdp.description import ip_or_none
from gateway.webrtc.client_sockets import open_set
from gateway.webrtc.seam import IcePath, Transports, local_addresses

_OFFERED_PROFILE: Final = "UDP/TLS/RTP/SAVPF"


@dataclass(frozen=True, slots=True)
class ClientLinkSettings:
    """How WebRTC clients are reached.

    Attributes:
        addresses: local IP addresses to name in candidates; none: the one that the client's signalling came to, and
            those of all interfaces.
        public_address: the address that stands for ours on the outside of a NAT; named beside them.
        connect_timeout_s: for ICE and DTLS together, from the answer of the call.
        hold_back_s: how long the client's own checks are waited for, see `IcePath.connect`.
        goodbye_s: after the client closed its DTLS, for a BYE that is on its way.
    """

    addresses: Sequence[str] = ()
    public_address: str = ""
    connect_timeout_s: float = 15.0
    hold_back_s: float = 0.3
    goodbye_s: float = 2.0


class ClientLink:
    """A WebRTC client; a `gateway.media.link.MediaLink`.

    Args:
        pool: gives the port.
        settings: how it is reached.
        watch: tells when a packet comes; None: the event loop.
    """

    def __init__(self, pool: PortPool, settings: ClientLinkSettings, watch: SocketWatch | None = None) -> None:
        self._watch = watch
        self.on_lost: OnLost = lambda cause: None
        self._pool = pool
        self._settings = settings
        self._user: LinkUser
        self._ports: list[int] = []
        self._transports: Transports | None = None
        self._candidates: list[str] = []
        self._remote: RemoteTransport | None = None
        self._profile = _OFFERED_PROFILE
        self._bundled = True
        self._server: bool | None = None  # our DTLS role, once it is known
        self._beside: IcePath | None = None  # of an ICE restart, until it is connected
        self._written: SessionDescription | None = None
        self._wanted = False
        self._connected = False
        self._lost = False
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._goodbye: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger()

    def attach(self, user: LinkUser) -> None:
        """See `MediaLink`."""
        self._user = user

    @property
    def source_moves(self) -> int:
        """See `MediaLink`: where packets come from is ICE's business."""
        return 0

    # SDP

    async def offer(self, sdp: SdpSession, local_address: str) -> str:
        """See `MediaLink`.

        Raises:
            Unavailable: there is no port or no address.
        """
        transports = await self._open(local_address, controlling=True)
        plain = sdp.create_offer(NOWHERE)
        return self._write(plain, transports.path, self._candidates, "actpass", always=True)

    def accept(self, sdp: SdpSession, answer: str) -> Negotiated:
        """See `MediaLink`."""
        plain, remote = take_off(answer)
        if remote is not None:
            self._check(remote)
            if remote.setup == "actpass":
                raise RemoteProtocolError("The SDP answer does not choose a DTLS role", 488)
        negotiated = sdp.accept_answer(plain)
        if remote is not None and self._server is None:
            self._server = remote.setup == "active"
        self._remote = remote if not self._connected else self._remote
        return negotiated

    async def answer(self, sdp: SdpSession, offer: str, local_address: str) -> tuple[str, Negotiated]:
        """See `MediaLink`.

        Raises:
            Unavailable: there is no port or no address.
        """
        plain, remote = take_off(offer)
        if remote is None:
            raise NoCommonCodec("The offer holds no audio")
        restart = self._check(remote)
        transports = await self._open(local_address, controlling=False)
        path, candidates = await self._open_beside(local_address) if restart else (transports.path, self._candidates)
        try:
            text, negotiated = sdp.answer_offer(plain, NOWHERE)
        except BaseException:
            if restart:
                await path.close()
            raise
        if self._server is None:
            self._server = remote.setup == "active"
        self._bundled = remote.bundled
        self._profile = next(m.profile for m in parse_sdp(offer).media if m.media == "audio" and "TLS" in m.profile)
        self._remote = remote
        if restart:
            self._candidates = candidates
            self._restart(path, remote)
        setup = "passive" if self._server else "active"  # RFC 8842 section 5.3: kept while the association lives
        return self._write(text, path, candidates, setup, always=False), negotiated

    def _check(self, remote: RemoteTransport) -> bool:
        """Compare with what the peer said before; returns whether it restarts ICE.

        Raises:
            NoCommonCodec: it shows another certificate: whoever holds the signalling now is not whom we talk to.
            RemoteProtocolError: it restarts ICE while it is still being connected.
        """
        known = self._remote
        if known is None or not self._wanted:
            return False
        if remote.fingerprints != known.fingerprints:
            raise NoCommonCodec("The certificate of a running call cannot be changed")
        if (remote.username, remote.password) == (known.username, known.password):
            return False
        if not self._connected or self._beside is not None:
            raise RemoteProtocolError("ICE is still being connected", 491)
        return True

    def _write(
        self, plain: str, path: IcePath, candidates: Sequence[str], setup: str, *, always: bool
    ) -> str:  # fmt: skip
        """Return *plain* with our transport; its version goes up when it says something else (RFC 3264 section 8)."""
        assert self._transports is not None
        username, password = path.credentials()
        own = OwnTransport(
            username, password, self._transports.fingerprint(), candidates, setup, self._user.ssrc, self._user.cname
        )
        written = put_on(plain, own, self._profile, bundled=self._bundled)
        last = self._written
        version = 1 if last is None else last.origin.version
        same = last is not None and replace(written, origin=last.origin) == last
        if last is not None and (always or not same):
            version += 1
        self._written = replace(written, origin=replace(written.origin, version=version))
        return str(self._written)

    # sockets

    async def _open(self, local_address: str, *, controlling: bool) -> Transports:
        if self._transports is None:
            path = self._new_path(local_address, controlling=controlling)
            self._transports = Transports(
                path, on_change=self._changed, on_rtp=self._rtp_received, on_rtcp=self._rtcp_received, wary=True
            )
            await self._transports.gather()
            self._candidates = self._named(path)
        return self._transports

    async def _open_beside(self, local_address: str) -> tuple[IcePath, list[str]]:
        assert self._transports is not None
        path = self._new_path(local_address, controlling=False)  # the side that offered the restart chooses
        await self._transports.gather_beside(path)
        return path, self._named(path)

    def _new_path(self, local_address: str, *, controlling: bool) -> IcePath:
        addresses = self._settings.addresses or [local_address, *local_addresses()]
        found = open_set(self._pool, addresses)
        self._ports.append(found.port)
        return IcePath(addresses=(), stun_url="", controlling=controlling, sockets=found.sockets, watch=self._watch)

    def _named(self, path: IcePath) -> list[str]:
        """Return the candidates of *path*, and first the one on the outside of a NAT that forwards our ports."""
        candidates = path.candidates()
        outside = ip_or_none(self._settings.public_address)
        hosts = [candidate.split()[4:6] for candidate in candidates]
        inside = next(((h, p) for h, p in hosts if outside and (":" in h) == (outside.version == 6)), None)
        if outside is None or inside is None or str(outside) in {h for h, _ in hosts}:
            return candidates
        host, port = inside
        priority = (100 << 24) + (65535 << 8) + 255  # RFC 8445 section 5.1.2.2, server reflexive
        return [f"public 1 udp {priority} {outside} {port} typ srflx raddr {host} rport {port}", *candidates]

    # connecting

    def apply(self, negotiated: Negotiated) -> None:
        """See `MediaLink`."""
        if self._wanted:
            self._begin()

    def start(self) -> None:
        """See `MediaLink`."""
        if not self._wanted:
            self._wanted = True
            self._begin()

    def _begin(self) -> None:
        remote, transports = self._remote, self._transports
        if remote is None or transports is None or self._server is None or self._connected or self._tasks or self._lost:
            return
        self._spawn(self._connect(transports, remote, server=self._server), "webrtc connect")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if not self._closed:
            task = asyncio.get_running_loop().create_task(work, name=name)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, transports: Transports, remote: RemoteTransport, *, server: bool) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await self._check_ways(transports.path, remote)
                await transports.connect_dtls(sorted(remote.fingerprints), server=server)
        except TimeoutError:
            self._lose("dtls_timeout" if transports.alive else "ice_timeout")
        except ConnectionError:
            self._lose("dtls_failed" if transports.alive else "ice_failed")
        except Exception:
            self._log.exception("webrtc_client.connect_crashed")
            self._lose("internal")
        else:
            self._connected = True
            self._log.info("webrtc_client.connected", elapsed_ms=round((time.monotonic() - began) * 1000))

    async def _check_ways(self, path: IcePath, remote: RemoteTransport) -> None:
        await path.connect(
            remote.username, remote.password, lite=remote.lite, candidates=remote.candidates,
            hold_back_s=0.0 if remote.lite else self._settings.hold_back_s,
        )  # fmt: skip

    def _restart(self, path: IcePath, remote: RemoteTransport) -> None:
        """Move to *path* once it is connected; until then, and where it never is, the packets go the old way."""
        self._beside = path
        self._spawn(self._move(path, remote), "webrtc restart")

    async def _move(self, path: IcePath, remote: RemoteTransport) -> None:
        assert self._transports is not None
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await self._check_ways(path, remote)
        except (TimeoutError, ConnectionError):
            self._log.info("webrtc_client.restart_failed")
            await path.close()
        else:
            self._log.info("webrtc_client.restarted")
            await self._transports.move(path)
        finally:
            self._beside = None

    def _changed(self) -> None:
        transports = self._transports
        if transports is None or not self._connected or self._closed:
            return
        if transports.path.ice.state == "failed" or not transports.alive:
            self._lose("consent_lost")
        elif transports.dtls_closed and self._goodbye is None:
            # a browser that hangs up closes this before its BYE has come
            self._goodbye = asyncio.get_running_loop().call_later(self._settings.goodbye_s, self._lose, "dtls_closed")

    def _lose(self, cause: str) -> None:
        if not self._lost and not self._closed:
            self._lost = True
            self._log.info("webrtc_client.lost", cause=cause)
            self.on_lost(cause)

    # packets

    def _rtp_received(self, packet: bytes, now_s: float) -> None:
        self._user.on_rtp(packet, now_s)

    def _rtcp_received(self, packet: bytes) -> None:
        self._user.on_rtcp(packet)

    def send(self, packet: bytes) -> str | None:
        """See `MediaLink`."""
        transports = self._transports
        if transports is None or not self._connected:
            return "not_connected"
        return None if transports.send_rtp(packet) else "send_failed"

    def send_rtcp(self, packet: bytes) -> str | None:
        """See `MediaLink`."""
        transports = self._transports
        if transports is None or not self._connected:
            return None
        return None if transports.send_rtcp(packet) else "rtcp_send_failed"

    async def close(self) -> None:
        """See `MediaLink`."""
        if self._closed:
            return
        self._closed = True
        if self._goodbye is not None:
            self._goodbye.cancel()
        await finish(self._end())

    async def _end(self) -> None:
        tasks, beside = list(self._tasks), self._beside
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            if self._transports is not None:
                await self._transports.close()
            if beside is not None:
                await beside.close()
        finally:
            for port in self._ports:
                self._pool.give_back(port)
