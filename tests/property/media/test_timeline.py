"""Whatever comes, in whatever order: a recording is as long as its clock says, and nothing raises."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.pcm import PcmDecoder
from gateway.media.timeline import Timeline, stretched

pytestmark = pytest.mark.property

RATE_HZ = 16_000
PACKETS = st.tuples(
    st.sampled_from(["PCMU", "PCMA", "G722", "opus"]),
    st.integers(0, 3),  # SSRC
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF) | st.integers(0, 100).map(lambda n: n * 160),
    st.binary(max_size=200),
    st.floats(0, 0.05),  # seconds since the one before
)


@given(st.lists(st.tuples(PACKETS, st.booleans()), max_size=60))
def test_any_packets_give_as_many_samples_as_time_went_by(packets: list[tuple[tuple[object, ...], bool]]) -> None:
    timeline = Timeline(RATE_HZ, PcmDecoder)
    now, emitted, length = 0.0, 0, 0
    for (codec, ssrc, sequence, timestamp, payload, after_s), last in packets:
        now += after_s  # type: ignore[operator]
        timeline.add(codec, ssrc, sequence, timestamp, payload, now)  # type: ignore[arg-type]
        until = max(emitted, int((now - 0.1) * RATE_HZ))
        length += len(timeline.take(until, last=last))
        emitted = until
        if last:
            timeline.restart()
    until = max(emitted, int(now * RATE_HZ))
    assert length + len(timeline.take(until, last=True)) == until


@given(st.lists(st.integers(-32768, 32767), min_size=2, max_size=400), st.integers(-4, 4))
def test_stretching_stays_within_the_sound(samples: list[int], by: int) -> None:
    out = stretched(array("h", samples), by)
    if len(samples) + by >= 2:
        assert len(out) == len(samples) + by
    assert min(samples) <= min(out)
    assert max(out) <= max(samples)
