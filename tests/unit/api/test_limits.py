"""Token buckets, by a clock that the test sets."""

from __future__ import annotations

import pytest

from gateway.api.limits import RateLimit

pytestmark = pytest.mark.unit


def test_a_burst_and_then_the_rate() -> None:
    limit = RateLimit(2, 3)
    assert [limit.take("a", 100.0) for _ in range(3)] == [0, 0, 0]
    assert limit.take("a", 100.0) == pytest.approx(0.5)
    assert limit.take("a", 100.25) == pytest.approx(0.25)  # being refused costs nothing
    assert limit.take("a", 100.5) == 0
    assert limit.take("a", 100.5) > 0
    assert limit.take("b", 100.5) == 0
    assert [limit.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]


def test_strangers_fill_no_memory() -> None:
    limit = RateLimit(1, 1, max_names=2)
    for name in ("a", "b", "c"):
        assert limit.take(name, 0.0) == 0
    assert limit.take("c", 0.0) > 0
    assert limit.take("a", 0.0) == 0  # forgotten
