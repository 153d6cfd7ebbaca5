"""One SIP port: UDP sockets and listeners of the same number, and the connections that belong to it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog

from gateway.domain.errors import ConfigError, Unavailable
from gateway.protocol.sip.flow import Flow, HostPort, is_ip
from gateway.protocol.sip.framing import PING
from gateway.protocol.sip.stun import binding_answer, is_stun
from gateway.sip.connection import Connection, ConnectionKey, key_of
from gateway.sip.resolver import resolve_host
from gateway.sip.settings import StackSettings
from gateway.sip.tasks import TaskOwner
from gateway.sip.tls import TlsContexts, explain, explain_broken
from gateway.sip.wires import StreamWire, WebSocketWire, Wire

_FREE_PORT_TRIES = 20
_OVER_TLS = frozenset({"tls", "wss"})


class PortInUse(ConfigError):
    """The listening port is taken."""

    code = "port_in_use"


@dataclass(frozen=True, slots=True)
class PortUser:
    """What a port tells: a message that came in, a flow that cannot be used any more and a sentence why."""

    on_message: Callable[[bytes, Flow], None]
    on_flow_failed: Callable[[Flow, str], None]


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


class SipPort:
    """The sockets of one port number.

    Args:
        key: its name in flows.
        user: who takes messages.
        settings: limits.
        addresses: finds local addresses.
        owner: owns the tasks that connect.
        tls: certificates and trust.

    Attributes:
        numbers: port by transport under which others reach us, where it is another than this one.
    """

    def __init__(
        self,
        key: int,
        user: PortUser,
        settings: StackSettings,
        addresses: LocalAddresses,
        owner: TaskOwner,
        tls: TlsContexts,
    ) -> None:
        self.key = key
        self.user = user
        self.settings = settings
        self.number = 0
        self.host = ""
        self._one_address = False
        self.public_address = ""
        self.numbers: dict[str, int] = {}
        self.connections: dict[ConnectionKey, Connection] = {}
        self._live: set[Connection] = set()
        self._tls = tls
        self._addresses = addresses
        self._owner = owner
        self._udp: dict[int, asyncio.DatagramTransport] = {}
        self._servers: list[asyncio.Server] = []
        self._connecting: dict[ConnectionKey, list[tuple[Flow, bytes]]] = {}
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
                if error.errno == errno.EADDRINUSE and number == 0 and attempt < _FREE_PORT_TRIES:
                    continue
                raise _not_bound(error, host, number, "sipListenPort") from None
            self._take_host(host)
            return

    async def open_listener(self, transport: str, host: str, number: int, field: str) -> None:
        """Take connections of one transport only.

        Args:
            transport: ``tls``, ``ws`` or ``wss``.
            host: address to listen on.
            number: port; 0 takes a free one.
            field: the setting to name when that fails.

        Raises:
            PortInUse: the port is taken.
            ConfigError: the address is not one of this machine's, or the certificate cannot be used.
        """
        context = self._tls.server() if transport in _OVER_TLS else None
        self.number = number
        try:
            for one in ["::", "0.0.0.0"] if host == "::" else [host]:
                await self._listen(transport, one, len(self._servers) > 0 or host != "::", context)
        except OSError as error:
            self._close_sockets()
            raise _not_bound(error, host, number, field) from None
        self._take_host(host)

    def _take_host(self, host: str) -> None:
        self.host = host
        self._one_address = not ipaddress.ip_address(host).is_unspecified

    async def _listen(self, transport: str, host: str, needed: bool, context: ssl.SSLContext | None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self, self._wire(transport), transport), host, self.number, family=family,
                reuse_address=True, ssl=context,
                ssl_handshake_timeout=self.settings.connect_timeout_s if context else None,
            )  # fmt: skip
        except OSError as error:
            if not needed and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                return  # a machine without IPv6
            raise
        self._servers.append(server)
        self.number = server.sockets[0].getsockname()[1]

    def _wire(self, transport: str, target: Flow | None = None) -> Wire:
        settings = self.settings
        if transport not in {"ws", "wss"}:
            return StreamWire(settings.max_message_bytes)
        if target is None:
            return WebSocketWire(settings.max_message_bytes, origins=settings.websocket_origins)
        host, number = target.fallback or target.remote
        url = (target.server_name or host, number, settings.websocket_path, transport == "wss")
        return WebSocketWire(settings.max_message_bytes, url)

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
                await self._listen("tcp", host, True, None)

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
        for connection in list(self._live):
            connection.abort()
        for server in servers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await server.wait_closed()
        await asyncio.sleep(0)  # lets the transports call connection_lost

    def has_room(self) -> bool:
        """Whether one more connection is taken."""
        return len(self._live) < self.settings.max_connections and not self._closed

    def attach(self, connection: Connection, keys: set[ConnectionKey]) -> None:
        """Use a connection for what goes to *keys*."""
        self._live.add(connection)
        for key in keys:
            self.connections[key] = connection

    def detach(self, connection: Connection, keys: set[ConnectionKey]) -> None:
        """Forget a connection."""
        self._live.discard(connection)
        for key in keys:
            if self.connections.get(key) is connection:
                del self.connections[key]

    def supports(self, host: str) -> bool:
        """Whether the port can send UDP to the family of *host*."""
        return (socket.AF_INET6 if ":" in host else socket.AF_INET) in self._udp

    def keep_alive(self, flow: Flow, flow_timer_s: int | None) -> None:
        """Ping the connection of *flow* before its server gives it up (RFC 5626 section 4.4.1).

        Args:
            flow: the flow.
            flow_timer_s: what the server said; None: nothing.
        """
        for connection in self._live:
            if connection.flow == flow:
                connection.ping_within(flow_timer_s)

    def ping(self, remote: HostPort) -> None:
        """Send a line end over UDP: everybody who listens for SIP passes over it."""
        self._send_udp(remote, PING)

    def flow_to(self, transport: str, remote: HostPort, now: float, server_name: str = "") -> Flow:
        """Return a flow to an IP address.

        Args:
            transport: one of the transports.
            remote: the address.
            now: monotonic seconds.
            server_name: whom the peer's certificate must name; empty: the address.

        Raises:
            Unavailable: there is no route.
        """
        local = (self.local_address(remote[0], now), self.numbers.get(transport, self.number))
        return Flow(transport, self.key, local, remote, server_name=server_name)

    def local_address(self, host: str, now: float) -> str:
        """Return the address by which *host* reaches us.

        Raises:
            Unavailable: there is no route.
        """
        if self.public_address:
            return self.public_address
        if self._one_address:
            return self.host
        return self._addresses.towards(host, now)

    def on_datagram(self, data: bytes, remote: HostPort) -> None:
        """Take a datagram. Raises nothing: an exception here would make asyncio close the socket."""
        if not data.strip(b"\r\n\0") or not 0 < remote[1] < 65536:
            return  # a keep-alive, or a source that cannot be answered
        try:
            if is_stun(data):
                if (answer := binding_answer(data, remote)) is not None:
                    self._send_udp(remote, answer)
                return
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
        connection = self.connections.get(key_of(flow))
        if connection is None and flow.fallback is not None:
            connection = self.connections.get(key_of(flow, flow.fallback))
        if connection is not None and connection.usable:
            connection.send(data)
            return
        if flow.fallback is None and not flow.connectable:
            self.user.on_flow_failed(flow, "")
            return
        target = key_of(flow, flow.fallback)
        waiting = self._connecting.get(target)
        if waiting is None:
            self._connecting[target] = [(flow, data)]
            self._owner.spawn(self._connect(target, flow), "sip connect")
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
        except Unavailable as error:
            self.user.on_flow_failed(flow, str(error))
        else:
            usable = [host for host in found if self.supports(host)]
            if usable:
                self._send_udp((usable[0], flow.remote[1]), data)
            else:
                self.user.on_flow_failed(flow, "")
        finally:
            self._resolving -= 1

    async def _connect(self, key: ConnectionKey, flow: Flow) -> None:
        """Open the connection that *flow* needs, then send what waits for it or say why it cannot be sent."""
        detail = ""
        connection: Connection | None = None
        patience_s = self.settings.spare_connect_timeout_s if flow.spare else self.settings.connect_timeout_s
        try:
            async with asyncio.timeout(patience_s):
                for host in await resolve_host(*key[1:3], timeout_s=self.settings.resolve_timeout_s):
                    connection, detail = await self._connect_to(host, flow)
                    if connection is not None:
                        break
        except TimeoutError:
            detail = "The SIP server's address did not answer in time"
        except (Unavailable, ConfigError) as error:
            detail = str(error)
        finally:
            waiting = self._connecting.pop(key, [])
        for one, data in waiting:
            if connection is not None and connection.usable:
                connection.send(data)
            else:
                self.user.on_flow_failed(one, detail)

    async def _connect_to(self, host: str, flow: Flow) -> tuple[Connection | None, str]:
        target, number = flow.fallback or flow.remote
        name = flow.server_name or target
        context = self._tls.client() if flow.transport in _OVER_TLS else None
        opening: Connection | None = None

        def make() -> Connection:
            nonlocal opening
            opening = Connection(self, self._wire(flow.transport, flow), flow.transport, flow)
            return opening

        try:
            await asyncio.get_running_loop().create_connection(
                make, host, number, ssl=context, server_hostname=name if context else None
            )
            assert opening is not None
            detail = await opening.opened
        except OSError as error:
            return None, explain(error, name) or (explain_broken(error) if context else "")
        except asyncio.CancelledError:
            if opening is not None:
                opening.abort()
            raise
        if detail:
            return None, detail
        return opening, ""


def _not_bound(error: OSError, host: str, number: int, field: str) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(f"Port {number} is in use by another program; choose another {field}", field)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return PortInUse(f"Port {number} may not be opened by this user; choose one from 1024", field)
    return ConfigError(f"SIP cannot listen on {host}: it is no address of this machine")
