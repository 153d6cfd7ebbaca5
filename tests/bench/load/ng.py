"""As much of rtpengine's ng protocol as the benches need: bencoded dictionaries over UDP, a cookie before each."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any, Final, Self

_ANSWER_S: Final = 5.0


def bencode(value: Any) -> bytes:
    """Return *value*, of dictionaries, lists, strings and whole numbers, in bencoding."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(bencode(item) for item in value) + b"e"
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(item) for key, item in sorted(value.items())) + b"e"
    raise TypeError(f"{type(value).__name__} has no bencoding")


def bdecode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """Return the value that begins at *at*, its strings as str, and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in {b"l", b"d"}:
        at += 1
        items = []
        while data[at : at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(errors="replace"), end


class NgClient(asyncio.DatagramProtocol):
    """A client of one rtpengine."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._waiting: dict[bytes, asyncio.Future[dict[str, Any]]] = {}

    @classmethod
    async def connect(cls, host: str, port: int) -> Self:
        """Return a client of the rtpengine that listens there."""
        _, client = await asyncio.get_running_loop().create_datagram_endpoint(cls, remote_addr=(host, port))
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        cookie, _, rest = data.partition(b" ")
        if waiting := self._waiting.pop(cookie, None):
            waiting.set_result(bdecode(rest)[0])

    def error_received(self, error: Exception) -> None:
        """It does not listen yet: who asked notices by the clock."""

    async def ask(self, command: dict[str, Any], timeout_s: float = _ANSWER_S) -> dict[str, Any]:
        """Return the answer to *command*.

        Raises:
            RuntimeError: rtpengine refused.
            TimeoutError: there was no answer.
        """
        cookie = secrets.token_hex(8).encode()
        answer = self._waiting[cookie] = asyncio.get_running_loop().create_future()
        self._transport.sendto(cookie + b" " + bencode(command))
        try:
            found: dict[str, Any] = await asyncio.wait_for(answer, timeout_s)
        finally:
            self._waiting.pop(cookie, None)
        if found["result"] == "error":
            raise RuntimeError(f"rtpengine refused: {found.get('error-reason')}")
        return found

    async def wait_ready(self, timeout_s: float) -> None:
        """Return once it answers a ping.

        Raises:
            TimeoutError: it does not come up.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await self.ask({"command": "ping"}, 0.3)
                return
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()
