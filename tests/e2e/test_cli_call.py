"""`ponte call` and `ponte trace` through everything: the command itself, the gateway, a real Chromium, the stand-in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.demo.call import CALLEE
from tests.demo.world import Ports, World, WorldOptions, _gateway_environment, world
from tests.support.audio import level_dbfs, sine, tone_hz

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

FAR_RATE_HZ = 16_000


@asynccontextmanager
async def ponte(here: World, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command beside the block."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PONTE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli", *arguments, env=clean | _gateway_environment(here.options, here.token),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    except Exception:
        if process.returncode is None:
            process.kill()
        print(*(stream.decode() for stream in await process.communicate()))
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_test_call_is_measured_traced_interrupted_and_declined(tmp_path: Path) -> None:
    async with world(WorldOptions(tmp_path, Ports.free(), tap=False), print) as here:
        await here.configure(await here.configuration())
        await here.wait_ready(print)

        def rings(state: dict[str, Any]) -> bool:
            return bool(state["call"]) and state["call"]["state"] == "ringing"

        # answered, and a tone comes back that is not ours
        async with ponte(here, "call", CALLEE, "--talk-s", "6", "--json") as process:
            await here.far_end.wait_for(rings, what="ringing", timeout_s=20)
            await here.far_end.say(sine(1000, -12, 30, FAR_RATE_HZ), FAR_RATE_HZ)
            await here.far_end.answer()
            await asyncio.sleep(4)
            samples, rate_hz = await here.far_end.heard(2)
            status, out, err = await ended(process)
        assert status == 0, out + err
        told = json.loads(out)
        assert told["ok"] is True
        figures = told["figures"]
        assert figures["echo_ms"] is None
        assert figures["heard_dbfs"] > -20
        assert figures["received"] > 200
        assert [one["check"] for one in told["checks"]] == ["call", "to WhatsApp", "packets", "from WhatsApp"]
        assert "microphone hears" in told["checks"][1]["detail"]
        assert "it rings" in err
        loud = [
            one
            for one in (samples[at : at + rate_hz // 10] for at in range(0, len(samples), rate_hz // 10))
            if level_dbfs(one) > -30
        ]
        assert 5 <= len(loud) <= 15  # a second of two
        assert abs(tone_hz(loud[2], rate_hz) - 800) < 10

        async with ponte(here, "trace", told["call_id"], "--json") as process:
            status, out, err = await ended(process)
        assert status == 0, err
        shown = [(one["from"], one["to"], one["text"]) for one in json.loads(out)["entries"]]
        expected = [
            ("pbx", "ponte", "INVITE"), ("ponte", "pbx", "401 Unauthorized"), ("pbx", "ponte", "INVITE"),
            ("ponte", "page", "dial"), ("page", "ponte", "ringing"), ("ponte", "pbx", "180 Ringing"),
            ("page", "ponte", "active"), ("ponte", "pbx", "200 OK"), ("ponte", "ponte", "ACTIVE"),
            ("pbx", "ponte", "BYE"), ("ponte", "page", "hang up"), ("ponte", "ponte", "ENDED"),
        ]  # fmt: skip
        rest = iter(shown)
        assert all(one in rest for one in expected), shown
        assert {("page", "ponte", "first audio from WhatsApp"), ("pbx", "ponte", "first audio from the phone")} <= set(
            shown
        )
        assert CALLEE.removeprefix("+") not in out
        async with ponte(here, "trace", "--width", "80", "--ascii") as process:
            status, out, _ = await ended(process)
        assert (status, "|---" in out, max(map(len, out.splitlines())) <= 80) == (0, True, True)

        # Ctrl-C hangs up
        async with ponte(here, "call", CALLEE) as process:
            await here.far_end.wait_for(rings, what="ringing", timeout_s=20)
            process.send_signal(signal.SIGINT)
            await here.far_end.wait_for(lambda state: state["call"] is None, what="the end", timeout_s=15)
            assert (await ended(process))[0] == 130

        # a call that comes to nothing
        async with ponte(here, "call", CALLEE) as process:
            await here.far_end.wait_for(rings, what="ringing", timeout_s=20)
            await here.far_end.reject()
            status, out, _ = await ended(process)
        assert (status, "603" in out, "did not go well" in out) == (1, True, True), out
