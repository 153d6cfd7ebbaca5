"""Accounts as such: listed and removed; `gateway.store.keys` makes them with their first key.

What is removed stays as a row without anything but a name that nobody can take again, as long as call records refer to
it; so records can be kept, and a person's data still be deleted from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.ids import AccountId
from gateway.store.database import Database
from gateway.store.keys import Account
from gateway.store.models import (
    AccountRow,
    ApiKeyRow,
    BridgeConfigRow,
    CallRecordRow,
    EventRow,
    IdempotencyRow,
    MetaRow,
    WebhookRow,
)
from gateway.store.recordings import RecordingFiles

_KEEP_REMOVED: Final = timedelta(days=1)  # a gateway that was down meanwhile still has to learn of it
_NAME_PART: Final = 47  # with ~ and the id's 16 characters it fits the column


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """One account as it is stored.

    Attributes:
        enabled: whether its bridge is on; None where it was never configured.
        removed_at: None while it is there.
    """

    account: Account
    enabled: bool | None
    removed_at: datetime | None


class StoredAccounts:
    """The accounts in the store.

    Args:
        database: where they are.
        on_removed: told when one was removed.
        recordings: files of their recordings.
    """

    def __init__(self, database: Database, on_removed: Callable[[], None], recordings: RecordingFiles) -> None:
        self._database = database
        self._recordings = recordings
        self._on_removed = on_removed

    async def list(self, *, removed: bool = False) -> list[StoredAccount]:
        """Return the accounts, oldest first.

        Args:
            removed: those of which only call records are left as well.
        """
        query = (
            sa.select(AccountRow, BridgeConfigRow.enabled)
            .outerjoin(BridgeConfigRow)
            .order_by(AccountRow.created_at, AccountRow.id)
        )
        if not removed:
            query = query.where(AccountRow.removed_at.is_(None))
        return await self._database.read(
            lambda session: [_stored(row, enabled) for row, enabled in session.execute(query)]
        )

    async def find(self, name: str, *, removed: bool = False) -> StoredAccount | None:
        """Return the account of that name or id, None where there is none."""
        found = [one for one in await self.list(removed=removed) if name in (one.account.name, one.account.id)]
        return next((one for one in found if one.account.name == name), found[0] if found else None)

    async def remove(self, account: AccountId, *, delete_calls: bool) -> bool:
        """Delete the account's keys, configuration, webhooks and events; records and recordings only if asked to.

        Returns:
            Whether it was there.
        """

        def work(session: Session) -> bool:
            row = session.get(AccountRow, account)
            if row is None or row.removed_at is not None:
                return False
            row.name, row.removed_at = f"{row.name[:_NAME_PART]}~{row.id}", datetime.now(UTC)
            _delete_parts(session, account)
            if delete_calls:
                session.execute(sa.delete(CallRecordRow).where(CallRecordRow.account_id == account))
            return True

        there = await self._database.write(work)
        if there and delete_calls:
            await self._recordings.delete_account(account)
        self._on_removed()
        return there

    async def open_calls(self, account: AccountId) -> int:
        """Return how many of the account's call records have no end: calls in progress, or left by a crash."""
        query = sa.select(sa.func.count()).where(CallRecordRow.account_id == account, CallRecordRow.ended_at.is_(None))
        return await self._database.read(lambda session: session.scalar(query) or 0)

    async def purge(self, now: datetime) -> int:
        """Forget what was removed a day ago or longer and has no call records any more; return how many there were."""

        def work(session: Session) -> int:
            calls = sa.exists().where(CallRecordRow.account_id == AccountRow.id)
            gone = session.scalars(sa.select(AccountRow).where(AccountRow.removed_at.is_not(None))).all()
            for row in gone:
                _delete_parts(session, row.id)  # what came while it was being removed, its last events for example
            done = sa.delete(AccountRow).where(AccountRow.removed_at < now - _KEEP_REMOVED, ~calls)
            return int(session.execute(done).rowcount)  # type: ignore[attr-defined]

        return await self._database.write(work)


def _stored(row: AccountRow, enabled: bool | None) -> StoredAccount:
    return StoredAccount(Account(AccountId(row.id), row.name, row.created_at), enabled, row.removed_at)


def _delete_parts(session: Session, account: str) -> None:
    for table in (ApiKeyRow, BridgeConfigRow, IdempotencyRow, WebhookRow, EventRow):
        session.execute(sa.delete(table).where(table.account_id == account))
    session.execute(sa.delete(MetaRow).where(MetaRow.key == f"wa_build/{account}"))
