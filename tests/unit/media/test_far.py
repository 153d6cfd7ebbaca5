"""Loss of the whole way: what a receiver says is passed on to who sends."""

from __future__ import annotations

import random

import pytest

from gateway.media.far import FarLoss
from gateway.media.page_side import PagePort
from gateway.protocol.rtcp import (
    FarReport,
    ReceiverReport,
    ReportBlock,
    Reporter,
    SenderReport,
    build_compound,
    parse_compound,
)
from gateway.protocol.rtp import OutgoingStream, Reception

pytestmark = pytest.mark.unit


def stream() -> OutgoingStream:
    return OutgoingStream(random.Random(1).getrandbits)


def reporter(lost_every: int = 0, packets: int = 100) -> Reporter:
    """One that heard a source, of which every so manieth packet was lost."""
    reception = Reception()
    feed(reception, 0, packets, lost_every)
    return Reporter(stream(), reception, "x")


def feed(reception: Reception, first: int, packets: int, lost_every: int = 0) -> None:
    for n in range(first, first + packets):
        if not lost_every or (n + 1) % lost_every or n == first + packets - 1:
            reception.update(n, n * 160, 7, 160, n * 0.02)


def block_of(one: Reporter, now_s: float = 10.0) -> ReportBlock:
    head = parse_compound(one.report(now_s, 1000.0))[0]
    assert isinstance(head, ReceiverReport | SenderReport)
    return head.reports[0]


def far(fraction: int, *, lost: int = 0, jitter_s: float = 0.0, at_s: float = 9.0, ssrc: int = 5) -> FarReport:
    return FarReport(ssrc, fraction, lost, jitter_s, at_s, 0.05)


def test_without_a_far_end_a_report_is_of_the_way_to_us() -> None:
    block = block_of(reporter(lost_every=10))
    assert (block.fraction_lost, block.cumulative_lost) == (9 * 256 // 100, 9)


def test_loss_beyond_us_is_in_the_report_and_adds_up() -> None:
    one = reporter(lost_every=10)
    one.beyond = lambda: far(64, jitter_s=0.02)
    block = block_of(one)
    assert block.fraction_lost == 64  # a quarter, which holds the tenth that we missed
    assert block.cumulative_lost == 9 + (64 - 9 * 256 // 100) * 100 // 256
    assert block.jitter == 160  # 20 ms of 8000 Hz
    feed(one.reception, 100, 100)
    again = block_of(one)
    assert again.fraction_lost == 64
    assert again.cumulative_lost == block.cumulative_lost + 25


@pytest.mark.parametrize("report", [None, far(255, at_s=-20.0)])
def test_a_far_end_that_is_silent_says_nothing(report: FarReport | None) -> None:
    one = reporter()
    one.beyond = lambda: report
    assert (block_of(one).fraction_lost, block_of(one).cumulative_lost) == (0, 0)


def test_less_loss_beyond_us_than_before_us_hides_nothing() -> None:
    one = reporter(lost_every=4)
    one.beyond = lambda: far(1)
    assert block_of(one).fraction_lost == 24 * 256 // 100
    assert block_of(one).cumulative_lost == 24


def test_another_source_begins_with_no_loss_beyond_us() -> None:
    one = reporter()
    one.beyond = lambda: far(128)
    assert block_of(one).cumulative_lost == 50
    one.reception.update(5, 0, 8, 160, 3.0)
    one.beyond = None
    assert block_of(one).cumulative_lost == 0


def test_the_report_of_our_own_stream_is_kept() -> None:
    one = reporter()
    assert one.far is None
    block = ReportBlock(one.outgoing.ssrc, 3, 40, 7, 80, 0, 0)
    one.receive(build_compound([ReceiverReport(9, (block,))]), 4.0, 1000.0)
    assert one.far == FarReport(one.outgoing.ssrc, 3, 40, 0.01, 4.0, None)


def test_loss_of_one_call_on_a_stream_that_goes_on() -> None:
    loss = FarLoss()
    loss.begin(far(0, lost=30))
    assert loss.lost(None) == 0
    assert loss.lost(far(0, lost=34)) == 4
    assert loss.lost(far(0, lost=3, ssrc=6)) == 7  # the leg was made anew, and counts from 0
    assert loss.lost(far(0, lost=5, ssrc=6)) == 9
    loss.end(far(0, lost=6, ssrc=6))
    assert loss.last == far(0, lost=6, ssrc=6)
    assert loss.lost(None) == 10


def test_loss_of_a_stream_that_was_never_reported_counts_from_its_beginning() -> None:
    loss = FarLoss()
    loss.begin(None)
    assert loss.lost(far(0, lost=2)) == 2


class Leg:
    """A port that reports."""

    payload_types = {"PCMU": 0}  # noqa: RUF012

    def __init__(self) -> None:
        self.beyond: object = None

    def send(self, packet: bytes) -> None:
        raise AssertionError

    def set_receiver(self, on_rtp: object) -> None:
        pass

    def far_report(self) -> FarReport | None:
        return far(1)

    def set_beyond(self, beyond: object) -> None:
        self.beyond = beyond


def test_a_page_whose_leg_is_replaced_is_told_by_the_new_one() -> None:
    port, first, second = PagePort(), Leg(), Leg()
    assert port.far_report() is None

    def beyond() -> FarReport | None:
        return None

    port.set_beyond(beyond)
    port.use(first)
    assert first.beyond is beyond
    assert port.far_report() == far(1)
    port.use(second)
    assert first.beyond is None
    assert second.beyond is beyond
    port.set_beyond(None)
    assert second.beyond is None
