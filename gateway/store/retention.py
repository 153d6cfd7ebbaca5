"""Deletes what is older than the operator keeps it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from gateway.store.errors import StoreError
from gateway.store.store import Store

_INTERVAL_S: Final = 3600.0
_KEEP_KEYS: Final = timedelta(days=1)  # nobody repeats a request for a call after that


async def keep_tidy(
    store: Store,
    *,
    call_days: int,
    recording_days: int = 0,
    event_days: int,
    event_keep: int,
    interval_s: float = _INTERVAL_S,
) -> None:
    """Purge now and then every *interval_s* seconds, until cancelled.

    Args:
        store: what is purged.
        call_days: age of the oldest call record that stays; 0 keeps all.
        recording_days: age of the oldest recording that stays; 0: as long as its record.
        event_days: age of the oldest event that stays.
        event_keep: how many events stay at most.
        interval_s: between two purges.
    """
    log = structlog.get_logger(__name__)
    while True:
        try:
            await purge(
                store,
                datetime.now(UTC),
                call_days=call_days,
                recording_days=recording_days,
                event_days=event_days,
                event_keep=event_keep,
            )
        except StoreError as error:
            log.warning("purge_failed", error=str(error))
        await asyncio.sleep(interval_s)


async def purge(
    store: Store,
    now: datetime,
    *,
    call_days: int,
    recording_days: int = 0,
    event_days: int = 7,
    event_keep: int = 200_000,
) -> int:
    """Delete what is too old at *now*, and return how many call records there were.

    Raises:
        StoreError: not all could be deleted.
    """
    await store.idempotency.purge(now - _KEEP_KEYS)
    await store.events.trim(now - timedelta(days=event_days), event_keep)
    count = await store.calls.purge(now - timedelta(days=call_days)) if call_days else 0
    recordings = await store.calls.purge_recordings(now - timedelta(days=recording_days)) if recording_days else 0
    if recordings:
        structlog.get_logger(__name__).info("recordings_purged", count=recordings, older_than_days=recording_days)
    await store.accounts.purge(now)
    if count:
        structlog.get_logger(__name__).info("call_records_purged", count=count, older_than_days=call_days)
    return count
