"""Packets laid on a recording's clock."""

from __future__ import annotations

import itertools
from array import array

import pytest

from gateway.codecs.g711 import encode_ulaw
from gateway.codecs.pcm import PcmDecoder
from gateway.media.timeline import Timeline, stretched

pytestmark = pytest.mark.unit

RATE_HZ = 16_000
FRAME = 320


class Plain:
    """A decoder without memory: each byte twice, as a sample of that value."""

    def __init__(self, codec: str, rate_hz: int) -> None:
        pass

    def feed(self, payload: bytes) -> array[int]:
        return array("h", [value for value in payload for _ in (0, 1)])

    def flush(self) -> array[int]:
        return array("h")


class Feed:
    """A sender of packets whose sound is their number."""

    def __init__(self, timeline: Timeline, *, ssrc: int = 1, ppm: float = 0.0, start_s: float = 1.0) -> None:
        self.timeline = timeline
        self.ssrc = ssrc
        self.ppm = ppm
        self.start_s = start_s

    def due_s(self, n: int) -> float:
        return self.start_s + n * 0.02 * (1 + self.ppm / 1e6)

    def send(self, n: int, *, late_s: float = 0.0, timestamp: int | None = None, codec: str = "PCMU") -> None:
        stamp = (0xFFFFFF00 + n * 160 if timestamp is None else timestamp) & 0xFFFFFFFF
        payload = bytes((n % 100 + 1,)) * 160
        self.timeline.add(codec, self.ssrc, n & 0xFFFF, stamp, payload, self.due_s(n) + late_s)


def runs(samples: array[int]) -> list[tuple[int, int]]:
    """The sound as value and length."""
    found: list[tuple[int, int]] = []
    for sample in samples:
        if found and found[-1][0] == sample:
            found[-1] = (sample, found[-1][1] + 1)
        else:
            found.append((sample, 1))
    return found


def test_sound_is_where_it_came_and_goes_on_without_a_seam() -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    for n in range(3):
        feed.send(n, late_s=0.004 * (n == 1))  # jitter moves nothing
    assert runs(timeline.take(20_000)) == [(0, 16_000), (1, FRAME), (2, FRAME), (3, FRAME), (0, 4000 - 3 * FRAME)]


def test_what_was_lost_or_late_or_in_disorder_is_silence_or_in_its_place() -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    for n in (0, 3, 2, 2, 5):  # 1 and 4 are lost, 2 comes late and twice
        feed.send(n)
    assert runs(timeline.take(18_000))[1:-1] == [(1, FRAME), (0, FRAME), (3, FRAME), (4, FRAME), (0, FRAME), (6, FRAME)]
    feed.send(4)  # when its place was written
    assert timeline.late == 1
    assert runs(timeline.take(18_100)) == [(0, 100)]


def test_a_pause_that_the_timestamp_tells_of_is_silence() -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    feed.send(0)
    feed.send(50)
    assert runs(timeline.take(33_000))[:4] == [(0, 16_000), (1, FRAME), (0, 49 * FRAME), (51, FRAME)]


def test_nothing_is_written_twice_over_many_takes() -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    whole = array("h")
    for n in range(200):
        feed.send(n)
        if n % 7 == 0:
            whole += timeline.take(max(len(whole), int((feed.due_s(n) - 0.4) * RATE_HZ)))
    whole += timeline.take(int(feed.due_s(200) * RATE_HZ), last=True)
    assert runs(whole) == [(0, 16_000), *((n % 100 + 1, FRAME) for n in range(200))]


def test_a_sender_that_stood_still_is_found_again_at_once() -> None:
    """Its timestamps do not tell of the hold-up."""
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    for n in range(10):
        feed.send(n)
    timeline.take(int(2.0 * RATE_HZ))
    for n in range(10, 15):
        feed.send(n, late_s=1.2)
    found = runs(timeline.take(int(3.0 * RATE_HZ)))
    assert found[0] == (0, round(0.4 * RATE_HZ))
    assert [value for value, _ in found[1:6]] == [11, 12, 13, 14, 15]
    assert timeline.jumps == 1


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_a_clock_that_runs_away_is_followed_all_the_time(ppm: float) -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline, ppm=ppm)
    length, emitted = 0, 0
    for n in range(60_000):
        feed.timeline.add("PCMU", 1, n & 0xFFFF, n * 160 & 0xFFFFFFFF, b"\x01", feed.due_s(n))
        if n % 50 == 0:
            until = max(emitted, int((feed.due_s(n) - 0.4) * RATE_HZ))
            length += len(timeline.take(until))
            emitted = until
    assert length == emitted
    drifted = 1200 * ppm / 1e6 * RATE_HZ
    assert timeline.slipped == pytest.approx(drifted, abs=100)  # 6 ms of 240
    assert (timeline.jumps, timeline.late) == (0, 0)


def test_a_first_packet_that_was_late_is_made_good_little_by_little() -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    for n in range(600):
        feed.send(n, late_s=0.03 * (n == 0))
    timeline.take(int(5 * RATE_HZ))
    assert timeline.slipped == pytest.approx(-0.03 * RATE_HZ, abs=60)


def test_a_jump_in_the_place_is_made_at_once() -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    for n in range(50):
        feed.send(n)
    for n in range(50, 300):  # from here on 200 ms late, more than any jitter
        feed.send(n, late_s=0.2)
    assert timeline.jumps == 1
    assert timeline.slipped == 0


@pytest.mark.parametrize("what", ["ssrc", "timestamp", "clock"])
def test_another_stream_is_placed_by_its_arrival(what: str) -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline)
    feed.send(0)
    if what == "ssrc":
        feed.ssrc = 2
    feed.send(2, timestamp=0x12345678 if what == "timestamp" else None, codec="opus" if what == "clock" else "PCMU")
    found = runs(timeline.take(18_000))
    assert found[:4] == [(0, 16_000), (1, FRAME), (0, FRAME), (3, FRAME)]


def test_after_a_restart_nothing_of_before_is_left() -> None:
    timeline = Timeline(RATE_HZ, Plain)
    feed = Feed(timeline, start_s=0.0)
    feed.send(0)
    feed.send(30)
    assert runs(timeline.take(FRAME, last=True)) == [(1, FRAME)]
    timeline.restart()
    assert runs(timeline.take(20_000)) == [(0, 20_000 - FRAME)]


def test_stretching_keeps_the_ends_and_the_line_between() -> None:
    line = array("h", range(0, 3200, 10))
    for by in (-4, -1, 2, 4):
        out = stretched(line, by)
        assert len(out) == len(line) + by
        assert (out[0], out[-1]) == (line[0], line[-1])
        steps = [later - before for before, later in itertools.pairwise(out)]
        assert max(steps) - min(steps) <= 2
    assert stretched(array("h", [5]), -1) == array("h", [5])


def test_a_law_is_decoded_to_the_recordings_rate() -> None:
    timeline = Timeline(RATE_HZ, PcmDecoder)
    for n in range(5):
        timeline.add("PCMU", 1, n, n * 160, encode_ulaw(array("h", [8000] * 160)), n * 0.02)
    samples = timeline.take(5 * FRAME, last=True)
    assert len(samples) == 5 * FRAME
    assert samples[800] == pytest.approx(8000, rel=0.02)
