"""Requests beside calls: the status is answered, and no packet pays for it. `make bench ARGS=api` measures how much."""

from __future__ import annotations

import pytest

from tests.bench.section_api import measure_beside

pytestmark = [pytest.mark.integration, pytest.mark.alone]


async def test_300_requests_a_second_beside_5_calls_delay_no_packet() -> None:
    found = await measure_beside(calls=5, per_s=300, seconds=2)
    assert found.requests is not None
    assert found.requests["statuses"] == {"200": 600}
    # by the calls' own figures, and by what the generator heard
    assert found.dropped == 0, found.told
    for direction in ("wa_to_sip", "sip_to_wa"):
        assert found.told[direction]["passed"] == found.told[direction]["packets"] == 5 * (100 + 50), "with the warm-up"
    assert found.told["late_ms"] < 20  # a packet's time, on a machine that does other things beside
    wrong = {name: found.load[name] for name in ("lost", "unsent", "undecryptable", "foreign", "again", "disordered")}
    assert not any(wrong.values()), wrong
