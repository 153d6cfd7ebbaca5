"""When a call is made again: only for a busy machine, and not for ever."""

from __future__ import annotations

import pytest

from tests.demo.measured import too_busy
from tests.support.machine import Busyness

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("runnable_per_core", "latest_wake_ms", "expected"),
    [(0.4, 8.0, False), (0.99, 39.0, False), (4.5, 8.0, True), (0.4, 115.0, True)],
)
def test_what_counts_as_busy(runnable_per_core: float, latest_wake_ms: float, expected: bool) -> None:
    assert too_busy(Busyness(runnable_per_core, latest_wake_ms)) is expected
