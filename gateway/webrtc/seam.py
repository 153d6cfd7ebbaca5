"""The private names of aiortc and aioice that Ponte uses, but for those of `chosen_pair`.

`tests/integration/webrtc/test_seam.py` holds them in place.

aiortc does ICE, DTLS and the SRTP keys. Packets are taken from its UDP sockets before its queue and tasks and put into
them the same way, since its own path costs ten times as much and adds 80 ms (docs/ARCHITECTURE.md, section 6).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

import aioice
import aioice.ice
import aioice.stun
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceServer, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsParameters

from gateway.domain.errors import ConfigError, PonteError
from gateway.domain.finish import finish
from gateway.media.ports import bind_udp
from gateway.media.sockets import LoopWatch, SocketWatch
from gateway.media.srtp import SrtpError, SrtpVerbs
from gateway.webrtc.chosen_pair import CONSENT_INTERVAL_S, ChosenPair
from gateway.webrtc.datagrams import Datagrams

_CLOSE_TIMEOUT_S: Final = 2.0  # nothing of the peer is waited for: a few turns of the event loop are enough
_STUN_TIMEOUT_S: Final = 5.0  # for all our addresses together
_WAITING_DATAGRAMS: Final = 64  # of a DTLS handshake, some ten at a time; anybody may send to the port


class SeamBroken(PonteError):
    """This version of aiortc or aioice lacks a name that Ponte needs."""

    code = "seam_broken"


def _need(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        what = owner if isinstance(owner, type) else type(owner)
        raise SeamBroken(
            f"{what.__module__}.{what.__name__} has no {name} any more: this version of aiortc or aioice does not fit "
            "gateway/webrtc/seam.py"
        ) from None


def _is_stun(data: bytes) -> bool:
    """Whether aioice can read *data*. What it cannot, it takes for data, or it raises more than it says."""
    try:
        aioice.stun.parse_message(data)
    except Exception:
        return False
    return True


def _bound(addresses: Sequence[str]) -> list[socket.socket]:
    """Return a UDP socket on each of *addresses*; those that are none of this machine are passed over."""
    found = []
    for address in addresses:
        with contextlib.suppress(OSError):
            found.append(bind_udp(socket.AF_INET6 if ":" in address else socket.AF_INET, address, 0))
    return found


def local_addresses() -> list[str]:
    """Return the addresses that are gathered on by default: those of all interfaces but loopback."""
    addresses: list[str] = _need(aioice.ice, "get_host_addresses")(use_ipv4=True, use_ipv6=True)
    return addresses


class IcePath:
    """One ICE session: its sockets, its candidates, the pair that was chosen.

    Args:
        addresses: local IP addresses to gather on; none: those of `local_addresses`.
        stun_url: ``stun:host:port``, or empty for none.
        controlling: whether we choose the pair: the side that made the first offer (RFC 8445 section 6.1.1).
        sockets: bound UDP sockets to use instead of addresses; they are closed with the path.
        watch: tells when a packet comes; None: the event loop.
        consent_interval_s: how often the peer is asked whether it still wants packets.

    Attributes:
        chosen: the pair that packets go over.

    Raises:
        SeamBroken: a private name is gone.
        ConfigError: *stun_url* is no such URL.
    """

    def __init__(
        self,
        *,
        addresses: Sequence[str],
        stun_url: str,
        controlling: bool,
        sockets: Sequence[socket.socket] = (),
        watch: SocketWatch | None = None,
        consent_interval_s: float = CONSENT_INTERVAL_S,
    ) -> None:
        try:
            self._gatherer = RTCIceGatherer(iceServers=[RTCIceServer(stun_url)] if stun_url else [])
        except ValueError:
            raise ConfigError("The STUN server must be written as stun:host:port", "stun_url") from None
        self._connection = _need(self._gatherer, "_connection")
        self._connection.ice_controlling = controlling
        self._sockets = list(sockets)
        self.ice = RTCIceTransport(self._gatherer)
        self._addresses = addresses
        self._watch = watch or LoopWatch()
        self._pair: Any = None  # that packets go over, as aioice chose it
        self._send_now: Callable[[bytes, tuple[str, int]], bool]
        self._to: tuple[str, int]
        for name in ("get_component_candidates", *ChosenPair.NAMES):
            _need(self._connection, name)
        self.chosen = ChosenPair(self._connection, consent_interval_s)
        self._connection.get_component_candidates = self._gather

    async def _gather(self, *, component: int, addresses: Sequence[str], **_: Any) -> list[aioice.Candidate]:
        """Make our candidates of component 1, the only one there is, on sockets of our own.

        aioice's sockets would be the event loop's, which costs several times what a packet does. It would not offer
        loopback either.
        """
        connection = self._connection
        make_protocol = _need(aioice.ice, "StunProtocol")
        protocols: list[Any] = []
        if not self._sockets:
            self._sockets = _bound(self._addresses or addresses)
        while self._sockets:
            opened = self._sockets.pop(0)
            protocol = make_protocol(connection)
            Datagrams(opened, protocol, self._watch)
            host, port = opened.getsockname()[:2]
            preference = 65535 - len(protocols)  # RFC 8445 section 5.1.2.1
            protocol.local_candidate = aioice.Candidate(
                foundation=hashlib.sha256(host.encode()).hexdigest()[:16],
                component=component, transport="udp", priority=(126 << 24) + (preference << 8) + 255, host=host,
                port=port, type="host",
            )  # fmt: skip
            _need(connection, "_protocols").append(protocol)
            protocols.append(protocol)
        return [protocol.local_candidate for protocol in protocols] + await self._seen_from_outside(protocols)

    async def _seen_from_outside(self, protocols: Sequence[Any]) -> list[aioice.Candidate]:
        """Return what the STUN server sees our IPv4 sockets as; nothing where it does not answer in time."""
        server = _need(self._connection, "stun_server")
        asked = [protocol for protocol in protocols if ":" not in protocol.local_candidate.host]
        if server is None or not asked:
            return []
        ask = _need(aioice.ice, "server_reflexive_candidate")
        tasks = [asyncio.get_running_loop().create_task(ask(protocol, server)) for protocol in asked]
        try:
            await asyncio.wait(tasks, timeout=_STUN_TIMEOUT_S)
        finally:
            for task in tasks:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        return [answer[0] for answer in answers if not isinstance(answer, BaseException)]

    async def gather(self, tap: Callable[[Any], None]) -> None:
        """Bind the sockets and find our candidates; each socket's protocol is given to *tap*."""
        await self._gatherer.gather()
        for protocol in _need(self._connection, "_protocols"):
            tap(protocol)

    def candidates(self) -> list[str]:
        """Return our candidates as values of ``a=candidate``."""
        return [candidate.to_sdp() for candidate in self._connection.local_candidates]

    def credentials(self) -> tuple[str, str]:
        """Return our ICE username fragment and password."""
        return self._connection.local_username, self._connection.local_password

    async def connect(
        self, username: str, password: str, *, lite: bool, candidates: Sequence[str], hold_back_s: float = 0.0
    ) -> None:
        """Run the connectivity checks until a pair is chosen.

        The end of the candidates is not told to aioice: with none at all it would give up, while the peer's own
        checks are about to tell its address (peer-reflexive, RFC 8445 section 7.3.1.3). The caller sets the time limit.

        Args:
            username: the peer's username fragment.
            password: the peer's password.
            lite: the peer only answers checks.
            candidates: the peer's, as values of ``a=candidate``.
            hold_back_s: how long the peer's checks are waited for before ours go to *candidates*. A check that the
                peer cannot answer yet is repeated only half a second later, and delays the pair by as much.

        Raises:
            ConnectionError: there is no way through.
        """
        parameters = self.ice.iceGatherer.getLocalParameters()
        parameters.usernameFragment, parameters.password, parameters.iceLite = username, password, lite
        if not hold_back_s:
            await self._add(candidates)
            await self.ice.start(parameters)
        else:
            async with asyncio.TaskGroup() as group:
                adding = group.create_task(self._add(candidates, hold_back_s))
                try:
                    await self.ice.start(parameters)
                finally:
                    adding.cancel()
        if self.ice.state != "completed":
            raise ConnectionError

    async def _add(self, candidates: Sequence[str], delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        for value in candidates:
            with contextlib.suppress(ValueError):  # a kind of candidate that aioice does not know
                await self._connection.add_remote_candidate(aioice.Candidate.from_sdp(value))

    @property
    def alive(self) -> bool:
        """Whether ICE has a pair: not before it connected, nor after the peer's consent was lost."""
        return bool(self._connection._nominated)

    def knows(self, host: str, port: int) -> bool:
        """Whether the peer named this address, or proved it by a check with our password."""
        return any(one.host == host and one.port == port for one in self._connection.remote_candidates)

    @property
    def waiting(self) -> int:
        """Datagrams that nobody has read yet."""
        return int(_need(self._connection, "_queue").qsize())

    def send(self, protect: Callable[[bytes], bytes], packet: bytes) -> bool:
        """Encrypt and send *packet* over the chosen pair; false where it was dropped."""
        pair = self._connection._nominated.get(1)
        if pair is not self._pair:
            self._follow(pair)
        if pair is None:
            return False
        try:
            protected = protect(packet)
        except (SrtpError, ValueError):
            return False
        return self._send_now(protected, self._to)

    def _follow(self, pair: Any) -> None:
        """Send over *pair* from now on; it makes its address anew whenever it is asked, so it is asked once."""
        self._pair = pair
        self.chosen.changed()
        if pair is not None:
            self._send_now, self._to = pair.protocol.transport.send_now, pair.remote_addr

    async def close(self) -> None:
        """Close the sockets, though the caller is cancelled meanwhile."""
        # In a task of its own also because aioice takes a cancellation of ours for that of its consent task.
        await finish(self._close())

    async def _close(self) -> None:
        for opened in self._sockets:
            opened.close()
        protocols = list(_need(self._connection, "_protocols"))
        await self.chosen.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await self.ice.stop()
                    await self._connection.close()  # where ICE was never started, stop() leaves the sockets open
        finally:  # whatever aioice waited for, or stumbled over
            for protocol in protocols:
                protocol.transport.abort()


class Transports:
    """ICE and DTLS of one leg, and packets at the SRTP seam.

    Args:
        path: the ICE session; closed with the transports.
        on_change: called after each change of a state.
        on_rtp: takes each decrypted RTP packet and the monotonic instant, in seconds, at which it came.
        on_rtcp: takes each decrypted RTCP packet.
        wary: take DTLS from addresses that ICE knows only. Not for a peer that begins the handshake maybe before we
            have looked at its checks: its first datagram would be lost, and it waits a second for the next.

    Attributes:
        path: the ICE session in use.
        undecryptable: packets that failed SRTP's check, replays too.

    Raises:
        SeamBroken: a private name is gone.
    """

    def __init__(
        self,
        path: IcePath,
        *,
        on_change: Callable[[], None],
        on_rtp: Callable[[bytes, float], None],
        on_rtcp: Callable[[bytes], None],
        wary: bool = False,
    ) -> None:
        self.path = path
        self._wary = wary
        self.dtls = RTCDtlsTransport(path.ice, [RTCCertificate.generateCertificate()])
        self._on_change = on_change
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._incoming: SrtpVerbs | None = None
        self._outgoing: SrtpVerbs | None = None
        self._moved = False  # DTLS stays with the first path, its keys go with the packets
        self.undecryptable = 0
        self.dtls.on("statechange", self._dtls_changed)
        self._listen(path)

    def _listen(self, path: IcePath) -> None:
        path.ice.on("statechange", lambda: self._on_change() if path is self.path else None)

    def _dtls_changed(self) -> None:
        if not self._moved:
            self._on_change()

    @property
    def dtls_closed(self) -> bool:
        """Whether the peer said goodbye."""
        return self.dtls.state == "closed" and not self._moved

    async def gather(self) -> None:
        """Bind the sockets and find our candidates."""
        await self.path.gather(self._tap)

    async def gather_beside(self, path: IcePath) -> None:
        """Prepare *path* to take the place of the present one (an ICE restart, RFC 8445 section 9)."""
        await path.gather(self._tap_beside)

    async def move(self, path: IcePath) -> None:
        """Let the packets go by *path*, which is connected, and close the one before. The keys stay as they are."""
        old, self.path, self._moved = self.path, path, True
        self._listen(path)
        await old.close()

    def fingerprint(self) -> tuple[str, str]:
        """Return algorithm and value of our certificate's fingerprint."""
        found = self.dtls.getLocalParameters().fingerprints
        best = next(fingerprint for fingerprint in found if fingerprint.algorithm == "sha-256")
        return best.algorithm, best.value

    async def connect_dtls(self, fingerprints: Sequence[tuple[str, str]], *, server: bool) -> None:
        """Do the DTLS handshake over the chosen pair.

        Args:
            fingerprints: algorithm and value of each of the peer's.
            server: whether we are the DTLS server.

        Raises:
            ConnectionError: it failed, or the peer's certificate is another one.
        """
        _need(self.dtls, "_set_role")("server" if server else "client")
        parameters = RTCDtlsParameters()
        kind = type(self.dtls.getLocalParameters().fingerprints[0])
        parameters.fingerprints = [kind(algorithm=algorithm, value=value) for algorithm, value in fingerprints]
        await self.dtls.start(parameters)
        if self.dtls.state != "connected":
            raise ConnectionError
        self._incoming = SrtpVerbs(_need(self.dtls, "_rx_srtp"))
        self._outgoing = SrtpVerbs(_need(self.dtls, "_tx_srtp"))

    @property
    def alive(self) -> bool:
        """Whether ICE has a pair: not before it connected, nor after the peer's consent was lost."""
        return self.path.alive

    def _tap(self, protocol: Any) -> None:
        self._tap_protocol(protocol, self.path)

    def _tap_beside(self, protocol: Any) -> None:
        self._tap_protocol(protocol, None)

    def _tap_protocol(self, protocol: Any, path: IcePath | None) -> None:
        """Take SRTP from *protocol*'s socket before STUN parsing, queue and tasks.

        All else goes its usual way: STUN, and DTLS into a queue without a bound. Only so much is let in there, and
        nothing where nobody reads it (*path* is None).
        """

        def on_packet(data: bytes, address: Any, now_s: float) -> bool:
            if not (len(data) > 12 and 127 < data[0] < 192):  # RFC 7983: 128 to 191 is RTP or RTCP
                # 0 to 3 is STUN
                return not (_is_stun(data) if data[:1] < b"\x04" else self._takes_dtls(path, address))
            incoming = self._incoming
            if incoming is not None:
                try:
                    if 192 <= data[1] <= 223:
                        self._on_rtcp(incoming.unprotect_rtcp(data))
                    else:
                        packet = incoming.unprotect(data)
                        self.path.chosen.came(protocol, address)
                        self._on_rtp(packet, now_s)
                except (SrtpError, ValueError):
                    self.undecryptable += 1
            return True

        protocol.transport.on_packet = on_packet

    def _takes_dtls(self, path: IcePath | None, address: Any) -> bool:
        if path is None or path.waiting >= _WAITING_DATAGRAMS:
            return False
        return not self._wary or path.knows(address[0], address[1])

    def send_rtp(self, packet: bytes) -> bool:
        """Encrypt and send *packet*; false where it was dropped."""
        outgoing = self._outgoing
        return outgoing is not None and self.path.send(outgoing.protect, packet)

    def send_rtcp(self, packet: bytes) -> bool:
        """Encrypt and send *packet*; false where it was dropped."""
        outgoing = self._outgoing
        return outgoing is not None and self.path.send(outgoing.protect_rtcp, packet)

    async def close(self) -> None:
        """Say goodbye to the peer and close the sockets, though the caller is cancelled meanwhile."""
        await finish(self._close())

    async def _close(self) -> None:
        self._incoming = self._outgoing = None
        pump = _need(self.dtls, "_task")
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self.dtls.stop()
                if pump is not None:
                    await asyncio.wait([pump])
        except TimeoutError:
            pass
        finally:
            await self.path.close()
