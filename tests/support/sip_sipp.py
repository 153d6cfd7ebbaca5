"""Runs Debian's SIPp with one of our scenarios."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import LOOPBACK, free_ports

SCENARIOS = Path(__file__).parent.parent / "integration" / "sip" / "scenarios"


@dataclass
class Sipp:
    """A SIPp that runs; `port` is its own."""

    port: int
    process: asyncio.subprocess.Process
    folder: Path

    async def wait(self, timeout_s: float = 25) -> None:
        """Wait until it has ended, and fail with its last messages unless every call succeeded."""
        async with asyncio.timeout(timeout_s):
            out, _ = await self.process.communicate()
        if self.process.returncode != 0:
            logs = "".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))
            raise AssertionError(f"sipp ended with {self.process.returncode}\n{out.decode()[-1500:]}\n{logs}")


async def start_sipp(
    folder: Path, scenario: str, *, remote: int = 0, tcp: bool = False, calls: int = 1, rate: int = 10,
    service: str = "551188887777",
) -> Sipp:  # fmt: skip
    """Start SIPp on a fresh port, under `timeout` so that it cannot outlive the test.

    Args:
        folder: for its logs.
        scenario: name of the XML file.
        remote: port that it calls; 0 to be called.
        tcp: over one TCP connection.
        calls: how many calls before it ends.
        rate: calls per second.
        service: user that it calls.
    """
    binary = shutil.which("sipp")
    assert binary is not None, "install Debian's sip-tester"
    port = free_ports(4)
    argv = [
        "timeout", "-k", "1", "20", binary, "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", LOOPBACK, "-p", str(port),
        "-mp", str(port + 2), "-m", str(calls), "-r", str(rate), "-s", service, "-nostdin", "-trace_err",
        "-error_file", str(folder / f"{scenario}.log"), "-t", "t1" if tcp else "u1", "-timeout", "15", "-timeout_error",
    ]  # fmt: skip
    if remote:
        argv.append(f"{LOOPBACK}:{remote}")
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    if not remote:
        await asyncio.sleep(0.4)  # SIPp says nothing when it is ready
    return Sipp(port, process, folder)
