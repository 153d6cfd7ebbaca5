"""How messages stand in a connection: one after another in a stream, or each in a WebSocket message (RFC 7118)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol
from websockets.uri import WebSocketURI

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.framing import PING, PONG, StreamFramer

_SUBPROTOCOL: Final = Subprotocol("sip")


class Wire(Protocol):
    """Turns bytes of a connection into messages and back; no sockets."""

    @property
    def ready(self) -> bool:
        """Whether messages can be sent."""

    @property
    def partial(self) -> bool:
        """Whether the peer has begun something that it must end soon."""

    @property
    def answers_pings(self) -> bool:
        """Whether a ping that is not answered means that the peer is gone."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return whole messages.

        Raises:
            RemoteProtocolError: the connection cannot go on; the sentence is for people.
        """

    def write(self, message: bytes) -> None:
        """Put a message into the output."""

    def ping(self) -> None:
        """Put a keep-alive into the output."""

    def output(self) -> list[bytes]:
        """Take what is to be sent; an empty piece closes the connection."""


class StreamWire:
    """Messages in TCP or TLS, with the keep-alives of RFC 5626 section 4.4.1.

    Args:
        max_message_bytes: longest message.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._framer = StreamFramer(max_message_bytes=max_message_bytes)
        self._output: list[bytes] = []
        self.ready = True
        self.answers_pings = False

    @property
    def partial(self) -> bool:
        """Whether a message has begun."""
        return self._framer.buffered > 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return whole messages; a ping is answered.

        Raises:
            RemoteProtocolError: the stream cannot be followed.
        """
        if data == PONG and not self.partial:
            self.answers_pings = True
        messages = []
        for message in self._framer.feed(data):
            if message == PING:
                self._output.append(PONG)
            else:
                messages.append(message)
        return messages

    def write(self, message: bytes) -> None:
        """Put a message into the output."""
        self._output.append(message)

    def ping(self) -> None:
        """Put a double CRLF into the output."""
        self._output.append(PING)

    def output(self) -> list[bytes]:
        """Take what is to be sent."""
        output, self._output = self._output, []
        return output


class WebSocketWire:
    """Messages in a WebSocket with the subprotocol ``sip``.

    Args:
        max_message_bytes: longest message.
        url: where we connect to: host, port, path, and whether over TLS; None when the peer connected to us.
        origins: of the pages that may connect to us; none: any. Who sends no ``Origin`` is no browser, and may.
    """

    def __init__(
        self, max_message_bytes: int, url: tuple[str, int, str, bool] | None = None, origins: Sequence[str] = ()
    ) -> None:
        # the library's own log would tell of each frame, personal data and all
        logger = logging.Logger("gateway.sip.websocket", logging.CRITICAL)
        self._core: ClientProtocol | ServerProtocol
        if url is None:
            allowed = [None, *(Origin(origin) for origin in origins)] if origins else None
            self._core = ServerProtocol(
                origins=allowed, subprotocols=[_SUBPROTOCOL], max_size=max_message_bytes, logger=logger
            )
        else:
            host, port, path, secure = url
            uri = WebSocketURI(secure, host, port, path, "")
            self._core = ClientProtocol(uri, subprotocols=[_SUBPROTOCOL], max_size=max_message_bytes, logger=logger)
            self._core.send_request(self._core.connect())
        self._pieces = bytearray()
        self._message_open = False
        self.answers_pings = True  # RFC 6455 section 5.5.2: must

    @property
    def ready(self) -> bool:
        """Whether the handshake is done and nobody is closing."""
        return self._core.state is State.OPEN

    @property
    def partial(self) -> bool:
        """Whether the handshake or a message has begun."""
        return not self.ready or self._message_open

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return whole messages.

        Raises:
            RemoteProtocolError: the handshake failed.
        """
        self._core.receive_data(data)
        messages = []
        for event in self._core.events_received():
            if isinstance(event, Request) and isinstance(self._core, ServerProtocol):
                self._core.send_response(self._core.accept(event))
            elif isinstance(event, Frame):
                message = self._take_frame(event)
                if message:
                    messages.append(message)
        if isinstance(self._core, ClientProtocol):
            self._check_answer(self._core)
        return messages

    def _take_frame(self, frame: Frame) -> bytes | None:
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            self._pieces += frame.data
            self._message_open = not frame.fin
            if frame.fin:
                message = bytes(self._pieces)
                self._pieces.clear()
                return message
        return None

    @staticmethod
    def _check_answer(core: ClientProtocol) -> None:
        error = core.handshake_exc
        if isinstance(error, InvalidStatus):
            raise RemoteProtocolError(f"The SIP server answered the WebSocket with {error.response.status_code}")
        if error is not None or (core.state is State.OPEN and core.subprotocol != _SUBPROTOCOL):
            raise RemoteProtocolError("The SIP server does not speak SIP over WebSocket on this port")

    def write(self, message: bytes) -> None:
        """Put a message into the output; text where it is UTF-8 (RFC 7118 section 4.2)."""
        if not self.ready:
            return
        try:
            message.decode()
        except UnicodeDecodeError:
            self._core.send_binary(message)
        else:
            self._core.send_text(message)

    def ping(self) -> None:
        """Put a Ping frame into the output."""
        if self.ready:
            self._core.send_ping(b"ponte")

    def output(self) -> list[bytes]:
        """Take what is to be sent; an empty piece closes the connection."""
        return self._core.data_to_send()
