"""Messages in a byte stream (RFC 3261 section 18.3, RFC 5626 section 4.4.1)."""

from __future__ import annotations

import re
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.text import parse_int

_LENGTH: Final = re.compile(rb"\r\n(?:content-length|l)[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE)
PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"


class StreamFramer:
    """Cuts a stream into messages.

    Args:
        max_message_bytes: longest message, headers and body together.
        max_header_bytes: longest header part.
    """

    def __init__(self, *, max_message_bytes: int = 65_535, max_header_bytes: int = 16_384) -> None:
        self._max_message_bytes = max_message_bytes
        self._max_header_bytes = max_header_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._need = 0

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of their message; a lone line end (a keep-alive pong) waits for nothing."""
        return 0 if PING.startswith(self._buffer) else len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the whole messages; a keep-alive ping is returned as ``PING``.

        Raises:
            RemoteProtocolError: the stream cannot be followed any more; close it.
        """
        self._buffer += data
        messages: list[bytes] = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if not self._need:
            if buffer.startswith(PING):
                del buffer[: len(PING)]
                return PING
            if PING.startswith(buffer):
                return None
            while buffer.startswith(PONG):
                del buffer[: len(PONG)]
            end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
            if end < 0:
                self._searched = len(buffer)
                if len(buffer) > self._max_header_bytes:
                    raise RemoteProtocolError("the headers are too long", 513)
                return None
            self._need = self._length(end + 4)
        if len(buffer) < self._need:
            return None
        message = bytes(buffer[: self._need])
        del buffer[: self._need]
        self._need = self._searched = 0
        return message

    def _length(self, header_bytes: int) -> int:
        values = {value.strip() for value in _LENGTH.findall(self._buffer[: header_bytes - 2])}
        if len(values) > 1:
            raise RemoteProtocolError("Content-Length contradicts itself")
        body_bytes = parse_int(values.pop().decode("ascii", "replace"), "Content-Length") if values else 0
        if header_bytes + body_bytes > self._max_message_bytes:
            raise RemoteProtocolError("the message is too long", 513)
        return header_bytes + body_bytes
