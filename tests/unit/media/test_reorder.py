"""The reorder buffer: no waiting while the line is clean, order and time for copies while it is not."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from gateway.media.reorder import MAX_DELAY_MS, Came, Lost, ReorderBuffer

pytestmark = pytest.mark.unit

CLOCK_HZ = 8000
UNITS = 160
START_S = 50.0


@dataclass
class Line:
    """A buffer on a virtual clock; `out` is what left and when."""

    buffer: ReorderBuffer = field(default_factory=lambda: ReorderBuffer(CLOCK_HZ))
    out: list[tuple[float, Came | Lost]] = field(default_factory=list)

    def drain(self, now_s: float) -> None:
        while (found := self.buffer.pull(now_s)) is not None:
            self.out.append((now_s, found))

    def run(self, arrivals: list[tuple[float, int]], *, units: int = UNITS) -> None:
        """Let packets come at their instants (s), and every timer go off in between."""
        for at_s, n in sorted(arrivals):
            while (due := self.buffer.next_timeout()) is not None and due <= at_s:
                self.drain(due)
                assert self.buffer.next_timeout() != due, "a timer that does nothing goes off for ever"
            self.buffer.push((n + 65_000) & 0xFFFF, (n * units - 3000) & 0xFFFFFFFF, n.to_bytes(4, "big"), units, at_s)
            self.drain(at_s)
        while (due := self.buffer.next_timeout()) is not None:
            self.drain(due)

    @property
    def order(self) -> list[int | None]:
        return [int.from_bytes(found.payload, "big") if isinstance(found, Came) else None for _, found in self.out]

    def delays_ms(self) -> list[float]:
        return [
            1000 * (at_s - START_S - int.from_bytes(found.payload, "big") * 0.02)
            for at_s, found in self.out
            if isinstance(found, Came)
        ]


def at(n: int) -> float:
    return START_S + n * 0.02


def test_nothing_waits_on_a_clean_line() -> None:
    line = Line()
    line.run([(at(n), n) for n in range(600)])
    assert line.order == list(range(600))
    assert max(line.delays_ms()) < 0.001
    assert line.buffer.delay_ms == 0


def test_jitter_alone_makes_nobody_wait_more_than_it_does_itself() -> None:
    noise = random.Random(4)
    came = [at(n) + noise.uniform(0, 0.018) for n in range(300)]
    line = Line()
    line.run(list(zip(came, range(300), strict=True)))
    assert line.order == list(range(300))
    assert [at_s for at_s, _ in line.out] == came


def test_a_single_loss_is_told_when_the_next_packet_comes_and_nothing_waits() -> None:
    line = Line()
    line.run([(at(n), n) for n in range(50) if n != 20])
    assert line.order == [*range(20), None, *range(21, 50)]
    at_s, lost = line.out[20]
    assert isinstance(lost, Lost)
    assert (lost.timestamp & 0xFFFFFFFF, lost.units, lost.following) == (200, UNITS, b"\0\0\0\x15")
    assert at_s == at(21)
    assert line.buffer.delay_ms == 0
    assert line.buffer.lost == 1


def test_on_a_lossy_line_a_lost_packet_is_made_good_in_its_turn() -> None:
    line = Line()
    line.run([(at(n), n) for n in range(200) if n % 20 != 10])
    assert line.buffer.delay_ms == 30  # a packet, and a margin
    turns = [at_s for at_s, _ in line.out[80:]]
    steps = {round(1000 * (b - a)) for a, b in itertools.pairwise(turns)}
    assert steps == {20}


def test_a_run_of_losses_tells_what_follows_only_to_the_last() -> None:
    line = Line()
    line.run([(at(n), n) for n in range(30) if n not in (10, 11, 12)])
    lost = [found for _, found in line.out if isinstance(found, Lost)]
    assert [one.following for one in lost] == [None, None, b"\0\0\0\x0d"]
    assert [b.timestamp - a.timestamp for a, b in itertools.pairwise(lost)] == [UNITS, UNITS]


def test_overtaken_packets_are_put_in_order_from_the_second_on_and_late_ones_counted() -> None:
    line = Line()
    arrivals = [(at(n) + (0.025 if n % 10 == 5 else 0.0), n) for n in range(200)]
    line.run(arrivals)
    assert line.buffer.late <= 3
    assert 25 <= line.buffer.delay_ms <= MAX_DELAY_MS
    assert line.order[60:] == list(range(60, 200))


def test_the_delay_goes_again_when_the_line_is_calm() -> None:
    line = Line()
    line.run([(at(n), n) for n in range(1200) if not (n < 200 and n % 20 == 10)])
    assert line.buffer.delay_ms == 0
    assert line.delays_ms()[-1] < 0.001


def test_it_never_holds_back_more_than_it_says() -> None:
    noise = random.Random(11)
    line = Line()
    arrivals = [(at(n) + noise.choice((0, 0, 0.03, 0.09)), n) for n in range(1500) if noise.random() > 0.1]
    line.run(arrivals)
    came = {n: at_s for at_s, n in arrivals}
    for at_s, found in line.out:
        if isinstance(found, Came):
            n = int.from_bytes(found.payload, "big")
            assert at_s <= max(came[n], at(n) + MAX_DELAY_MS / 1000 + 0.001) + 0.006
    heard = [n for n in line.order if n is not None]
    assert heard == sorted(heard)


def test_a_stall_leaves_out_what_waited_and_goes_on_at_once() -> None:
    stalled = [(at(n) if n < 50 or n > 75 else at(75) + (n - 50) * 1e-4, n) for n in range(150)]
    line = Line()
    line.run(stalled)
    assert line.buffer.left_out >= 18
    kept = [n for n in line.order if n is not None and 50 <= n <= 75]
    assert kept == list(range(min(kept), 76))
    assert len(kept) <= 7  # 100 ms
    assert line.delays_ms()[-1] < 5


def test_a_line_that_has_become_slower_is_followed() -> None:
    line = Line()
    line.run([(at(n) + (0.15 if n >= 100 else 0), n) for n in range(300)])
    assert line.order == list(range(300))
    assert line.delays_ms()[-1] == pytest.approx(150, abs=1)


def test_numbers_that_were_used_by_something_else_are_no_loss() -> None:
    buffer = ReorderBuffer(CLOCK_HZ)
    for n in range(5):
        buffer.push(n, n * UNITS, b"x" if n != 2 else b"", UNITS if n != 2 else 0, at(n))
    found = []
    while (one := buffer.pull(at(5))) is not None:
        found.append(one)
    assert [bool(one.units) for one in found] == [True, True, False, True, True]
    assert buffer.lost == 0


def test_another_stream_is_begun_anew() -> None:
    line = Line()
    line.run([(at(n), n) for n in range(10)])
    line.buffer.push(30_000, 99, b"\0\0\0\x01", UNITS, at(10))
    line.drain(at(10))
    assert len(line.out) == 11
    assert line.buffer.lost == 0
