"""Notices that one side of a call is not heard, what PBX people complain of most, and says where it gets lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from gateway.accounts.call_path import PathWatch, Trouble
from gateway.bridge.call import Call
from gateway.domain.page_audio import PageAudio
from gateway.domain.states import CallState

_LOOK_S: Final = 0.5
_SILENT_S: Final = 2.4  # beyond any loss, and told in less than 3 s
_LOOKS: Final = 4  # 2 s in which sound gets lost
_PAGE_EVERY: Final = 2  # looks: the page knows its levels by the second
_PAGE_S: Final = 0.4


@asynccontextmanager
async def watched_audio(call: Call, tell: Callable[[Call, Trouble | None], None]) -> AsyncIterator[None]:
    """Watch over *call* beside the block; *tell* hears of a direction that falls silent, and that it is heard again."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_watch(call, tell))
        try:
            yield
        finally:
            task.cancel()


async def _watch(call: Call, tell: Callable[[Call, Trouble | None], None]) -> None:
    try:
        await call.active.wait()
        await _look(call, tell)
    except Exception:  # a call must not end because something about it could not be told
        structlog.get_logger(__name__).exception("audio_watch_failed")


async def _look(call: Call, tell: Callable[[Call, Trouble | None], None]) -> None:
    watch, number = PathWatch(_SILENT_S, _LOOKS), 0
    while True:
        await asyncio.sleep(_LOOK_S)
        if call.state is not CallState.ACTIVE:
            return
        number += 1
        explained = call.media.held or call.control.held or call.control.muted
        page = await _page(call) if number % _PAGE_EVERY == 0 and not explained else None
        stats = call.media.query()
        call.trace.sound(stats)
        news = watch.look(time.monotonic(), stats, page, explained=explained)
        call.path = watch.path
        if news is not None:
            tell(call, news[0])


async def _page(call: Call) -> PageAudio | None:
    try:
        async with asyncio.timeout(_PAGE_S):
            return await call.media.look_at_page()
    except Exception as error:  # a page that does not tell is no trouble of the sound
        structlog.get_logger(__name__).debug("page_not_looked_at", error=type(error).__name__)
        return None
