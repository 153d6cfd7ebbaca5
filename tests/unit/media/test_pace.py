"""When packets are taken one by one and when in batches, and how far apart these are."""

from __future__ import annotations

import pytest

from gateway.media.pace import Pace

pytestmark = pytest.mark.unit

LEAST_S, MOST_S, BATCH = 0.0005, 0.001, 3.0


@pytest.fixture
def pace() -> Pace:
    return Pace(batch=BATCH, least_s=LEAST_S, most_s=MOST_S)


def load(pace: Pace, rate: float, *, begin_s: float = 100.0, seconds: float = 0.3) -> None:
    """Let *rate* packets a second be found, one a turn."""
    for number in range(int(rate * seconds)):
        pace.count(1, begin_s + number / rate)


@pytest.mark.parametrize(
    ("rate", "period_s"),
    [
        (50, 0.0),
        (1000, 0.0),  # an instant would often come for none
        (1500, MOST_S),
        (2000, MOST_S),
        (4000, BATCH / 4000),
        (6000, LEAST_S),
        (20_000, LEAST_S),
    ],
)
def test_the_period_follows_the_rate_within_its_bounds(pace: Pace, rate: float, period_s: float) -> None:
    load(pace, rate)
    assert pace.period_s == pytest.approx(period_s, rel=0.05)


def test_it_begins_with_each_packet_as_it_comes(pace: Pace) -> None:
    assert pace.period_s == 0.0
    pace.count(4, 100.0)
    assert pace.period_s == 0.0, "one batch is no rate"


def test_it_ends_when_packets_are_few_again(pace: Pace) -> None:
    load(pace, 5000)
    assert pace.period_s
    for number in range(4):
        pace.count(0, 101.0 + number * 0.05)
    assert pace.period_s == 0.0


def test_a_hold_up_of_the_process_is_no_lack_of_packets(pace: Pace) -> None:
    load(pace, 5000)
    pace.count(2500, 100.3 + 0.5)  # what came meanwhile
    assert pace.period_s == pytest.approx(BATCH / 5000, rel=0.05)
