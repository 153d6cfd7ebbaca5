"""One connection of a SIP port: TCP, TLS or a WebSocket, opened by either side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.flow import Flow, HostPort
from gateway.sip.tls import explain
from gateway.sip.wires import Wire

if TYPE_CHECKING:
    from gateway.sip.port import SipPort

ConnectionKey = tuple[str, str, int, str]
"""Transport, host, port, and the name that the peer's certificate was checked for."""


def key_of(flow: Flow, remote: HostPort | None = None) -> ConnectionKey:
    """Return what a connection is found by."""
    host, port = remote or flow.remote
    return (flow.transport, host, port, flow.server_name)


class Connection(asyncio.Protocol):
    """One connection.

    Args:
        port: the port that it belongs to.
        wire: how messages stand in it.
        transport: the transport's name in flows.
        wanted: the flow that it is opened for; None when the peer opened it.

    Attributes:
        flow: the flow of what comes in; None until it is connected.
        opened: done when messages can be sent; its result is a sentence when they never can.
    """

    def __init__(self, port: SipPort, wire: Wire, transport: str, wanted: Flow | None = None) -> None:
        self._port = port
        self._wire = wire
        self._kind = transport
        self._wanted = wanted
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive_timer: asyncio.TimerHandle | None = None
        self._keep_alive_s = port.settings.keep_alive_s
        self._heard_s = 0.0
        self._used_s = 0.0
        self._pinged_s: float | None = None
        self._detail = ""
        self._silent = True
        self._keys: set[ConnectionKey] = set()
        self.flow: Flow | None = None
        self.opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connected socket; over TLS the handshake is done."""
        self._transport = cast(asyncio.Transport, transport)
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if peer is None or own is None or not self._port.has_room():
            self._transport.abort()
            return
        remote: HostPort = (peer[0], peer[1])
        local = self._port.public_address or own[0]
        wanted = self._wanted
        if wanted is None:
            self.flow = Flow(
                self._kind, self._port.key, (local, self._port.number), remote, connectable=False
            )  # fmt: skip
        else:
            self.flow = Flow(
                self._kind, self._port.key, (local, wanted.local[1]), remote, server_name=wanted.server_name
            )  # fmt: skip
            self._keys.add(key_of(wanted, wanted.fallback or wanted.remote))
        self._keys.add(key_of(self.flow))
        self._port.attach(self, self._keys)
        self._heard_s = self._used_s = asyncio.get_running_loop().time()
        self._flush()
        self._watch()
        self._arm_keep_alive()
        self._tell_opened()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self.flow is None:
            return
        self._heard_s = self._used_s = asyncio.get_running_loop().time()
        self._pinged_s = None
        self._silent = False
        was_partial = self._wire.partial
        try:
            messages = self._wire.feed(data)
        except RemoteProtocolError as error:
            self._detail = str(error) if not self.opened.done() else ""
            self._flush()
            self.close()
            return
        self._flush()
        self._tell_opened()
        for message in messages:
            self._port.user.on_message(message, self.flow)
        if messages or not was_partial or not self._wire.partial:
            self._watch()  # a message that trickles in does not get more time with each byte

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the flow's users."""
        for timer in (self._timer, self._keep_alive_timer):
            if timer is not None:
                timer.cancel()
        self._port.detach(self, self._keys)
        if self.flow is not None:
            self._detail = self._detail or explain(exc, self.flow.server_name or self.flow.remote[0])
            if not self._detail and self._silent and self._wanted is not None and self._kind in {"tls", "wss"}:
                # TLS 1.3 tells the client only after its own handshake is done, and not every server says it
                self._detail = (
                    "The SIP server closed the TLS connection at once; it may want a client certificate that it trusts"
                )
        if not self.opened.done():
            self.opened.set_result(self._detail or "The SIP server closed the connection")
        if self.flow is not None:
            self._port.user.on_flow_failed(self.flow, self._detail)

    # out

    def send(self, message: bytes) -> None:
        """Send a message."""
        self._used_s = asyncio.get_running_loop().time()
        self._wire.write(message)
        self._flush()

    def _flush(self) -> None:
        transport = self._transport
        for piece in self._wire.output():
            if transport is None or transport.is_closing():
                return
            if piece:
                transport.write(piece)
            else:
                transport.close()
        if transport is not None and transport.get_write_buffer_size() > self._port.settings.max_unsent_bytes:
            transport.abort()

    def _tell_opened(self) -> None:
        if self._wire.ready and not self.opened.done():
            self.opened.set_result("")

    @property
    def usable(self) -> bool:
        """Whether a message can be sent now."""
        return self._transport is not None and not self._transport.is_closing() and self._wire.ready

    def close(self) -> None:
        """Close after what is on its way."""
        self._silent = False
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._silent = False
        if self._transport is not None:
            self._transport.abort()

    # time

    def _watch(self) -> None:
        settings = self._port.settings
        wait = None
        if self._wire.partial:
            wait = settings.partial_message_s
        elif self._wanted is None:
            wait = settings.connection_idle_s
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait is not None:
            self._timer = asyncio.get_running_loop().call_later(wait, self.close)

    def _arm_keep_alive(self) -> None:
        if self._wanted is None and self.flow is not None and not self.flow.is_websocket:
            return  # over TCP and TLS it is the client who keeps a flow alive (RFC 5626 section 4.4.1)
        self._keep_alive_timer = asyncio.get_running_loop().call_later(self._keep_alive_s, self._keep_alive)

    def ping_within(self, flow_timer_s: int | None) -> None:
        """Ping after at most 0.8 of the silence that the server allows; as before where it names none."""
        most_s = self._port.settings.keep_alive_s
        every_s = most_s if flow_timer_s is None else min(most_s, 0.8 * flow_timer_s)
        if every_s != self._keep_alive_s and self._keep_alive_timer is not None:
            self._keep_alive_s = every_s
            self._keep_alive_timer.cancel()
            self._arm_keep_alive()

    def _keep_alive(self) -> None:
        """Ping an idle connection; a peer that answers pings and leaves one unanswered is gone."""
        loop, settings = asyncio.get_running_loop(), self._port.settings
        if self._pinged_s is not None and self._wire.answers_pings:
            self._detail = "The SIP server does not answer on its connection any more"
            self.abort()
            return
        wait = self._used_s + self._keep_alive_s - loop.time()
        if wait <= 0:
            self._wire.ping()
            self._flush()
            self._pinged_s = self._used_s = loop.time()
            # whether a server knows of pings is seen by its first pong only
            wait = settings.pong_timeout_s if self._wire.answers_pings else self._keep_alive_s
        self._keep_alive_timer = loop.call_later(wait, self._keep_alive)
