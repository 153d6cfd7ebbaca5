"""Runs Debian's SIPp with one of our scenarios."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
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
        """Wait until it has ended, and fail with its last messages unless every call succeeded.

        Raises:
            AssertionError: a call failed.
            TimeoutError: it did not end in time.
        """
        async with asyncio.timeout(timeout_s):
            out, _ = await self.process.communicate()
        if self.process.returncode != 0:
            logs = "".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log")))
            raise AssertionError(f"sipp ended with {self.process.returncode}\n{out.decode()[-1500:]}\n{logs}")


@dataclass(frozen=True, slots=True)
class Traced:
    """One message that SIPp sent or received.

    Attributes:
        at: wall clock, seconds.
        sent: whether SIPp sent it.
        call_id: Call-ID.
        cseq: number and method.
        line: its first line.
    """

    at: float
    sent: bool
    call_id: str
    cseq: str
    line: str


def read_trace(path: Path) -> list[Traced]:
    """Read the file that `start_sipp` was given as its trace."""
    traced = []
    for row in path.read_text(errors="replace").splitlines():
        cells = row.split("\t")
        if len(cells) >= 7:
            _, _, at, direction, call_id, cseq, line = cells[:7]
            traced.append(Traced(float(at), direction == "S", call_id, cseq.partition(":")[2].strip(), line))
    return traced


async def start_sipp(
    folder: Path, scenario: str, *, remote: int = 0, tcp: bool = False, calls: int = 1, rate: int = 10,
    service: str = "551188887777", hold_ms: int = 50, at_once: int = 0, limit_s: int = 15, trace: Path | None = None,
    numbers: Sequence[str] = (), words: Mapping[str, str] | None = None, echo: bool = False,
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
        hold_ms: length of the scenario's pauses that name none.
        at_once: calls that may be open together; 0: SIPp's own idea of it.
        limit_s: after which it gives up.
        trace: file for one line per message; see `read_trace`.
        numbers: each call's own user to call, instead of *service*.
        words: what stands for upper-case words of the scenario.
        echo: send every RTP packet back.
    """
    binary = shutil.which("sipp")
    assert binary is not None, "install Debian's sip-tester"
    port = free_ports(4)
    file = SCENARIOS / f"{scenario}.xml"
    if numbers:
        # SIPp reads each call's line of this file
        (folder / "numbers.csv").write_text("SEQUENTIAL\n" + "".join(f"{number};\n" for number in numbers))
        text = file.read_text().replace("[service]", "[field0]")
        file = folder / f"{scenario}.xml"
        file.write_text(text)
    if words:
        text = file.read_text()
        for word, value in words.items():
            text = text.replace(word, value)
        file = folder / f"{scenario}.xml"
        file.write_text(text)
    argv = [
        "timeout", "-k", "1", str(limit_s + 5), binary, "-sf", str(file), "-i", LOOPBACK, "-p", str(port),
        "-mp", str(port + 2), "-m", str(calls), "-r", str(rate), "-s", service, "-nostdin", "-trace_err",
        "-error_file", str(folder / f"{scenario}.log"), "-t", "t1" if tcp else "u1", "-d", str(hold_ms),
        "-timeout", str(limit_s), "-timeout_error",
    ]  # fmt: skip
    if numbers:
        argv += ["-inf", str(folder / "numbers.csv")]
    if echo:
        argv.append("-rtp_echo")
    if at_once:
        argv += ["-l", str(at_once)]
    if trace is not None:
        argv += ["-trace_shortmsg", "-shortmessage_file", str(trace)]
    if remote:
        argv.append(f"{LOOPBACK}:{remote}")
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    if not remote:
        await asyncio.sleep(0.4)  # SIPp says nothing when it is ready
    return Sipp(port, process, folder)
