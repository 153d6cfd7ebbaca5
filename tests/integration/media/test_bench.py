"""The load of the media benches, run small: between its ends Ponte's media plane."""

from __future__ import annotations

import pytest

from tests.bench.load.candidates import Ponte
from tests.bench.load.measure import measure

pytestmark = pytest.mark.integration


async def test_every_packet_of_two_calls_comes_through_both_ways() -> None:
    run = await measure(Ponte(), calls=2, seconds=0.5)
    wrong = {name: run.load[name] for name in ("lost", "unsent", "undecryptable", "foreign", "again", "disordered")}
    assert run.load["sent"] == 100
    assert not any(wrong.values()), wrong
    assert run.delay_ms.shape == (4, 25)
    assert (run.delay_ms > 0).all()
    assert run.cpu_s is not None
    for direction in ("wa_to_sip", "sip_to_wa"):
        assert run.told[direction]["passed"] == 2 * (50 + 25), "with the warm-up"
