"""The events of both legs of a call, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final

from gateway.bridge.control import CallControl, Transfer
from gateway.domain.page_call import PageCallEvent
from gateway.page.driver import PageCall
from gateway.protocol.sip.events import Cancelled, Ended, Failed
from gateway.sip.call import CallEvent, SipCall

LegEvent = CallEvent | PageCallEvent | Transfer
Source = SipCall | PageCall | CallControl

_QUEUE_LENGTH: Final = 4  # the legs' own queues hold what waits; this one only joins them


class LegEvents:
    """Joins the events of the legs that were added, in the order in which they came.

    Use it through `leg_events`, which owns the tasks.
    """

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._queue: asyncio.Queue[tuple[Source, LegEvent]] = asyncio.Queue(_QUEUE_LENGTH)
        self.pumps: list[asyncio.Task[None]] = []

    def add(self, leg: Source) -> None:
        """Take the events of *leg* as well."""
        self.pumps.append(self._group.create_task(self._pump(leg, leg.next_event)))

    def own(self, work: Coroutine[None, None, None]) -> None:
        """Run *work* beside the events, until the block ends."""
        self.pumps.append(self._group.create_task(work))

    async def next(self) -> tuple[Source, LegEvent]:
        """Wait for the next event of any leg; the leg is given with it."""
        return await self._queue.get()

    async def _pump(self, leg: Source, next_event: Callable[[], Awaitable[LegEvent]]) -> None:
        while True:
            event = await next_event()
            await self._queue.put((leg, event))
            if isinstance(event, Failed | Cancelled | Ended):
                return  # the last one of a SIP leg; the call may go on without it


@asynccontextmanager
async def leg_events() -> AsyncIterator[LegEvents]:
    """Give a `LegEvents` whose tasks end with the block."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        events = LegEvents(group)
        try:
            yield events
        except Exception as error:
            # Raised again outside the group, which would wrap it: a call's error says by itself how the call ends.
            failure = error
        finally:
            for pump in events.pumps:
                pump.cancel()
    if failure is not None:
        raise failure
