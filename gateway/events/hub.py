"""Where events are published: written to the log in order, then told to live subscribers and to webhooks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from gateway.domain.ids import AccountId
from gateway.events.models import Envelope, Event
from gateway.store.events import StoredEvent, append_event
from gateway.store.store import Store

_QUEUE: Final = 1000  # events that wait for one subscriber; a slower one comes again and reads the log
_PAGE: Final = 200
_ID: Final = re.compile(r"evt_([0-9]{1,18})")


class TooSlow(Exception):
    """A subscriber did not take its events in time, or the gateway stops: resume after the last one."""


def event_id(seq: int) -> str:
    """Return the name of an event by its place in the log."""
    return f"evt_{seq}"


def parse_event_id(text: str) -> int | None:
    """Return the place of the event of that name, None where it is no name."""
    found = _ID.fullmatch(text)
    return int(found[1]) if found else None


def envelope(event: StoredEvent) -> Envelope:
    """Return an event as everybody gets it."""
    return Envelope(id=event_id(event.seq), type=event.type, timestamp=event.at, data=dict(event.data))


class Subscription:
    """One live subscriber."""

    def __init__(self, account: AccountId) -> None:
        self.account = account
        self._queue: asyncio.Queue[StoredEvent | None] = asyncio.Queue(_QUEUE)
        self._over = False

    def tell(self, event: StoredEvent) -> None:
        """Take an event."""
        if not self._over:
            try:
                self._queue.put_nowait(event)
            except asyncio.QueueFull:
                self.end()

    def end(self) -> None:
        """Tell no more; what waits is dropped, since the log has it."""
        self._over = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self) -> StoredEvent:
        """Wait for the next event.

        Raises:
            TooSlow: there will be none.
        """
        event = await self._queue.get()
        if event is None:
            raise TooSlow
        return event


class EventHub:
    """The events of one process.

    Args:
        store: where they are written.
        now: the clock.
    """

    def __init__(self, store: Store, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._now = now
        self._subscriptions: set[Subscription] = set()
        self.on_outbox: Callable[[], None] = lambda: None  # told when webhooks have something to deliver
        self._log = structlog.get_logger(__name__)

    def publish(self, account: AccountId, event: Event) -> None:
        """Have *event* written and told; never blocks. Events come out in the order in which they were published."""
        data = event.model_dump(mode="json")
        self._store.journal.add(
            partial(append_event, account=account, kind=event.type, at=self._now(), data=data, number=event.number),
            committed=self._tell,
            lost=lambda why: self._log.error("event_lost", type=event.type, account_id=account, error=why),
        )

    def count(self, account: AccountId) -> int:
        """Return how many live subscribers an account has."""
        return sum(one.account == account for one in self._subscriptions)

    @contextmanager
    def subscribed(self, account: AccountId) -> Iterator[Subscription]:
        """Give a subscription for the length of the block."""
        one = Subscription(account)
        self._subscriptions.add(one)
        try:
            yield one
        finally:
            self._subscriptions.discard(one)

    async def follow(
        self, subscription: Subscription, after: int | None, *, beat_s: float | None = None
    ) -> AsyncIterator[StoredEvent | None]:
        """Give the events after the place *after*, stored and live ones, each once; None: live ones only.

        Args:
            subscription: made before, so that nothing falls between log and life.
            after: place of the last event that the subscriber has.
            beat_s: give None when nothing came for that long; None: never.

        Raises:
            TooSlow: the subscriber has to come again.
            StoreError: the log cannot be read.
        """
        last = after
        while last is not None:
            page = await self._store.events.after(subscription.account, last, limit=_PAGE)
            for event in page:
                last = event.seq
                yield event
            if len(page) < _PAGE:
                break
        while True:
            try:
                async with asyncio.timeout(beat_s):
                    event = await subscription.next()
            except TimeoutError:
                yield None
                continue
            if last is None or event.seq > last:
                yield event

    def close(self) -> None:
        """End every subscription, since the gateway stops."""
        for one in self._subscriptions:
            one.end()

    def end(self, account: AccountId) -> None:
        """End the subscriptions of an account, since it was removed."""
        for one in self._subscriptions:
            if one.account == account:
                one.end()

    def _tell(self, event: StoredEvent) -> None:
        for one in self._subscriptions:
            if one.account == event.account:
                one.tell(event)
        if event.deliveries:
            self.on_outbox()
