"""How a direction is judged, and what a page's looks come to."""

from __future__ import annotations

import pytest

from gateway.domain.page_audio import PageAudio, PageFigures, PageMeter
from gateway.domain.quality import Measured, delay_ms, judge

pytestmark = pytest.mark.unit


def test_a_clean_call_is_as_good_as_its_codec() -> None:
    narrow, wide = judge(Measured("PCMU", 1000, 0)), judge(Measured("G722", 1000, 0))
    assert narrow is not None
    assert (narrow.mos, narrow.r, narrow.scale, narrow.loss_percent, narrow.burst_r) == (4.41, 93.2, "narrow", 0, 1)
    assert wide is not None
    assert (wide.mos, wide.r, wide.scale) == (4.34, 116, "wide")


@pytest.mark.parametrize("measured", [Measured(None, 100, 0), Measured("PCMU", 0, 0), Measured("GSM", 100, 0)])
def test_what_nobody_heard_is_not_judged(measured: Measured) -> None:
    assert judge(measured) is None


def test_loss_is_what_the_listener_missed_or_had_made_up() -> None:
    by_network = judge(Measured("PCMU", 1000, 50, loss_runs=50, seconds=20, concealed_ms=0))
    by_page = judge(Measured("PCMU", 1000, 0, seconds=20, concealed_ms=1000))
    assert by_network is not None
    assert by_page is not None
    assert by_network.loss_percent == by_page.loss_percent == 5
    assert by_network.mos == by_page.mos == pytest.approx(3.92, abs=0.01)  # R = 93.2 - 95 * 5 / 30.1


def test_runs_of_lost_packets_show() -> None:
    burst, random = judge(Measured("PCMU", 1000, 60, loss_runs=10)), judge(Measured("PCMU", 1000, 60, loss_runs=56))
    assert burst is not None
    assert random is not None
    assert burst.burst_r == pytest.approx(5.64)
    assert random.burst_r == pytest.approx(1.01)
    assert burst.mos < random.mos


def test_all_lost_is_the_worst_and_no_error() -> None:
    worst = judge(Measured("opus", 100, 120, loss_runs=1, seconds=1, concealed_ms=5000, delay_ms=2000))
    assert worst is not None
    assert worst.mos == pytest.approx(1, abs=0.3)
    assert worst.loss_percent == 100


def test_delay_is_the_networks_and_the_buffer() -> None:
    assert delay_ms((40.0, 10.0), 12.0, 99.0) == 20 + 25 + 12
    assert delay_ms((40.0, None), None, 3.0) == 20 + 20 + 20  # a phone holds a packet at least
    assert delay_ms((40.0, None), None, 30.0) == 20 + 20 + 60
    assert delay_ms((None, None), 12.0, 0.0) is None
    near, far = judge(Measured("PCMU", 9, 0, delay_ms=60)), judge(Measured("PCMU", 9, 0, delay_ms=400))
    assert near is not None
    assert far is not None
    assert near.mos - far.mos > 0.8


def test_a_page_that_tells_nothing_has_no_figures() -> None:
    meter = PageMeter()
    assert meter.figures == PageFigures()
    meter.add(PageAudio())
    assert meter.figures == PageFigures()


def test_levels_are_those_of_people_who_speak() -> None:
    meter = PageMeter()
    for level in (-20.0, -120.0, -24.0):
        meter.add(PageAudio(mic_dbfs=level, speaker_dbfs=-120.0, wait_ms=10.0))
    assert meter.figures == PageFigures(mic_dbfs=-22.0, wait_ms=10.0)


def test_made_up_sound_is_counted_from_the_first_look_and_over_a_new_beginning() -> None:
    meter = PageMeter()
    for concealed in (500.0, 520.0, 30.0, 35.0):
        meter.add(PageAudio(concealed_ms=concealed))
    assert meter.figures.concealed_ms == 20 + 30 + 5
