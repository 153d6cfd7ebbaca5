"""Notices that only one side of a call is heard: the complaint that PBX people hear most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import structlog

from gateway.bridge.call import Call
from gateway.domain.states import CallState

OneWay = Literal["wa_to_sip", "sip_to_wa"] | None
"""The direction that is silent; None: none, or both."""

_LOOK_S: Final = 1.0
_LOOKS: Final = 5  # seconds without a packet: beyond any loss, before people give up


class OneWayWatch:
    """Follows both directions' packet counts. No clock.

    Args:
        looks: how many looks in a row without a packet count as silence.
    """

    def __init__(self, looks: int = _LOOKS) -> None:
        self._looks = looks
        self._counts = (0, 0)
        self._quiet = [0, 0]  # looks in a row without a packet
        self._told: OneWay = None

    def look(self, wa_to_sip: int, sip_to_wa: int, *, explained: bool) -> tuple[OneWay] | None:
        """Take the counts of packets that came; give what is new to tell, None where nothing is.

        Args:
            wa_to_sip: packets that WhatsApp's side sent so far.
            sip_to_wa: packets that the phone sent so far.
            explained: a hold, a mute or the like explains silence.
        """
        counts = (wa_to_sip, sip_to_wa)
        for n in (0, 1):
            moved = counts[n] != self._counts[n]
            self._quiet[n] = 0 if moved or explained else self._quiet[n] + 1
        self._counts = counts
        wa_silent, sip_silent = (quiet >= self._looks for quiet in self._quiet)
        now: OneWay = None
        if wa_silent != sip_silent:  # both silent is no one-way audio, but no audio: the legs' own watch has that
            now = "wa_to_sip" if wa_silent else "sip_to_wa"
        if now == self._told:
            return None
        self._told = now
        return (now,)


@asynccontextmanager
async def watched_audio(call: Call, tell: Callable[[Call, OneWay], None]) -> AsyncIterator[None]:
    """Watch over *call* beside the block; *tell* hears of a direction that falls silent, and that it is heard again."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_watch(call, tell))
        try:
            yield
        finally:
            task.cancel()


async def _watch(call: Call, tell: Callable[[Call, OneWay], None]) -> None:
    try:
        await _look(call, tell)
    except Exception:  # a call must not end because something about it could not be told
        structlog.get_logger(__name__).exception("audio_watch_failed")


async def _look(call: Call, tell: Callable[[Call, OneWay], None]) -> None:
    watch = OneWayWatch()
    while True:
        await asyncio.sleep(_LOOK_S)
        if call.state is CallState.ACTIVE:
            stats = call.media.query()
            explained = call.media.held or call.control.held
            news = watch.look(stats.wa_to_sip.packets, stats.sip_to_wa.packets, explained=explained)
            if news is not None:
                tell(call, news[0])
