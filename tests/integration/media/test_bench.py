"""The bench of the packet path, run small: router and WebRTC legs together, with far ends in another process."""

from __future__ import annotations

import pytest

from tests.bench.bench_router import bench

pytestmark = pytest.mark.integration


async def test_every_packet_of_two_calls_comes_through_both_ways() -> None:
    figures = await bench(calls=2, seconds=1)
    assert figures["packets"] == 200
    assert figures["missing"] == 0
    assert figures["cpu_ms_per_call_second"] > 0
