"""Programs beside a test: their output, their end, and that they do not outlive whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import ProcessFailed, caller_environment, running

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_lines_are_read_and_the_program_ends_with_the_block(tmp_path: Path) -> None:
    script = "echo one; echo two >&2; exec sleep 60"
    async with running("sleeper", ["/bin/sh", "-c", script], log=tmp_path / "log") as process:
        assert await process.wait_line(lambda line: line == "two", what="two", timeout_s=5) == "two"
        assert process.alive()
    assert not process.alive()
    assert process.lines() == ["one", "two"]


async def test_a_program_that_ends_too_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    async with running("liar", ["/bin/sh", "-c", "echo no luck; exit 3"], log=tmp_path / "log") as process:
        with pytest.raises(ProcessFailed, match=r"liar ended before ready line(?s:.*)no luck"):
            await process.wait_line(lambda line: "ready" in line, what="ready line", timeout_s=5)
        await process.wait_end(timeout_s=5)


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    async with running("nothing", ["/nonexistent/program"], log=tmp_path / "log") as process:
        with pytest.raises(ProcessFailed, match="nonexistent"):
            await process.wait_line(lambda line: line == "ready", what="ready line", timeout_s=5)


async def test_what_it_started_ends_too(tmp_path: Path) -> None:
    script = "sleep 60 & echo $!; wait"
    async with running("parent", ["/bin/sh", "-c", script], log=tmp_path / "log") as process:
        child = int(await process.wait_line(str.isdigit, what="child", timeout_s=5))
        assert runs(child)
    assert not runs(child)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_killed_test_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    program = f"""
import asyncio, pathlib, signal
from tests.support.processes import running
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, which the tests may run under, is inherited
async def main():
    async with running("sleeper", ["sleep", "60"], log=pathlib.Path({str(tmp_path / "log")!r})) as process:
        print(process.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, process_group=0
    ) as test:
        assert test.stdout is not None
        sleeper = int(test.stdout.readline())
        assert runs(sleeper)
        os.killpg(test.pid, number)
        test.wait(timeout=5)
    deadline = time.monotonic() + 10
    while runs(sleeper) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(sleeper)


def test_the_callers_own_settings_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONTE_API_PORT", "1")
    assert not [name for name in caller_environment() if name.startswith("PONTE_")]
