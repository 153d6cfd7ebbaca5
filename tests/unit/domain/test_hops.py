"""Which hop of a call's way is broken."""

from __future__ import annotations

import pytest

from gateway.domain.hops import WHY, CallPath, Hop, Reading, broken

pytestmark = pytest.mark.unit

WAY = (Hop.PHONE_TO_GATEWAY, Hop.GATEWAY_TO_PAGE, Hop.PAGE_BUFFER, Hop.PAGE_MICROPHONE)


def way(*levels: float | None, packets: tuple[int | None, ...] = (50, 50, 50, 50)) -> tuple[Reading, ...]:
    return tuple(Reading(hop, n, level) for hop, n, level in zip(WAY, packets, levels, strict=True))


def test_a_way_that_sounds_or_is_silent_from_its_beginning_is_whole() -> None:
    assert broken(way(-20, -20, None, -25)) is None
    assert broken(way(-90, -90, None, -120)) is None
    assert broken(way(None, None, None, -120)) is None, "a codec that nobody looks into"
    assert broken(()) is None


@pytest.mark.parametrize("at", range(4))
def test_the_hop_that_nothing_comes_to_is_named(at: int) -> None:
    packets = tuple(0 if n >= at else 50 for n in range(4))
    assert broken(way(-20, -20, -20, -20, packets=packets)) is WAY[at]


@pytest.mark.parametrize("at", range(1, 4))
def test_the_hop_at_which_sound_becomes_silence_is_named(at: int) -> None:
    assert broken(way(*(-90.0 if n >= at else -20.0 for n in range(4)))) is WAY[at]


def test_what_nobody_knows_is_passed_over() -> None:
    assert broken(way(-20, None, None, -90, packets=(50, None, None, 4))) is Hop.PAGE_MICROPHONE
    assert broken(way(-20, -50, None, -50)) is None, "neither loud nor silent"


def test_both_directions_are_told_and_every_hop_has_a_sentence() -> None:
    path = CallPath((Reading(Hop.PAGE_SPEAKER, 0),), way(-20, -90, None, -90))
    assert path.broken == [Hop.PAGE_SPEAKER, Hop.GATEWAY_TO_PAGE]
    assert set(WHY) == set(Hop)
