"""A call that is made, measured, and made again where the machine was too busy with other things to tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.demo.call import Direction, Spoken, make_call
from tests.demo.measure import CallFigures, Limits, Unmeasurable, failures, measure
from tests.demo.world import World
from tests.support.machine import BusyMeter, Busyness

# The whole product with its Chromium keeps a core and a half of two busy at the most, and usually half a core.
TOO_MANY_PER_CORE: Final = 1.0
TOO_LATE_MS: Final = 40.0
ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a call.

    Attributes:
        figures: None where it could not be measured at all.
        failed: a sentence for each figure that does not hold.
        busy: how busy the machine was.
        attempts: how often the call was made.
    """

    figures: CallFigures | None
    failed: tuple[str, ...]
    busy: Busyness
    attempts: int


def too_busy(busy: Busyness) -> bool:
    """Whether others used the processors so much that a measure of time means nothing."""
    return busy.runnable_per_core > TOO_MANY_PER_CORE or busy.latest_wake_ms > TOO_LATE_MS


async def measured_call(
    world: World,
    direction: Direction,
    spoken: Spoken,
    folder: Path,
    say: Callable[[str], None],
    *,
    limits: Limits,
    attempts: int = ATTEMPTS,
) -> Measured:
    """Make a call and measure it.

    A call whose figures do not hold is made again only where the machine was busy with other things meanwhile; what
    fails on an idle machine has failed, and so has what never holds.

    Args:
        world: a READY one.
        direction: who calls.
        spoken: what both sides say.
        folder: for the recordings.
        say: told what is going on.
        limits: what must hold.
        attempts: calls to make at most.

    Raises:
        FarEndError: as `make_call`.
        PhoneError: as `make_call`.
    """
    for attempt in range(1, attempts + 1):
        with BusyMeter() as meter:
            record = await make_call(world, direction, spoken, folder, say)
            busy = meter.read()
        try:
            figures = await asyncio.to_thread(measure, record)
        except Unmeasurable as error:
            result = Measured(None, (f"{direction}: {error}",), busy, attempt)
        else:
            result = Measured(figures, tuple(failures(figures, limits)), busy, attempt)
        if not result.failed or not too_busy(busy):
            break
        say(
            f"{direction}: {len(result.failed)} figures do not hold, but {busy.runnable_per_core:.1f} threads wanted "
            f"each processor and one was woken {busy.latest_wake_ms:.0f} ms late"
        )
        if attempt < attempts:
            say("the machine is busy with other things: the call is made again")
    return result
