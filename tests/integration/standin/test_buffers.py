"""What the far end hears and says, as buffers with a clock that is only a number."""

from __future__ import annotations

import numpy as np
import pytest

from tests.standin.sound import FRAME, SAMPLE_RATE_HZ, tone
from tests.standin.tape import MAX_HEARD_S, MAX_SAID_S, HeardTape, SayQueue

pytestmark = pytest.mark.unit


def frames(count: int, first: int = 1) -> list[np.ndarray[tuple[int], np.dtype[np.int16]]]:
    return [np.full(FRAME, first + number, dtype=np.int16) for number in range(count)]


def test_frames_are_joined_although_they_arrive_unevenly() -> None:
    tape = HeardTape(100.0)
    arrivals = [100.02, 100.09, 100.09, 100.10, 100.23]
    assert [tape.write(frame, at) for frame, at in zip(frames(5), arrivals, strict=True)] == [False] * 5
    heard = tape.last(0.1, 100.1)
    assert list(heard[::FRAME]) == [1, 2, 3, 4, 5]


def test_a_hole_in_time_is_filled_with_silence() -> None:
    tape = HeardTape(0.0)
    tape.write(frames(1)[0], 0.02)
    assert tape.write(frames(1, 7)[0], 1.02) is True
    heard = tape.last(1.02, 1.02)
    assert (heard[0], heard[FRAME], heard[SAMPLE_RATE_HZ - 1], heard[SAMPLE_RATE_HZ]) == (1, 0, 0, 7)
    assert len(heard) == round(1.02 * SAMPLE_RATE_HZ)


def test_time_goes_on_after_the_last_frame() -> None:
    tape = HeardTape(0.0)
    for number, frame in enumerate(frames(50)):
        tape.write(frame, 0.02 * (number + 1))
    assert tape.last(0.5, 1.0)[-1] == 50
    assert tape.last(0.5, 1.2)[-1] == 50  # within the patience: what is on its way may still come
    assert not tape.last(0.5, 2.0).any()


def test_before_the_beginning_there_is_silence() -> None:
    heard = HeardTape(0.0).last(3, 1.0)
    assert len(heard) == 3 * SAMPLE_RATE_HZ
    assert not heard.any()


def test_the_tape_holds_its_length_and_no_more() -> None:
    tape = HeardTape(0.0)
    tape.write(frames(1)[0], 0.02)
    tape.write(frames(1, 9)[0], MAX_HEARD_S * 3.0)
    assert len(tape.last(MAX_HEARD_S, MAX_HEARD_S * 3.0)) == MAX_HEARD_S * SAMPLE_RATE_HZ
    heard = tape.last(1, MAX_HEARD_S * 3.0)
    assert (heard[-1], heard[0]) == (9, 0)


def test_what_is_said_comes_in_frames_without_a_seam() -> None:
    queue = SayQueue()
    first, second = tone([440], 0.05, -20), tone([880], 0.035, -20)
    assert queue.put(first)
    assert queue.put(second)
    assert queue.seconds == pytest.approx(0.085)
    spoken = np.concatenate([queue.frame() for _ in range(5)])
    whole = np.concatenate([first, second])
    assert np.array_equal(spoken[: len(whole)], whole)
    assert not spoken[len(whole) :].any()
    assert queue.seconds == 0
    assert not queue.frame().any()


def test_the_queue_is_bounded() -> None:
    queue = SayQueue()
    assert queue.put(np.zeros(MAX_SAID_S * SAMPLE_RATE_HZ, dtype=np.int16))
    assert not queue.put(np.zeros(1, dtype=np.int16))
    queue.clear()
    assert queue.put(np.zeros(1, dtype=np.int16))
