"""One SIP port: UDP sockets and TCP listeners of the same number, and the TCP connections that belong to it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog

from gateway.domain.errors import ConfigError, RemoteProtocolError, Unavailable
from gateway.protocol.sip.flow import Flow, HostPort, is_ip
from gateway.protocol.sip.framing import PING, PONG, StreamFramer
from gateway.sip.resolver import resolve_host
from gateway.sip.settings import StackSettings
from gateway.sip.tasks import TaskOwner

_FREE_PORT_TRIES = 20


class PortInUse(ConfigError):
    """The listening port is taken."""

    code = "port_in_use"


@dataclass(frozen=True, slots=True)
class PortUser:
    """What a port tells: a message that came in, a flow that cannot be used any more."""

    on_message: Callable[[bytes, Flow], None]
    on_flow_failed: Callable[[Flow], None]


class LocalAddresses:
    """Finds the address by which a peer reaches us: the one that a socket connected to it would use."""

    def __init__(self, keep_s: float, most: int = 512) -> None:
        self._keep_s = keep_s
        self._most = most
        self._known: dict[str, tuple[str, float]] = {}

    def towards(self, host: str, now: float) -> str:
        """Return our address towards the IP address *host*; nothing is sent.

        Raises:
            Unavailable: there is no route to it.
        """
        known = self._known.get(host)
        if known is not None and now - known[1] < self._keep_s:
            return known[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((host, 9))
                address = str(probe.getsockname()[0])
        except (OSError, ValueError, OverflowError):
            raise Unavailable("There is no route to the SIP server's address") from None
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[host] = (address, now)
        return address


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, port: SipPort) -> None:
        self._port = port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._port.on_datagram(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error or a datagram that is too long; the transactions' timers see to it."""


class _Connection(asyncio.Protocol):
    """One TCP connection, opened by either side."""

    def __init__(self, port: SipPort, *, accepted: bool, key: HostPort | None = None) -> None:
        self._port = port
        self._accepted = accepted
        self._framer = StreamFramer(max_message_bytes=port.settings.max_message_bytes)
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._keys = {key} if key else set[HostPort]()
        self.flow: Flow | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if peer is None or own is None or not self._port.has_room():
            self._transport.abort()
            return
        remote: HostPort = (peer[0], peer[1])
        self._keys.add(remote)
        local = self._port.public_address or own[0]
        self.flow = Flow(
            "tcp", self._port.key, (local, self._port.number), remote, connectable=not self._accepted
        )  # fmt: skip
        for key in self._keys:
            self._port.connections[key] = self
        self._watch()

    def _watch(self) -> None:
        settings = self._port.settings
        wait = None
        if self._framer.buffered:
            wait = settings.partial_message_s
        elif self._accepted:
            wait = settings.connection_idle_s
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait is not None:
            self._timer = asyncio.get_running_loop().call_later(wait, self.close)

    def data_received(self, data: bytes) -> None:
        if self.flow is None:
            return
        was_partial = self._framer.buffered > 0
        try:
            messages = self._framer.feed(data)
        except RemoteProtocolError:
            self.close()
            return
        for message in messages:
            if message == PING:
                self.send(PONG)  # RFC 5626 section 4.4.1
            else:
                self._port.user.on_message(message, self.flow)
        if messages or not was_partial:
            self._watch()  # a message that trickles in does not get more time with each byte

    def send(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._port.settings.max_unsent_bytes:
            transport.abort()

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for key in self._keys:
            if self._port.connections.get(key) is self:
                del self._port.connections[key]
        if self.flow is not None:
            self._port.user.on_flow_failed(self.flow)


class SipPort:
    """The sockets of one port number.

    Args:
        key: its name in flows.
        user: who takes messages.
        settings: limits.
        addresses: finds local addresses.
        owner: owns the tasks that connect.
    """

    def __init__(
        self, key: int, user: PortUser, settings: StackSettings, addresses: LocalAddresses, owner: TaskOwner
    ) -> None:
        self.key = key
        self.user = user
        self.settings = settings
        self.number = 0
        self.host = ""
        self.public_address = ""
        self.connections: dict[HostPort, _Connection] = {}
        self._addresses = addresses
        self._owner = owner
        self._udp: dict[int, asyncio.DatagramTransport] = {}
        self._servers: list[asyncio.Server] = []
        self._connecting: dict[HostPort, list[tuple[Flow, bytes]]] = {}
        self._resolving = 0
        self._closed = False
        self._log = structlog.get_logger()

    async def open(self, host: str, number: int, *, tcp: bool = True) -> None:
        """Bind.

        Args:
            host: address to listen on.
            number: port; 0 takes one that is free for UDP and TCP.
            tcp: whether to take TCP connections too.

        Raises:
            PortInUse: the port is taken.
            ConfigError: the address is not one of this machine's.
        """
        hosts = ["::", "0.0.0.0"] if host == "::" else [host]
        for attempt in range(1, _FREE_PORT_TRIES + 1):
            try:
                await self._bind(hosts, number, tcp)
            except OSError as error:
                self._close_sockets()
                if error.errno == errno.EADDRINUSE:
                    if number == 0 and attempt < _FREE_PORT_TRIES:
                        continue
                    raise PortInUse(
                        f"Port {number} is in use by another program; choose another sipListenPort", "sipListenPort"
                    ) from None
                if error.errno in {errno.EACCES, errno.EPERM}:
                    raise PortInUse(
                        f"Port {number} may not be opened by this user; choose one from 1024", "sipListenPort"
                    ) from None
                raise ConfigError(f"SIP cannot listen on {host}: it is no address of this machine") from None
            self.host = host
            return

    async def _bind(self, hosts: list[str], number: int, tcp: bool) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                udp = socket.socket(family, socket.SOCK_DGRAM)
            except OSError:
                if len(hosts) > 1 and family == socket.AF_INET6:
                    continue  # a machine without IPv6
                raise
            try:
                udp.setblocking(False)
                if family == socket.AF_INET6:
                    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                # a burst of calls must not overflow the kernel's default
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.settings.receive_buffer_bytes)
                udp.bind((host, self.number))
                self.number = udp.getsockname()[1]
                transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
            except OSError as error:
                udp.close()
                if len(hosts) > 1 and family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
                    continue  # IPv6 is switched off
                raise
            self._udp[family] = transport
            if tcp:
                server = await loop.create_server(
                    lambda: _Connection(self, accepted=True), host, self.number, family=family, reuse_address=True
                )
                self._servers.append(server)

    def _close_sockets(self) -> None:
        for transport in self._udp.values():
            transport.close()
        for server in self._servers:
            server.close()
        self._udp.clear()
        self._servers.clear()

    async def close(self) -> None:
        """Close sockets and connections."""
        self._closed = True
        servers = list(self._servers)
        self._close_sockets()
        for connection in set(self.connections.values()):
            connection.abort()
        for server in servers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await server.wait_closed()
        await asyncio.sleep(0)  # lets the transports call connection_lost

    def has_room(self) -> bool:
        """Whether one more connection is taken."""
        return len(self.connections) < self.settings.max_connections and not self._closed

    def supports(self, host: str) -> bool:
        """Whether the port can send UDP to the family of *host*."""
        return (socket.AF_INET6 if ":" in host else socket.AF_INET) in self._udp

    def flow_to(self, transport: str, remote: HostPort, now: float) -> Flow:
        """Return a flow to an IP address.

        Raises:
            Unavailable: there is no route.
        """
        return Flow(transport, self.key, (self.local_address(remote[0], now), self.number), remote)

    def local_address(self, host: str, now: float) -> str:
        """Return the address by which *host* reaches us.

        Raises:
            Unavailable: there is no route.
        """
        if self.public_address:
            return self.public_address
        if self.host and not ipaddress.ip_address(self.host).is_unspecified:
            return self.host
        return self._addresses.towards(host, now)

    def on_datagram(self, data: bytes, remote: HostPort) -> None:
        """Take a datagram. Raises nothing: an exception here would make asyncio close the socket."""
        if not data.strip(b"\r\n\0") or not 0 < remote[1] < 65536:
            return  # a keep-alive, or a source that cannot be answered
        try:
            now = asyncio.get_running_loop().time()
            flow = Flow("udp", self.key, (self.local_address(remote[0], now), self.number), remote)
            self.user.on_message(data, flow)
        except Unavailable:
            return
        except Exception:
            self._log.exception("sip datagram failed")

    def send(self, flow: Flow, data: bytes) -> None:
        """Send on a flow; what cannot be sent at once waits for its name or connection, within bounds."""
        host, number = flow.remote
        if self._closed or not 0 < number < 65536:
            return
        if flow.transport == "udp":
            if is_ip(host):
                self._send_udp(flow.remote, data)
            elif self._resolving < self.settings.max_pending:
                self._resolving += 1
                self._owner.spawn(self._resolve_and_send(flow, data), "sip resolve")
            return
        connection = self.connections.get(flow.remote)
        if connection is None and flow.fallback is not None:
            connection = self.connections.get(flow.fallback)
        if connection is not None and connection.usable:
            connection.send(data)
            return
        target = flow.fallback or (flow.remote if flow.connectable else None)
        if target is None:
            self.user.on_flow_failed(flow)
            return
        waiting = self._connecting.get(target)
        if waiting is None:
            self._connecting[target] = [(flow, data)]
            self._owner.spawn(self._connect(target), "sip connect")
        elif len(waiting) < self.settings.max_pending:
            waiting.append((flow, data))

    def _send_udp(self, remote: HostPort, data: bytes) -> None:
        transport = self._udp.get(socket.AF_INET6 if ":" in remote[0] else socket.AF_INET)
        if transport is None or transport.is_closing():
            return
        if cast(asyncio.WriteTransport, transport).get_write_buffer_size() > self.settings.max_unsent_bytes:
            return  # the network card does not keep up; the transactions repeat what matters
        try:
            transport.sendto(data, remote)
        except (OSError, ValueError, OverflowError):
            self._log.warning("sip datagram not sent")

    async def _resolve_and_send(self, flow: Flow, data: bytes) -> None:
        try:
            found = await resolve_host(*flow.remote, timeout_s=self.settings.resolve_timeout_s)
        except Unavailable:
            self.user.on_flow_failed(flow)
        else:
            usable = [host for host in found if self.supports(host)]
            if usable:
                self._send_udp((usable[0], flow.remote[1]), data)
            else:
                self.user.on_flow_failed(flow)
        finally:
            self._resolving -= 1

    async def _connect(self, target: HostPort) -> None:
        loop = asyncio.get_running_loop()
        connected = False
        try:
            async with asyncio.timeout(self.settings.connect_timeout_s):
                for host in await resolve_host(*target, timeout_s=self.settings.resolve_timeout_s):
                    with contextlib.suppress(OSError):
                        await loop.create_connection(
                            lambda: _Connection(self, accepted=False, key=target), host, target[1]
                        )
                        connected = True
                        break
        except (TimeoutError, Unavailable):
            connected = False
        finally:
            waiting = self._connecting.pop(target, [])
        connection = self.connections.get(target)
        for flow, data in waiting:
            if connected and connection is not None:
                connection.send(data)
            else:
                self.user.on_flow_failed(flow)
