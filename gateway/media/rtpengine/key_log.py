"""Telephone keys that rtpengine tells of: JSON over UDP to where its ``dtmf-log-dest`` leads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from gateway.domain.errors import ConfigError
from gateway.protocol.dtmf import DIGITS, MAX_KEY_MS, KeyPress

OnRoomKey = Callable[[str, str, KeyPress], None]
"""Takes the name of a call at rtpengine, the tag whose key it is, and the key."""

_MAX_BYTES: Final = 4096


def parse_key(data: bytes) -> tuple[str, str, KeyPress] | None:
    """Return call, tag and key of a datagram; None where it is no key."""
    if len(data) > _MAX_BYTES:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("type") != "DTMF":
        return None
    room, tag, event, duration = (found.get(name) for name in ("callid", "source_tag", "event", "duration"))
    if not (isinstance(room, str) and isinstance(tag, str) and isinstance(event, int) and isinstance(duration, int)):
        return None
    if not 0 <= event < len(DIGITS) or duration < 0:
        return None
    return room, tag, KeyPress(DIGITS[event], min(duration, MAX_KEY_MS))


class KeyLog(asyncio.DatagramProtocol):
    """Listens for keys.

    The name of a call is random and known to rtpengine alone, so nobody else can tell a key of it.

    Args:
        host: address to listen on.
        port: UDP port.
        on_key: takes each key.
    """

    def __init__(self, host: str, port: int, on_key: OnRoomKey) -> None:
        self._address = (host, port)
        self._on_key = on_key

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen inside the block.

        Raises:
            ConfigError: the port cannot be had.
        """
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self._address)
        except OSError as error:
            raise ConfigError(f"Keys of rtpengine cannot be listened for: {error.strerror}", "rtpengine_keys") from None
        try:
            yield
        finally:
            transport.close()

    def datagram_received(self, data: bytes, _: Any) -> None:
        """Take a key."""
        found = parse_key(data)
        if found is not None:
            self._on_key(*found)
