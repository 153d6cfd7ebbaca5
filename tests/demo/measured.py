"""A call that is made and measured, and how busy the machine was meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.demo.call import Direction, Spoken, make_call
from tests.demo.measure import CallFigures, Limits, Unmeasurable, failures, measure
from tests.demo.world import World
from tests.support.machine import BusyMeter, Busyness


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a call.

    Attributes:
        figures: None where it could not be measured at all.
        failed: a sentence for each figure that does not hold.
        busy: how busy the machine was; it explains a figure and excuses none.
    """

    figures: CallFigures | None
    failed: tuple[str, ...]
    busy: Busyness


async def measured_call(
    world: World, direction: Direction, spoken: Spoken, folder: Path, say: Callable[[str], None], *, limits: Limits
) -> Measured:
    """Make a call and measure it, once.

    Args:
        world: a READY one.
        direction: who calls.
        spoken: what both sides say.
        folder: for the recordings.
        say: told what is going on.
        limits: what must hold.

    Raises:
        FarEndError: as `make_call`.
        PhoneError: as `make_call`.
    """
    with BusyMeter() as meter:
        record = await make_call(world, direction, spoken, folder, say)
        busy = meter.read()
    try:
        figures = await asyncio.to_thread(measure, record)
    except Unmeasurable as error:
        return Measured(None, (f"{direction}: {error}",), busy)
    failed = tuple(failures(figures, limits))
    if failed:
        say(
            f"{direction}: while {busy.runnable_per_core:.1f} threads wanted each processor, "
            f"one of which was woken {busy.latest_wake_ms:.0f} ms late, {len(failed)} figures do not hold"
        )
    return Measured(figures, failed, busy)
