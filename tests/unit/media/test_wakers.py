"""Which sockets wake a media worker up, by when their packets come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.wakers import CYCLE_S, wakers

pytestmark = pytest.mark.unit

WAIT_S = 0.0009


def spread(sockets: int, *, begin_s: float = 0.0, each_s: float | None = None) -> dict[int, float]:
    """Return arrivals one after the other; by default over one cycle."""
    step_s = CYCLE_S / sockets if each_s is None else each_s
    return {number: begin_s + (number + 0.5) * step_s for number in range(sockets)}


def test_where_packets_are_few_each_is_taken_as_it_comes() -> None:
    assert wakers(spread(20, each_s=0.0001), WAIT_S) == set(range(20))
    assert wakers({}, WAIT_S) == set()


def test_fifty_calls_wake_the_process_up_once_a_millisecond() -> None:
    chosen = wakers(spread(100), WAIT_S)
    assert len(chosen) == 20
    assert max(chosen) == 99, "the last one has nobody after it"


def test_what_comes_at_once_is_taken_at_once_by_its_last() -> None:
    bunch = spread(20, each_s=0.00001)
    others = {100 + number: at_s for number, at_s in spread(20, begin_s=0.01, each_s=0.00001).items()}
    assert wakers(bunch | others, WAIT_S) == {19, 119}


@given(
    st.dictionaries(st.integers(0, 4000), st.floats(1000, 1000.1), min_size=32, max_size=200),
    st.floats(0.0, CYCLE_S / 2),
)
def test_no_packet_that_keeps_its_time_waits_longer(arrivals: dict[int, float], wait_s: float) -> None:
    chosen = wakers(arrivals, wait_s)
    wakings = sorted(arrivals[number] % CYCLE_S for number in chosen)
    assert chosen <= arrivals.keys()
    for at_s in arrivals.values():
        phase_s = at_s % CYCLE_S
        assert any(0 <= waking_s - phase_s <= wait_s for waking_s in wakings)
    gaps = [after - before for before, after in pairwise(wakings)]
    assert all(gap > 0 for gap in gaps), "nobody wakes it up twice for the same"
