"""A program of the benches that is asked by JSON objects on its stdin, one a line, and answers each on its stdout."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[3]
_END_S: Final = 15.0
_LINE_BYTES: Final = 1 << 20


class Asked:
    """A program that runs.

    Attributes:
        pid: its process id.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._name = name
        self._process = process

    async def ask(self, do: str, *, timeout_s: float = 60, **values: Any) -> dict[str, Any]:
        """Ask it to *do* something; return its answer.

        Raises:
            RuntimeError: it ended.
            TimeoutError: it took too long.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **values}).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        if not line:
            raise RuntimeError(f"{self._name} ended while it was asked to {do}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.asynccontextmanager
async def asked(module: str, *arguments: str) -> AsyncIterator[Asked]:
    """Run a Python module for the length of the block; it ends when its stdin does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT, limit=_LINE_BYTES,
    )  # fmt: skip
    assert process.stdin is not None
    try:
        yield Asked(module, process)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def answer_lines(do: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """Let *do* answer each line of stdin, until its end."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await do(json.loads(line))), flush=True)
