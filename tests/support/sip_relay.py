"""A UDP relay between two SIP user agents on loopback that loses and delays what it carries."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

from tests.support.ports import LOOPBACK

Address = tuple[str, int]


class _Side(asyncio.DatagramProtocol):
    def __init__(self, relay: Relay, name: str) -> None:
        self._relay, self._name = relay, name
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._relay.carry(self._name, data, (addr[0], addr[1]))


class Relay:
    """Stands between a caller and a callee: each knows the other by the relay's address, in what they write too.

    A datagram is lost with probability *loss*, but the same one at most four times in a row, so that a test over real
    sockets, whose order no seed can fix, does not fail by chance.

    Attributes:
        loss: may be changed at any time.
        lost: how many datagrams were lost.
        carried: how many were not.
    """

    def __init__(self, callee: Address, seed: int) -> None:
        self.loss = 0.0
        self.lost = self.carried = 0
        self._random = random.Random(seed)
        self._in_a_row: Counter[bytes] = Counter()
        self._ends: dict[str, Address] = {"callee": callee}
        self.sides: dict[str, _Side] = {name: _Side(self, name) for name in ("caller", "callee")}

    def address(self, name: str) -> Address:
        """The relay's address towards *name*."""
        transport = self.sides[name].transport
        assert transport is not None
        host, port = transport.get_extra_info("sockname")
        return host, port

    def carry(self, name: str, data: bytes, source: Address) -> None:
        """Take what came from *name*."""
        self._ends[name] = source
        other = "callee" if name == "caller" else "caller"
        if self._random.random() < self.loss and self._in_a_row[data] < 4:
            self._in_a_row[data] += 1
            self.lost += 1
            return
        self._in_a_row.pop(data, None)
        self.carried += 1
        # ports of the kernel's range have five digits: no Content-Length changes
        written = data.replace(b"%s:%d" % (LOOPBACK.encode(), source[1]), b"%s:%d" % (
            LOOPBACK.encode(), self.address(other)[1]))  # fmt: skip
        delay_s = self._random.uniform(0.0, 0.04) if self.loss else 0.0  # they overtake each other
        asyncio.get_running_loop().call_later(delay_s, self._send, other, written)

    def _send(self, name: str, data: bytes) -> None:
        transport = self.sides[name].transport
        if transport is not None and not transport.is_closing() and name in self._ends:
            transport.sendto(data, self._ends[name])


@contextlib.asynccontextmanager
async def lossy_relay(callee: Address, seed: int) -> AsyncIterator[Relay]:
    """Run a relay in front of *callee*; it loses nothing until it is told to."""
    relay = Relay(callee, seed)
    loop = asyncio.get_running_loop()
    try:
        for side in relay.sides.values():
            await loop.create_datagram_endpoint(lambda side=side: side, local_addr=(LOOPBACK, 0))  # type: ignore[misc]
        yield relay
    finally:
        for side in relay.sides.values():
            if side.transport is not None:
                side.transport.close()
