"""Delivers the outbox: every event to every webhook that wants it, until it was taken or three days have passed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from gateway import __version__
from gateway.events.hub import envelope
from gateway.events.schedule import pause_s, too_old
from gateway.events.sender import NotSent, Sender
from gateway.events.signing import signature
from gateway.ops.metrics import Metrics
from gateway.store.errors import StoreError
from gateway.store.store import Store
from gateway.store.webhooks import Attempt, Delivery, Outcome, Webhook

_BATCH: Final = 100
_AT_ONCE: Final = 8  # webhooks; each gets its events one after the other
_IDLE_S: Final = 60.0  # looks at the clock anew at least this often
_STORE_PAUSE_S: Final = 2.0
_GONE: Final = 410


class Deliverer:
    """Sends what waits in the outbox.

    Args:
        store: with the outbox.
        sender: sends one.
        metrics: where outcomes are counted.
        now: the clock.
        jitter: gives a number from 0 to 1.
    """

    def __init__(
        self,
        store: Store,
        sender: Sender,
        metrics: Metrics,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._sender = sender
        self._metrics = metrics
        self._now = now
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._log = structlog.get_logger(__name__)

    def wake(self) -> None:
        """Look into the outbox now."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled. What is under way then is sent once more after the next start."""
        while True:
            self._wake.clear()
            try:
                next_at = await self.turn()
                wait_s = _IDLE_S if next_at is None else (next_at - self._now()).total_seconds()
            except StoreError as error:
                self._log.warning("outbox_unavailable", error=str(error))
                wait_s = _STORE_PAUSE_S
            try:
                async with asyncio.timeout(max(0.0, min(wait_s, _IDLE_S))):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def turn(self) -> datetime | None:
        """Send everything that is due, and return when the next try is.

        Raises:
            StoreError: the outbox cannot be read or written.
        """
        slots = asyncio.Semaphore(_AT_ONCE)
        while due := await self._store.webhooks.due(self._now(), limit=_BATCH):
            by_hook: dict[str, list[tuple[Webhook, Delivery]]] = {}
            for hook, delivery in due:
                by_hook.setdefault(hook.id, []).append((hook, delivery))
            try:
                async with asyncio.TaskGroup() as group:
                    for pairs in by_hook.values():
                        group.create_task(self._one_hook(pairs, slots))
            except* StoreError as errors:
                raise errors.exceptions[0] from None
        return await self._store.webhooks.next_due()

    async def _one_hook(self, pairs: list[tuple[Webhook, Delivery]], slots: asyncio.Semaphore) -> None:
        """Send a webhook's events in order; after a failure the rest waits for the webhook's pause."""
        async with slots:
            for hook, delivery in pairs:
                outcome = await self._try(hook, delivery)
                await self._store.webhooks.settle(delivery.id, outcome)
                self._metrics.webhook_deliveries.labels(delivery.event.type, outcome.state).inc()
                if outcome.state != "delivered":
                    self._log.info(
                        "webhook_failed", webhook=hook.id, type=delivery.event.type, status=outcome.attempt.status,
                        error=outcome.attempt.error, state=outcome.state,
                    )  # fmt: skip
                    return

    async def _try(self, hook: Webhook, delivery: Delivery) -> Outcome:
        started_at, started_s = self._now(), time.perf_counter()
        told = envelope(delivery.event)
        body = told.model_dump_json().encode()
        timestamp_s = int(started_at.timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Ponte/{__version__}",
            "webhook-id": told.id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(hook.secrets(started_at), told.id, timestamp_s, body),
        }
        status, error = None, ""
        try:
            status = await self._sender.post(hook.url, body, headers)
            if not 200 <= status < 300:
                error = f"it answered {status}"
        except NotSent as failure:
            error = str(failure)
        attempt = Attempt(started_at, status, error, round((time.perf_counter() - started_s) * 1000))
        if not error:
            return Outcome(attempt, "delivered")
        if status == _GONE:  # the scheme's word for: never again
            return Outcome(attempt, "failed", disable="the endpoint answered 410 Gone")
        jitter = self._jitter()  # one for both: an endpoint that is down gets its events in order when it is back
        own = started_at + timedelta(seconds=pause_s(delivery.tries + 1, jitter))
        paused = started_at + timedelta(seconds=pause_s(hook.failures + 1, jitter))
        if too_old(delivery.created_at, own):
            return Outcome(attempt, "failed", paused_until=paused)
        return Outcome(attempt, "pending", own, paused)
