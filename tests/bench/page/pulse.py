"""The same page with PulseAudio null sinks for speaker and microphone, and a bridge between them and the phone.

The daemon is of this bench's own: its runtime folder, its socket, no service, gone with the block.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.page.pulse_bridge import MICROPHONE, SPEAKER
from tests.bench.page.world import ROOT, Bare, bare, until
from tests.standin.server import StandIn
from tests.support.chromium import ChromiumProcess

NEEDED: Final = ("pulseaudio", "parec", "pacat", "pactl")


def missing() -> str:
    """What is not installed, as a sentence; empty where nothing is."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    return f"{', '.join(lacking)} not installed (Debian: pulseaudio, pulseaudio-utils)" if lacking else ""


@dataclass(slots=True)
class Pulsed:
    """The page, its Chromium on null sinks, and the bridge of the call that runs."""

    page: Bare
    environment: dict[str, str]
    _bridge: asyncio.subprocess.Process | None = None

    @property
    def stand_in(self) -> StandIn:
        """See `Line`."""
        return self.page.stand_in

    @property
    def browser(self) -> ChromiumProcess:
        """See `Line`."""
        return self.page.browser

    async def call(self, phone_port: int, *, ptime_ms: int = 20) -> tuple[str, int]:
        """See `Line`; the bridge sends 20 ms whatever is asked for."""
        await self.page.accept()
        self._bridge = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.page.pulse_bridge", str(phone_port), cwd=ROOT, env=self.environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._bridge.stdout is not None
        ready = json.loads(await asyncio.wait_for(self._bridge.stdout.readline(), 20))
        return "127.0.0.1", ready["port"]

    async def hang_up(self) -> None:
        """See `Line`."""
        await self.end_bridge()
        await self.page.hang_up()

    async def end_bridge(self) -> None:
        """End the bridge, if one runs."""
        if self._bridge is None:
            return
        assert self._bridge.stdin is not None
        self._bridge.stdin.close()
        await _ended(self._bridge)
        self._bridge = None


@contextlib.asynccontextmanager
async def pulsed() -> AsyncIterator[Pulsed]:
    """A page without the bundle on null sinks, for the length of the block.

    Raises:
        TimeoutError: PulseAudio did not start.
    """
    with tempfile.TemporaryDirectory(prefix="ponte-pulse-") as name:
        folder = Path(name)
        socket = folder / "native"
        environment = {
            **os.environ, "HOME": name, "XDG_RUNTIME_DIR": name, "PULSE_RUNTIME_PATH": name,
            "PULSE_SERVER": f"unix:{socket}", "PULSE_SINK": SPEAKER, "PULSE_SOURCE": f"{MICROPHONE}.monitor",
        }  # fmt: skip
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={socket}",
            f"module-null-sink sink_name={SPEAKER}",
            f"module-null-sink sink_name={MICROPHONE}",
            # Chromium lists no monitors among its microphones
            f"module-remap-source source_name=ponte_line master={MICROPHONE}.monitor",
        ]
        daemon = await asyncio.create_subprocess_exec(
            "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disallow-exit",
            *(f"--load={module}" for module in modules),
            env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await until(socket.exists, "PulseAudio", 10)
            for order in (("set-default-sink", SPEAKER), ("set-default-source", "ponte_line")):
                process = await asyncio.create_subprocess_exec("pactl", *order, env=environment)
                await asyncio.wait_for(process.wait(), 10)
            with _environment(environment):
                page = bare()
                async with page as found:
                    line = Pulsed(found, environment)
                    try:
                        yield line
                    finally:
                        await line.end_bridge()
        finally:
            daemon.terminate()
            await _ended(daemon)


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Chromium takes the environment of this process; it is put back at the end."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), 5)
    except TimeoutError:
        process.kill()
        await process.wait()
