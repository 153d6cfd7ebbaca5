"""PJSIP, the stack of Asterisk's chan_pjsip, as the other side.

Needs the virtual environment that `make pjsip` makes: the only wheels of PJSIP end at Python 3.12, and are not kept by
the project itself, so no other test depends on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.bench.called import Called, called
from tests.integration.sip.calling import run_call_from_whatsapp
from tests.support.ports import LOOPBACK, free_ports

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / "build" / "pjsip-venv" / "bin" / "python"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not PYTHON.exists(), reason="PJSIP is not there: `make pjsip` installs it and runs this"),
]
SEND_ONLY, BOTH = 1, 3


@dataclass
class Peer:
    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)

    async def event(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            while line := await self.process.stdout.readline():
                if line.startswith(b"{"):
                    self.events.append(json.loads(line))
                    return self.events[-1]
        return None

    async def end(self) -> None:
        while await self.event() is not None:
            pass

    def check(self) -> None:
        """The call was answered, held, taken up, updated and hung up by PJSIP without a fault."""
        states = [event["state"] for event in self.events if "state" in event]
        assert states[-2:] == ["CONFIRMED", "DISCONNECTED"], self.events
        assert self.events[-1]["status"] == 200
        changes = [(event["change"], event["done"], event["direction"]) for event in self.events if "change" in event]
        assert changes == [("hold", True, SEND_ONLY), ("resume", True, BOTH), ("update", True, BOTH)]


@contextlib.asynccontextmanager
async def pjsip(*options: str) -> AsyncIterator[Peer]:
    process = await asyncio.create_subprocess_exec(
        "timeout", "-k", "1", "60", str(PYTHON), str(ROOT / "tests" / "support" / "pjsip_peer.py"),
        "--media-port", str(free_ports(4)), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield Peer(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture
async def ponte() -> AsyncIterator[Called]:
    async with called(bridged=True) as one:
        yield one


@pytest.mark.parametrize("options", [(), ("--prack",), ("--srtp",)], ids=["timer", "prack", "srtp"])
@pytest.mark.parametrize(("transport", "keys"), [("udp", "event"), ("tcp", "info")])
async def test_pjsip_calls(ponte: Called, transport: str, keys: str, options: tuple[str, ...]) -> None:
    uri = f"sip:551188887777@{LOOPBACK}:{ponte.port};transport={transport}"
    async with pjsip("--call", uri, "--keys", keys, *options) as peer:
        await peer.end()
        peer.check()
    await ponte.until(lambda now: now.ended == 1)
    assert ponte.faults == []
    assert [digit for digit, _ in ponte.pages[0].keys] == ["5"]


@pytest.mark.parametrize("ring", ["180", "183"])
async def test_pjsip_is_called(ponte: Called, ring: str) -> None:
    async with pjsip("--ring", ring) as peer:
        ready = await peer.event()
        assert ready is not None
        told = await run_call_from_whatsapp(ponte, ready["port"])
        assert told == ["accept", "hangup"]
        await peer.end()
        peer.check()
