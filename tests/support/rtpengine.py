"""Debian's rtpengine in userspace mode, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.protocol.ng.bencode import encode
from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import Process, running

INSTALLED: Final = shutil.which("rtpengine")
NOT_INSTALLED: Final = "rtpengine is not installed (Debian: rtpengine-daemon)"
_RTP_PORTS: Final = 200


@dataclass(slots=True)
class Rtpengine:
    """A running rtpengine.

    Attributes:
        process: the daemon.
        port: of ng, on loopback.
        keys_port: where it tells keys, on loopback.
        folder: for logs.
        media_ports: the first and the last.
    """

    process: Process
    port: int
    keys_port: int
    folder: Path
    media_ports: tuple[int, int]

    async def kill(self) -> None:
        """End it at once; nothing is told to anybody."""
        self.process.signal(signal.SIGKILL)
        await self.process.wait_end(timeout_s=10)


def _command(engine: Rtpengine) -> list[str]:
    return [
        INSTALLED or "rtpengine", "--foreground", "--table=-1", "--log-stderr", "--log-level=6", "--num-threads=2",
        f"--interface={LOOPBACK}", f"--listen-ng={LOOPBACK}:{engine.port}",
        f"--port-min={engine.media_ports[0]}", f"--port-max={engine.media_ports[1]}",
        f"--dtmf-log-dest={LOOPBACK}:{engine.keys_port}", "--delete-delay=0", "--config-file=none",
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def rtpengine(folder: Path, *, like: Rtpengine | None = None) -> AsyncIterator[Rtpengine]:
    """Run an rtpengine inside the block.

    Args:
        folder: for its log.
        like: one that has ended, in whose place this one comes: the same ports.
    """
    if like is None:
        port, media = free_ports(2), free_ports(_RTP_PORTS)
        engine = Rtpengine(Process("rtpengine", 0, folder), port, port + 1, folder, (media, media + _RTP_PORTS - 1))
    else:
        engine = Rtpengine(like.process, like.port, like.keys_port, folder, like.media_ports)
    async with running("rtpengine", _command(engine), log=folder / "rtpengine.log") as process:
        engine.process = process
        await _answers(engine)
        yield engine


async def _answers(engine: Rtpengine) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.connect((LOOPBACK, engine.port))
        loop = asyncio.get_running_loop()
        for _ in range(100):
            assert engine.process.alive(), engine.process.tail()
            with contextlib.suppress(OSError, TimeoutError):
                await loop.sock_sendall(asking, b"up " + encode({"command": "ping"}))
                async with asyncio.timeout(0.2):
                    if b"pong" in await loop.sock_recv(asking, 2048):
                        return
            await asyncio.sleep(0.05)
    raise TimeoutError(f"rtpengine does not answer:\n{engine.process.tail()}")
