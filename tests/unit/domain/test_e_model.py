"""The E-model against the figures that were published of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.e_model import (
    Parameters,
    absolute_delay_impairment,
    loss_impairment,
    mos,
    rating,
    wide_mos,
    wide_rating,
)

pytestmark = pytest.mark.unit

DEFAULTS = Parameters()


def test_a_call_with_all_defaults_has_the_rating_that_the_recommendation_gives() -> None:
    assert rating() == pytest.approx(93.2, abs=0.05)  # G.107 clause 7.7
    assert wide_rating() == 129  # G.107.1 clause 6.2


@pytest.mark.parametrize(("r", "score"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)])
def test_scores_of_the_categories_of_speech_quality(r: float, score: float) -> None:
    assert mos(r) == pytest.approx(score, abs=0.01)  # G.107 table B.1


def test_scores_stay_on_their_scale() -> None:
    assert mos(-5) == 1
    assert mos(3) == 1  # where the polynomial is below
    assert mos(100) == mos(120) == 4.5
    assert wide_mos(129) == 4.5
    scores = [mos(r / 2) for r in range(201)]
    assert scores == sorted(scores)


# G.113 appendix I: Ie of G.729A with voice activity detection under random loss
@pytest.mark.parametrize(
    ("loss_percent", "ie"), [(0, 11), (0.5, 13), (1, 15), (1.5, 17), (2, 19), (3, 23), (4, 26), (8, 36), (16, 49)]
)
def test_loss_costs_what_was_measured_of_a_codec(loss_percent: float, ie: float) -> None:
    assert loss_impairment(11, 19, loss_percent) == pytest.approx(ie, abs=0.75)


def test_loss_in_bursts_costs_more_than_the_same_by_chance() -> None:
    assert loss_impairment(0, 4.3, 3, burst_r=2) > loss_impairment(0, 4.3, 3)
    assert loss_impairment(0, 4.3, 3, burst_r=0.5) == loss_impairment(0, 4.3, 3)


@pytest.mark.parametrize("delay_ms", [50, 100, 150, 200, 250, 300])
def test_delay_costs_what_the_published_short_form_says(delay_ms: float) -> None:
    """Cole and Rosenbluth's fit of G.107 (2001): 0.024 d + 0.11 (d - 177.3) above 177.3 ms."""
    short_form = 0.024 * delay_ms + 0.11 * max(0.0, delay_ms - 177.3)
    delayed = replace(DEFAULTS, t_ms=delay_ms, ta_ms=delay_ms, tr_ms=2 * delay_ms)
    assert rating() - rating(delayed) == pytest.approx(short_form, abs=0.35)


def test_delay_that_people_do_not_mind_is_free_by_itself() -> None:
    assert absolute_delay_impairment(100) == 0
    assert absolute_delay_impairment(200) == pytest.approx(3.04, abs=0.01)  # X = 1 in equation 7-27


def test_every_wrong_makes_a_call_worse_on_both_scales() -> None:
    for worse in (
        replace(DEFAULTS, ppl=2.0),
        replace(DEFAULTS, ie=10.0),
        replace(DEFAULTS, t_ms=300, ta_ms=300, tr_ms=600),
        replace(DEFAULTS, telr=40, t_ms=50, ta_ms=50, tr_ms=100),
    ):
        assert rating(worse) < rating() - 3
        assert wide_rating(worse) < wide_rating() - 3
    assert rating(replace(DEFAULTS, slr=16)) < rating()  # too soft
    assert rating(replace(DEFAULTS, qdu=8)) < rating()
    assert rating(replace(DEFAULTS, ps=65)) < rating()
    assert rating(replace(DEFAULTS, advantage=5)) == pytest.approx(rating() + 5)
