"""The connection to one rtpengine: ng over UDP, and whether it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog

from gateway.domain.errors import PonteError, Unavailable
from gateway.protocol.ng import Answered, Failed, MediaServerSilent, NgRequests, NgTiming, Transmit
from gateway.protocol.ng.bencode import Value
from gateway.protocol.ng.requests import Answer

PING_S: Final = 1.0
_STALE_S: Final = 30.0  # after which a host that does not answer is looked up again


class NgClient(asyncio.DatagramProtocol):
    """Asks an rtpengine; use it inside ``async with client.running()``.

    Args:
        host: its address or name.
        port: of ``listen-ng``.
        timing: of requests.
        ping_s: seconds between pings, which say whether it is there.
    """

    def __init__(self, host: str, port: int, *, timing: NgTiming | None = None, ping_s: float = PING_S) -> None:
        self._host, self._port = host, port
        self._core = NgRequests(secrets.token_hex(8), timing)
        self._ping_s = ping_s
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._down = "it was not asked yet"
        self._opening = asyncio.Lock()
        self._log = structlog.get_logger("ponte.rtpengine")

    @property
    def up(self) -> bool:
        """Whether it answered the last ping."""
        return not self._down

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the connection inside the block."""
        async with asyncio.TaskGroup() as group:
            pinging = group.create_task(self._ping_forever())
            try:
                yield
            finally:
                pinging.cancel()
                self.close()

    async def check(self) -> None:
        """Raise `Unavailable` where it is not there; for health checks."""
        if self._down:
            raise Unavailable(f"rtpengine at {self._host} port {self._port} cannot be used: {self._down}")

    async def ping(self) -> None:
        """Ask whether it is there.

        Raises:
            Unavailable: it is not; the sentence says why.
        """
        try:
            async with self._opening:
                if self._transport is None:
                    await self._open()
            await self._ask({"command": "ping"})
        except PonteError as error:
            self._tell(str(error))
            raise
        except OSError as error:
            self._tell(f"{self._host} cannot be reached ({error.strerror or type(error).__name__})")
            raise Unavailable(self._down) from None
        self._tell("")

    def _tell(self, down: str) -> None:
        """Note why it cannot be used; empty: it can."""
        if down and not self._down:
            self._log.warning("rtpengine_down", error=down)
        elif self._down and not down:
            self._log.info("rtpengine_up")
        self._down = down

    async def request(self, command: str, **fields: Value) -> Answer:
        """Ask for *command*; names of fields have ``-`` where these have ``_``.

        Raises:
            Unavailable: it is down, is full, or does not know the call.
            MediaServerRefused: it said no.
        """
        await self.check()
        return await self._ask({"command": command, **{name.replace("_", "-"): one for name, one in fields.items()}})

    async def _ask(self, message: dict[str, Value]) -> Answer:
        if self._transport is None:  # it would neither be sent nor given up
            raise MediaServerSilent("there is no connection to rtpengine")
        loop = asyncio.get_running_loop()
        number = self._core.request(message, loop.time())
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting[number] = future
        self._drain()
        try:
            return await future
        finally:
            del self._waiting[number]
            self._core.forget(number)

    async def _ping_forever(self) -> None:
        silent_s = 0.0
        while True:
            try:
                await self.ping()
                silent_s = 0.0
            except PonteError as error:
                silent_s += self._ping_s
                if not isinstance(error, MediaServerSilent) or silent_s >= _STALE_S:
                    silent_s = 0.0
                    self.close()
            await asyncio.sleep(self._ping_s)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        await loop.create_datagram_endpoint(lambda: self, remote_addr=(str(found[0][4][0]), self._port))

    def close(self) -> None:
        """Give up the socket; who waits is told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(MediaServerSilent("the connection to rtpengine was closed"))

    # asyncio.DatagramProtocol

    def connection_made(self, transport: Any) -> None:
        """Take the socket."""
        self._transport = transport

    def datagram_received(self, data: bytes, _: Any) -> None:
        """Take an answer."""
        self._core.receive(data)
        self._drain()

    def error_received(self, error: Exception) -> None:
        """Nobody listens there now. What is open is sent again until its time is over: it may be back by then."""
        if isinstance(error, ConnectionRefusedError):
            self._tell("nobody listens there")

    def _drain(self) -> None:
        for one in self._core.poll():
            match one:
                case Transmit(data=data):
                    if self._transport is not None:
                        self._transport.sendto(data)
                case Answered(request=number, answer=answer):
                    if (future := self._waiting.get(number)) is not None and not future.done():
                        future.set_result(answer)
                case Failed(request=number, error=error):
                    if (future := self._waiting.get(number)) is not None and not future.done():
                        future.set_exception(error)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.next_timeout()
        if due is not None and self._transport is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._core.handle_timeout(asyncio.get_running_loop().time())
        self._drain()
