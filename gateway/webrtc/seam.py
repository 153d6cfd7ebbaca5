"""Every private name of aiortc and aioice that Ponte uses. `tests/integration/webrtc/test_seam.py` holds them in place.

aiortc does ICE, DTLS and the SRTP keys. Packets are taken from its UDP sockets before its queue and tasks and put into
them the same way, since its own path costs ten times as much and adds 80 ms (docs/ARCHITECTURE.md, section 6).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import aioice
import aioice.ice
import pylibsrtp
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceServer, RTCIceTransport
from aiortc.rtcdtlstransport import RTCDtlsParameters

from gateway.domain.errors import ConfigError, PonteError

_PACKET_BYTES: Final = 2048  # over an Ethernet MTU; asyncio's default makes a 256 KiB object per packet
_CLOSE_TIMEOUT_S: Final = 2.0  # nothing of the peer is waited for: a few turns of the event loop are enough
_BACKLOG_BYTES: Final = 16_000  # half a second of packets that the kernel does not take: the rest is dropped


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


def local_addresses() -> list[str]:
    """Return the addresses that are gathered on by default: those of all interfaces but loopback."""
    addresses: list[str] = _need(aioice.ice, "get_host_addresses")(use_ipv4=True, use_ipv6=True)
    return addresses


class Transports:
    """ICE and DTLS of one leg, and packets at the SRTP seam.

    Args:
        addresses: local IP addresses to gather on; none: those of `local_addresses`.
        stun_url: ``stun:host:port``, or empty for none.
        on_change: called after each change of a state.
        on_rtp: takes each decrypted RTP packet.
        on_rtcp: takes each decrypted RTCP packet.

    Raises:
        SeamBroken: a private name is gone.
        ConfigError: *stun_url* is no such URL.
    """

    def __init__(
        self,
        *,
        addresses: Sequence[str],
        stun_url: str,
        on_change: Callable[[], None],
        on_rtp: Callable[[bytes], None],
        on_rtcp: Callable[[bytes], None],
    ) -> None:
        try:
            self._gatherer = RTCIceGatherer(iceServers=[RTCIceServer(stun_url)] if stun_url else [])
        except ValueError:
            raise ConfigError("The STUN server must be written as stun:host:port", "stun_url") from None
        self._connection = _need(self._gatherer, "_connection")
        self._connection.ice_controlling = True  # RFC 8445 section 6.1.1: the offerer
        self.ice = RTCIceTransport(self._gatherer)
        self.dtls = RTCDtlsTransport(self.ice, [RTCCertificate.generateCertificate()])
        self.ice.on("statechange", on_change)
        self.dtls.on("statechange", on_change)
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._rx_srtp: pylibsrtp.Session | None = None
        self._tx_srtp: pylibsrtp.Session | None = None
        self.undecryptable = 0
        if addresses:
            self._gather_on(list(addresses))

    def _gather_on(self, addresses: list[str]) -> None:
        """Gather on *addresses*: aioice never offers loopback by itself."""
        original = _need(self._connection, "get_component_candidates")

        async def get_component_candidates(**arguments: Any) -> Any:
            return await original(**{**arguments, "addresses": addresses})

        self._connection.get_component_candidates = get_component_candidates

    async def gather(self) -> None:
        """Bind the sockets and find our candidates."""
        await self._gatherer.gather()
        for protocol in _need(self._connection, "_protocols"):
            self._tap(protocol)

    def candidates(self) -> list[str]:
        """Return our candidates as values of ``a=candidate``."""
        return [candidate.to_sdp() for candidate in self._connection.local_candidates]

    def credentials(self) -> tuple[str, str]:
        """Return our ICE username fragment and password."""
        return self._connection.local_username, self._connection.local_password

    def fingerprint(self) -> tuple[str, str]:
        """Return algorithm and value of our certificate's fingerprint."""
        found = self.dtls.getLocalParameters().fingerprints
        best = next(fingerprint for fingerprint in found if fingerprint.algorithm == "sha-256")
        return best.algorithm, best.value

    async def connect_ice(self, username: str, password: str, *, lite: bool, candidates: Sequence[str]) -> None:
        """Run the connectivity checks until a pair is chosen.

        The end of the candidates is not told to aioice: with none at all it would give up, while the peer's own
        checks are about to tell its address (peer-reflexive, RFC 8445 section 7.3.1.3). The caller sets the time limit.

        Raises:
            ConnectionError: there is no way through.
        """
        connection = self._connection
        for value in candidates:
            with contextlib.suppress(ValueError):  # a kind of candidate that aioice does not know
                await connection.add_remote_candidate(aioice.Candidate.from_sdp(value))
        parameters = self.ice.iceGatherer.getLocalParameters()
        parameters.usernameFragment, parameters.password, parameters.iceLite = username, password, lite
        await self.ice.start(parameters)
        if self.ice.state != "completed":
            raise ConnectionError

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
        self._rx_srtp = _need(self.dtls, "_rx_srtp")
        self._tx_srtp = _need(self.dtls, "_tx_srtp")

    @property
    def alive(self) -> bool:
        """Whether ICE has a pair: not before it connected, nor after the peer's consent was lost."""
        return bool(self._connection._nominated)

    def _tap(self, protocol: Any) -> None:
        """Take SRTP from *protocol*'s socket before STUN parsing, queue and tasks; all else goes its usual way."""
        usual: Callable[[bytes, Any], None] = _need(protocol, "datagram_received")
        with contextlib.suppress(AttributeError):  # uvloop has its own buffers
            protocol.transport.max_size = _PACKET_BYTES

        def datagram_received(data: bytes, address: Any) -> None:
            if not (len(data) > 12 and 127 < data[0] < 192):  # RFC 7983: 128 to 191 is RTP or RTCP
                usual(data, address)
                return
            session = self._rx_srtp
            if session is None:
                return
            try:
                if 192 <= data[1] <= 223:
                    self._on_rtcp(session.unprotect_rtcp(data))
                else:
                    self._on_rtp(session.unprotect(data))
            except (pylibsrtp.Error, ValueError):
                self.undecryptable += 1

        protocol.datagram_received = datagram_received

    def send_rtp(self, packet: bytes) -> bool:
        """Encrypt and send *packet*; false where it was dropped."""
        session = self._tx_srtp
        return session is not None and self._send(session.protect, packet)

    def send_rtcp(self, packet: bytes) -> bool:
        """Encrypt and send *packet*; false where it was dropped."""
        session = self._tx_srtp
        return session is not None and self._send(session.protect_rtcp, packet)

    def _send(self, protect: Callable[[bytes], bytes], packet: bytes) -> bool:
        pair = self._connection._nominated.get(1)
        if pair is None:
            return False
        transport = pair.protocol.transport
        if transport.get_write_buffer_size() > _BACKLOG_BYTES:
            return False
        try:
            transport.sendto(protect(packet), pair.remote_addr)
        except (pylibsrtp.Error, ValueError, OSError):
            return False
        return True

    async def close(self) -> None:
        """Say goodbye to the peer and close the sockets."""
        self._rx_srtp = self._tx_srtp = None
        pump = _need(self.dtls, "_task")
        await self.dtls.stop()
        if pump is not None:
            await asyncio.wait([pump], timeout=_CLOSE_TIMEOUT_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self.ice.stop()
                await self._connection.close()  # where ICE was never started, stop() leaves the sockets open
