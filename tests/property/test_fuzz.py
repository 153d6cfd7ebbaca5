"""The fuzz targets: the inputs that are kept, and some seconds of new ones under atheris (`make fuzz` takes longer)."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.property

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_are_kept(target: str) -> None:
    inputs = seeds(target)
    assert inputs
    for data in [b"", *inputs]:
        TARGETS[target](data)


@pytest.mark.timeout(300)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="no atheris for this Python")
async def test_some_seconds_of_any_bytes() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fuzz", "--seconds", "12", "--seed", "1", "every", cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(280):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode(errors="replace")[-9000:]
    executed = re.search(r"every: ([0-9]+) inputs", out.decode())
    assert executed is not None
    assert int(executed[1]) > len(seeds("every")), "more than it began with"
