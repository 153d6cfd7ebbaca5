"""The bench of the SIP side, run small, and what it says where the yardstick cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench_sip import BRIDGED, OURS, Candidate, cpu_run, yardstick

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("candidate", [OURS, BRIDGED], ids=["bare", "bridged"])
async def test_every_call_is_answered_and_its_cost_is_counted(tmp_path: Path, candidate: Candidate) -> None:
    seconds, delays, _ = await cpu_run(candidate, tmp_path, calls=10)
    assert 0 < seconds < 10
    assert len(delays) == 10
    assert min(delays) > 0


def test_a_yardstick_that_cannot_be_installed_is_left_out_with_the_reason(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    candidate, why = yardstick(no_folder)
    assert candidate is None
    assert why.startswith("sippy could not be installed: ")
