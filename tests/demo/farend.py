"""The stand-in WhatsApp as a program of its own, and its remote control."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.support.audio import Samples, parse_wav, wav_bytes
from tests.support.ports import LOOPBACK
from tests.support.processes import Process, running


class FarEndError(Exception):
    """The remote control refused, or what was waited for did not happen."""


@dataclass(frozen=True, slots=True)
class FarEnd:
    """The person at the other phone.

    Attributes:
        url: of the remote control.
        page_url: of the page that takes itself for WhatsApp Web.
        chromium_flags: what makes a Chromium find it.
        process: the program.
    """

    url: str
    page_url: str
    chromium_flags: tuple[str, ...]
    process: Process
    _http: httpx2.AsyncClient

    async def ring(self, number: str, *, name: str, waits_s: float | None = None) -> None:
        """Call the account; as a second caller, for `waits_s`, while it is in a call.

        Raises:
            FarEndError: it cannot be called now.
        """
        await self._ask("POST", "/ring", json={"from": number, "name": name, "waits_s": waits_s})

    async def answer(self) -> None:
        """Take the account's call."""
        await self._ask("POST", "/answer", json={})

    async def reject(self, reason: str = "declined") -> None:
        """Do not take the account's call: ``declined``, ``busy``, ``timeout``, ``unreachable`` or ``blocked``."""
        await self._ask("POST", "/reject", json={"reason": reason})

    async def settings(self, **changes: object) -> None:
        """Change how the stand-in behaves; tests/standin/schemas.py lists the settings."""
        await self._ask("POST", "/settings", json=changes)

    async def hang_up(self) -> None:
        """End the call."""
        await self._ask("POST", "/hangup", json={})

    async def say(self, samples: Samples, rate_hz: int) -> None:
        """Speak, at once or from the start of the next call on."""
        await self._ask("POST", "/say", content=wav_bytes(samples, rate_hz), headers={"content-type": "audio/wav"})

    async def heard(self, seconds: float) -> tuple[Samples, int]:
        """What was heard last, and its rate."""
        return parse_wav((await self._ask("GET", "/heard.wav", params={"seconds": seconds})).content)

    async def state(self) -> dict[str, Any]:
        """Everything that it says of itself."""
        answer: dict[str, Any] = (await self._ask("GET", "/state")).json()
        return answer

    async def marks(self, *, clear: bool = False) -> dict[str, list[dict[str, Any]]]:
        """When the page's worklets emitted and received each burst, and when the far end did what."""
        answer: dict[str, list[dict[str, Any]]] = (await self._ask("DELETE" if clear else "GET", "/marks")).json()
        return answer

    async def wait_for(self, seen: Callable[[dict[str, Any]], bool], *, what: str, timeout_s: float) -> dict[str, Any]:
        """Ask for the state until *seen* says yes.

        Raises:
            FarEndError: it did not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not seen(state := await self.state()):
            if time.monotonic() > deadline:
                shown = {name: state.get(name) for name in ("page", "call", "media")}
                raise FarEndError(f"stand-in: no {what} within {timeout_s:g} s; it says {json.dumps(shown)}")
            await asyncio.sleep(0.03)
        return state

    async def _ask(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        response = await self._http.request(method, path, **arguments)
        if response.status_code != 200:
            raise FarEndError(f"stand-in: {method} {path}: {response.status_code} {response.text}")
        return response


@contextlib.asynccontextmanager
async def far_end(
    folder: Path, *, control_port: int = 0, root: Path, prefix: Sequence[str] = ()
) -> AsyncIterator[FarEnd]:
    """Run the stand-in for the length of the block.

    Args:
        folder: for its log.
        control_port: of the remote control; 0 takes a free one.
        root: the source tree.
        prefix: a command that runs it on another host; the remote control is a Unix socket then.

    Raises:
        ProcessFailed: it did not start.
    """
    path = folder / "stand-in.sock" if prefix else None
    argv = [*prefix, sys.executable, "-m", "tests.standin", "--https-port", "0", "--control-port", str(control_port)]
    argv += ["--control-path", str(path)] if path else []
    async with running("stand-in", argv, log=folder / "stand-in.log", cwd=root) as process:
        line = await process.wait_line(lambda line: line.startswith("{"), what="ready line", timeout_s=30)
        ready = json.loads(line)
        transport = httpx2.AsyncHTTPTransport(uds=str(path)) if path else None
        url = f"http://{LOOPBACK}:{ready['control_port']}"
        async with httpx2.AsyncClient(base_url=url, timeout=20, transport=transport) as http:
            yield FarEnd(url, ready["url"], tuple(ready["chromium_flags"]), process, http)
