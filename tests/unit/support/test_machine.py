"""The busy meter sees a machine that is busy."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.support.machine import BusyMeter

pytestmark = pytest.mark.unit

SPIN = "import time; end = time.monotonic() + 20\nwhile time.monotonic() < end: pass"


def test_programs_that_want_the_processors_are_counted() -> None:
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(2)]
    try:
        time.sleep(0.3)  # until they run
        with BusyMeter() as meter:
            time.sleep(0.5)
            busy = meter.read()
    finally:
        for one in spinning:
            one.kill()
            one.wait()
    assert busy.runnable_per_core > 0.3
    assert busy.latest_wake_ms >= 0
