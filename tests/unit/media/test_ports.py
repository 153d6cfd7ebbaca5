"""Which ports are given out, and when again."""

from __future__ import annotations

import pytest

from gateway.domain.errors import ConfigError, Unavailable
from gateway.media.ports import PortPool

pytestmark = pytest.mark.unit


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_pool(low: int, high: int) -> tuple[PortPool, Clock]:
    clock = Clock()
    return PortPool(low, high, rest_s=10, clock=clock, shuffle=lambda ports: None), clock


@pytest.mark.parametrize(
    ("low", "high", "ports"),
    [(20000, 20003, [20000, 20002]), (20001, 20006, [20002, 20004]), (20000, 20001, [20000])],
)
def test_only_whole_pairs_are_given(low: int, high: int, ports: list[int]) -> None:
    pool, _ = make_pool(low, high)
    assert [pool.take() for _ in ports] == ports
    with pytest.raises(Unavailable, match="RTP port"):
        pool.take()


@pytest.mark.parametrize(("low", "high"), [(20000, 20000), (20001, 20002), (80, 90), (60000, 70000), (30000, 20000)])
def test_a_range_without_a_pair_is_refused(low: int, high: int) -> None:
    with pytest.raises(ConfigError) as caught:
        make_pool(low, high)
    assert caught.value.field == "rtp_ports"


def test_a_port_rests_before_it_is_given_out_again() -> None:
    pool, clock = make_pool(20000, 20001)
    port = pool.take()
    pool.give_back(port)
    clock.now_s = 9.9
    with pytest.raises(Unavailable):
        pool.take()
    clock.now_s = 10.0
    assert pool.take() == port


def test_a_port_that_another_program_holds_is_the_last_to_be_tried_again() -> None:
    pool, _ = make_pool(20000, 20003)
    pool.skip(pool.take())
    assert [pool.take(), pool.take()] == [20002, 20000]


def test_ports_cannot_be_guessed() -> None:
    pools = [PortPool(20000, 29999, rest_s=0, clock=Clock()) for _ in range(2)]
    first, second = ([pool.take() for _ in range(20)] for pool in pools)
    assert first != second
