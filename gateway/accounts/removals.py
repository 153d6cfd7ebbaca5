"""Ends accounts that another process removed: `ponte accounts remove` beside a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from gateway.accounts.profiles import delete_profile
from gateway.accounts.registry import AccountRegistry
from gateway.domain.accounts import AccountRemoved
from gateway.domain.errors import PonteError
from gateway.domain.ids import AccountId
from gateway.store.store import Store

_INTERVAL_S: Final = 5.0


@asynccontextmanager
async def following_removals(
    store: Store, registry: AccountRegistry, profile: Callable[[AccountId], Path], *, interval_s: float = _INTERVAL_S
) -> AsyncIterator[None]:
    """Look every *interval_s* seconds whether a running account was removed, while the block runs.

    Args:
        store: which accounts there are.
        registry: which of them run.
        profile: where an account's Chrome profile is.
        interval_s: between two looks.
    """
    log = structlog.get_logger("ponte.accounts")

    async def look() -> None:
        try:
            await follow_removals(store, registry, profile)
        except PonteError as error:
            log.warning("removed_accounts_not_known", error=str(error))
        except Exception:
            log.exception("removed_accounts_not_ended")

    async def watch() -> None:
        while True:
            await asyncio.sleep(interval_s)
            await look()

    await look()  # before the block, in which the store forgets what was removed long ago
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch(), name="removals")
        try:
            yield
        finally:
            task.cancel()


async def follow_removals(store: Store, registry: AccountRegistry, profile: Callable[[AccountId], Path]) -> None:
    """End what runs and is not stored any more, and delete the profiles of what was removed.

    Raises:
        StoreError: the accounts cannot be read.
    """
    running = registry.running()  # before the look: what is made meanwhile is not in it
    stored = await store.accounts.list(removed=True)
    there = {one.account.id for one in stored if one.removed_at is None}
    for account in running - there:
        try:
            async with registry.removing(account, force=True):
                pass
        except AccountRemoved:  # by the API, which is at it
            continue
    for one in stored:
        folder = profile(one.account.id)
        if one.removed_at is not None and one.account.id not in registry.running() and folder.exists():
            await asyncio.to_thread(delete_profile, folder)
