"""Clients of the HTTP API, in a process of their own: so many requests a second, by the clock, on a few connections.

    {"do": "run", "port": 8080, "key": "ponte_…", "path": "/call/bridge/status", "per_s": 300, "seconds": 8}
        -> {"sent": 2400, "statuses": {"200": 2400}, "p50_ms": …, "p99_ms": …, "longest_ms": …}

A request that is due while all connections wait is sent late, and its time counts from when it was due.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import Any, Final

from tests.bench.load.lines import answer_lines
from tests.bench.load.sdp import HOST

_CONNECTIONS: Final = 8
_TIMEOUT_S: Final = 20.0


class Clients:
    """The connections of one run.

    Args:
        port: of the API.
        request: what each sends.
    """

    def __init__(self, port: int, request: bytes) -> None:
        self._port, self._request = port, request
        self._due: asyncio.Queue[float | None] = asyncio.Queue()
        self.took_s: list[float] = []
        self.statuses: Counter[str] = Counter()

    async def run(self, per_s: float, seconds: float) -> None:
        """Send at the pace that is asked for, and wait for the answers."""
        async with asyncio.timeout(seconds + _TIMEOUT_S), asyncio.TaskGroup() as group:
            for _ in range(_CONNECTIONS):
                group.create_task(self._connection())
            started_s = time.perf_counter()
            for number in range(round(per_s * seconds)):
                due_s = started_s + number / per_s
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                self._due.put_nowait(due_s)
            for _ in range(_CONNECTIONS):
                self._due.put_nowait(None)

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            while (due_s := await self._due.get()) is not None:
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?i)^content-length: *(\d+)", head, re.MULTILINE)
                assert length is not None
                await reader.readexactly(int(length[1]))
                self.took_s.append(time.perf_counter() - due_s)
                self.statuses[head.split(" ", 2)[1]] += 1
        finally:
            writer.close()


async def do(command: dict[str, Any]) -> dict[str, Any]:
    """Do what a line says; return the figures."""
    head = f"GET {command['path']} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {command['key']}\r\n\r\n"
    clients = Clients(int(command["port"]), head.encode())
    await clients.run(float(command["per_s"]), float(command["seconds"]))
    took_s = sorted(clients.took_s)
    return {
        "sent": len(took_s),
        "statuses": dict(clients.statuses),
        "p50_ms": 1000 * took_s[len(took_s) // 2],
        "p99_ms": 1000 * took_s[len(took_s) * 99 // 100],
        "longest_ms": 1000 * took_s[-1],
    }


if __name__ == "__main__":
    asyncio.run(answer_lines(do))
