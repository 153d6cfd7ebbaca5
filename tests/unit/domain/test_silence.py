"""When silence is worth a question."""

from __future__ import annotations

import pytest

from gateway.domain.silence import Look, SilenceWatch

pytestmark = pytest.mark.unit


def test_who_was_never_heard_is_not_watched() -> None:
    watch = SilenceWatch(30)
    assert watch.look(0, None, explained=False) == Look(False, 30)
    assert watch.look(1000, None, explained=False) == Look(False, 30)


def test_silence_is_told_once_in_each_time() -> None:
    watch = SilenceWatch(30)
    assert watch.look(100, 99, explained=False) == Look(False, 29)
    assert watch.look(129, 99, explained=False) == Look(True, 30)
    assert watch.look(140, 99, explained=False) == Look(False, 19)
    assert watch.look(159, 99, explained=False) == Look(True, 30)


def test_who_is_heard_again_has_the_whole_time_again() -> None:
    watch = SilenceWatch(30)
    assert watch.look(130, 99, explained=False).silent
    assert watch.look(160, 159.5, explained=False) == Look(False, 29.5)


def test_hold_explains_silence_and_the_time_begins_with_the_resume() -> None:
    watch = SilenceWatch(30)
    assert watch.look(200, 99, explained=True) == Look(False, 30)
    assert watch.look(210, 99, explained=False) == Look(False, 20)
    assert watch.look(230, 99, explained=False).silent
