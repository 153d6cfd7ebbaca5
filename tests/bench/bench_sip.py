"""The SIP side in figures, with sippy beside it: `make bench-sip` writes build/bench-sip.json.

What is counted, and how:

- `cpu_s`: user and system time (getrusage) of the process that takes the calls, from before the first INVITE until a
  second after the last call's end; the interpreter's start and imports are outside. SIPp places 200 calls at 50 per
  second: INVITE, 401, ACK, INVITE with credentials, 100, 180, 200, ACK, a hold of 50 ms, BYE, 200. Signalling only:
  both candidates answer with a fixed SDP, and neither logs messages.
- `ponte_bridged`: the same calls through the bridge and the media plane (SDP negotiated, RTP and RTCP sockets opened
  and closed) to a page that a test plays and that answers at once.
- Candidates take turns, a fresh process each, warmed up by 20 calls; given are the median and every run.
- `idle_dialog_bytes`: growth of resident memory over 1000 calls that are up, once their transactions are over,
  divided by 1000; in two steps, so that one can see that it is a slope.
- `invite_to_100_ms`: of the INVITE with credentials, by SIPp's clock, over all runs.
- `invite_to_page_told_ms`: the whole gateway with Chromium and the stand-in: from the INVITE with credentials until
  WhatsApp's server hears the page's first question, whether the number exists: a little later than the page was told.
  One line, so one call at a time. `invite_to_dialled_ms`: until that server is told of the call; the look-up and the
  making of the call in between are WhatsApp's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.results import machine
from tests.demo.world import Ports, WorldOptions, world
from tests.support.machine import BusyMeter
from tests.support.ports import free_ports
from tests.support.sip_sipp import Traced, read_trace, start_sipp

ROOT: Final = Path(__file__).resolve().parents[2]
REQUIREMENTS: Final = ROOT / "tests/bench/requirements.txt"
CALLS: Final = 200
RATE: Final = 50
WARM_UP: Final = 20
IDLE_STEP: Final = 500
TRANSACTIONS_OVER_S: Final = 34.0  # timers J and L of RFC 3261 are 32 s


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program that takes calls.

    Attributes:
        name: in the report.
        argv: how it is started; ``{port}`` becomes a free port.
    """

    name: str
    argv: tuple[str, ...]


OURS: Final = Candidate("ponte", (sys.executable, "-m", "tests.bench.called", "--most", "1100"))
BRIDGED: Final = Candidate("ponte_bridged", (*OURS.argv, "--bridged"))


class Child:
    """A candidate that runs."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process

    async def figures(self, *, collect: bool = False) -> dict[str, Any]:
        """Ask for its CPU time, memory and calls."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"collect\n" if collect else b"\n")
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(self._process.stdout.readline(), 30))
        if answer["faults"]:
            raise RuntimeError(f"a call went wrong: {answer['faults']}")
        return answer

    async def until(self, figure: str, count: int, timeout_s: float = 60) -> None:
        """Wait until so many calls are ``live``, or have ``ended``."""
        deadline = time.monotonic() + timeout_s
        while (now := (await self.figures())[figure]) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{now} of {count} calls are or have {figure}")
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def started(candidate: Candidate) -> AsyncIterator[Child]:
    """Run a candidate for the length of the block."""
    argv = [word.format(port=free_ports(2)) for word in candidate.argv]
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        yield Child(process, ready["port"])
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2)
        except TimeoutError:
            process.kill()
            await process.wait()


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True, timeout=600)


def yardstick(build: Path) -> tuple[Candidate | None, str]:
    """Install sippy in a virtual environment of its own; the reason when it cannot be."""
    folder = build / "bench-venv"
    python = folder / "bin" / "python"
    wanted = REQUIREMENTS.read_text()
    mark = folder / REQUIREMENTS.name
    if not mark.exists() or mark.read_text() != wanted:
        try:
            _run(sys.executable, "-m", "venv", "--clear", str(folder))
            _run(str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(REQUIREMENTS))
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            return None, f"sippy could not be installed: {said[-1] if said else 'no reason given'}"
        mark.write_text(wanted)
    script = str(ROOT / "tests" / "bench" / "sippy_called.py")
    return Candidate("sippy", (str(python), script, "{port}")), ""


def delays_ms(trace: Sequence[Traced], until: str) -> list[float]:
    """Return, for each INVITE with credentials, the milliseconds until the first answer that starts so."""
    began: dict[str, float] = {}
    found: dict[str, float] = {}
    for one in trace:
        if one.cseq != "2 INVITE":
            continue
        if one.sent and one.line.startswith("INVITE"):
            began.setdefault(one.call_id, one.at)
        elif not one.sent and one.line.startswith(f"SIP/2.0 {until}") and one.call_id in began:
            found.setdefault(one.call_id, (one.at - began[one.call_id]) * 1000)
    return list(found.values())


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and the number of values."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": round(ordered[round(0.5 * last)], 2), "p99": round(ordered[round(0.99 * last)], 2), "count": len(ordered)
    }  # fmt: skip


async def cpu_run(candidate: Candidate, folder: Path, calls: int = CALLS) -> tuple[float, list[float], int]:
    """Return the CPU seconds of these calls, the delays of their 100 in ms, and how many INVITEs were repeated."""
    async with started(candidate) as child:
        await (await start_sipp(folder, "uac_digest", remote=child.port, calls=WARM_UP, rate=RATE)).wait()
        await child.until("ended", WARM_UP)
        await asyncio.sleep(1)
        before = await child.figures()
        trace = folder / "trace"
        sipp = await start_sipp(
            folder, "uac_digest", remote=child.port, calls=calls, rate=RATE, limit_s=30, trace=trace
        )
        await sipp.wait(40)
        await child.until("ended", WARM_UP + calls)
        await asyncio.sleep(1)
        after = await child.figures()
        messages = read_trace(trace)
        again = sum(one.sent and one.line.startswith("INVITE") for one in messages) - 2 * calls
        return after["cpu_s"] - before["cpu_s"], delays_ms(messages, "100"), again


async def idle_memory(candidate: Candidate, folder: Path) -> dict[str, Any]:
    """Return the resident bytes that each idle dialog costs, in two steps of 500."""
    async with started(candidate) as child:
        await (await start_sipp(folder, "uac_digest", remote=child.port, calls=100, rate=RATE)).wait()
        await asyncio.sleep(TRANSACTIONS_OVER_S)
        rss = [(await child.figures(collect=True))["rss_bytes"]]
        callers = []
        try:
            for step in (1, 2):
                callers.append(
                    await start_sipp(
                        folder, "uac_until_bye", remote=child.port, calls=IDLE_STEP, rate=100, at_once=IDLE_STEP,
                        limit_s=200,
                    )
                )  # fmt: skip
                await child.until("live", step * IDLE_STEP)
                await asyncio.sleep(TRANSACTIONS_OVER_S)
                rss.append((await child.figures(collect=True))["rss_bytes"])
        finally:
            for caller in callers:
                caller.process.terminate()
                await caller.process.wait()
        steps = [round((after - before) / IDLE_STEP) for before, after in itertools.pairwise(rss)]
        return {"idle_dialog_bytes": round((rss[2] - rss[0]) / 2 / IDLE_STEP), "steps": steps, "rss_bytes": rss}


async def page_told(folder: Path, calls: int) -> dict[str, Any]:
    """Return how long the whole gateway takes from an INVITE until WhatsApp was dialled."""
    options = WorldOptions(folder, Ports.free(), with_helper=False, tap=False)
    async with world(options, lambda words: None) as running:
        body = await running.configuration() | {"sipListenUser": "pbx", "sipListenSecret": "geheim"}
        await running.configure(body)
        await running.wait_ready(lambda words: None)
        trace = folder / "trace"
        await running.far_end.marks(clear=True)
        sipp = await start_sipp(
            folder, "uac_cancel", remote=options.ports.sip, calls=calls, rate=1, at_once=1, limit_s=20 + 3 * calls,
            trace=trace, numbers=[f"55119888{number:05d}" for number in range(calls)],
        )  # fmt: skip
        await sipp.wait(30 + 3 * calls)
        messages = read_trace(trace)
        invites = [one.at for one in messages if one.sent and one.cseq == "2 INVITE" and one.line.startswith("INVITE")]
        marks = (await running.far_end.marks())["events"]

        def until(event: str) -> dict[str, float]:
            instants = [mark["at"] for mark in marks if mark["event"] == event]
            if len(instants) != len(invites):
                raise RuntimeError(f"{len(invites)} INVITEs, but {len(instants)} were {event}")
            return spread([(then - began) * 1000 for began, then in zip(invites, instants, strict=True)])

        return {
            "invite_to_page_told_ms": until("asked"),
            "invite_to_dialled_ms": until("dialled"),
            "invite_to_100_ms": spread(delays_ms(messages, "100")),
            "invite_to_180_ms": spread(delays_ms(messages, "180")),
        }


async def bench(runs: int, page_calls: int, *, memory: bool) -> dict[str, Any]:
    """Return the whole report."""
    sippy, why_not = yardstick(ROOT / "build")
    candidates = [OURS, *([sippy] if sippy else []), BRIDGED]
    report: dict[str, Any] = {
        "calls": CALLS, "rate_per_s": RATE, "machine": machine(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "bar": {"cpu_s": 1.0, "page_told_p50_ms": 20}
    }  # fmt: skip
    cpu: dict[str, list[float]] = {one.name: [] for one in candidates}
    trying: dict[str, list[float]] = {one.name: [] for one in candidates}
    again = dict.fromkeys(cpu, 0)
    with tempfile.TemporaryDirectory(prefix="bench-sip-") as name, BusyMeter() as meter:
        folder = Path(name)
        for number in range(runs):
            for one in candidates if number % 2 == 0 else candidates[::-1]:
                own = folder / f"{one.name}-{number}"
                own.mkdir()
                seconds, delays, repeated = await cpu_run(one, own)
                cpu[one.name].append(round(seconds, 3))
                trying[one.name] += delays
                again[one.name] += repeated
        busy = meter.read()
        for one in candidates:
            report[one.name] = {
                "cpu_s": round(statistics.median(cpu[one.name]), 3), "runs_cpu_s": cpu[one.name],
                "invite_to_100_ms": spread(trying[one.name]), "repeated_invites": again[one.name],
            }  # fmt: skip
        if sippy is None:
            report["sippy"] = f"skipped: {why_not}"
        if memory:
            both = [one for one in candidates if one is not BRIDGED]
            folders = [folder / f"memory-{one.name}" for one in both]
            for own in folders:
                own.mkdir()
            found = await asyncio.gather(*(idle_memory(one, own) for one, own in zip(both, folders, strict=True)))
            for one, figures in zip(both, found, strict=True):
                report[one.name]["memory"] = figures
        if page_calls:
            own = folder / "world"
            own.mkdir()
            report["gateway"] = await page_told(own, page_calls)
    report["busy"] = {
        "runnable_per_core": round(busy.runnable_per_core, 2),
        "latest_wake_ms": round(busy.latest_wake_ms),
    }
    return report


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="SIP figures, with sippy beside them.")
    parser.add_argument("--runs", type=int, default=5, help="of 200 calls, for each candidate")
    parser.add_argument("--page-calls", type=int, default=30, help="calls through the whole gateway; 0: none")
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory of idle dialogs (two minutes)")
    options = parser.parse_args()
    report = asyncio.run(bench(options.runs, options.page_calls, memory=not options.no_memory))
    text = json.dumps(report, indent=2)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "bench-sip.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
