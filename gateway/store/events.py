"""The stored log of events, and the outbox of webhooks that is filled with it in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.ids import AccountId
from gateway.store.database import Database
from gateway.store.models import DeliveryRow, EventRow, WebhookRow

_TRIM_ROWS: Final = 500  # in one transaction: other writers wait for some milliseconds at most


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of the log.

    Attributes:
        seq: its place in the log; grows.
        at: when it happened.
        data: by its type.
        deliveries: how many webhooks are to be told.
    """

    seq: int
    account: AccountId
    type: str
    at: datetime
    data: Mapping[str, Any]
    deliveries: int = 0


class EventLog:
    """The stored events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def after(self, account: AccountId, seq: int, *, limit: int) -> list[StoredEvent]:
        """Return the account's events after *seq*, oldest first."""
        query = (
            sa.select(EventRow)
            .where(EventRow.account_id == account, EventRow.seq > seq)
            .order_by(EventRow.seq)
            .limit(limit)
        )
        return await self._database.read(lambda session: [_event(row) for row in session.scalars(query)])

    async def bounds(self, account: AccountId) -> tuple[int, int]:
        """Return the places of the account's oldest and newest event; 0 and 0 where it has none."""
        query = sa.select(sa.func.min(EventRow.seq), sa.func.max(EventRow.seq)).where(EventRow.account_id == account)
        oldest, newest = await self._database.read(lambda session: session.execute(query).one())
        return oldest or 0, newest or 0

    async def latest(self, account: AccountId, kind: str) -> StoredEvent | None:
        """Return the account's newest event of one type, None where it has none."""
        query = (
            sa.select(EventRow)
            .where(EventRow.account_id == account, EventRow.type == kind)
            .order_by(EventRow.seq.desc())
            .limit(1)
        )
        return await self._database.read(lambda session: next((_event(row) for row in session.scalars(query)), None))

    async def trim(self, before: datetime, keep: int) -> int:
        """Delete events that are older than *before* or not among the latest *keep*; not what a webhook waits for
        that is switched on.

        Returns:
            How many were deleted.
        """
        waited_for = sa.exists().where(
            DeliveryRow.event_seq == EventRow.seq,
            DeliveryRow.state == "pending",
            WebhookRow.id == DeliveryRow.webhook_id,
            WebhookRow.enabled.is_(True),
        )

        def work(session: Session) -> int:
            newest = session.scalar(sa.select(sa.func.max(EventRow.seq))) or 0
            old = sa.or_(EventRow.at < before, EventRow.seq <= newest - keep)
            found = session.scalars(sa.select(EventRow.seq).where(old, ~waited_for).limit(_TRIM_ROWS)).all()
            session.execute(sa.delete(EventRow).where(EventRow.seq.in_(found)))
            return len(found)

        total = 0
        while True:
            count = await self._database.write(work)
            total += count
            if count < _TRIM_ROWS:
                return total


def append_event(
    session: Session, account: AccountId, kind: str, at: datetime, data: Mapping[str, Any], number: str | None
) -> StoredEvent:
    """Add an event to the log, and to the outbox of each of the account's webhooks that wants it.

    Args:
        session: in whose transaction.
        account: whose event.
        kind: its type.
        at: when it happened.
        data: by its type.
        number: whose data it is, so that it can be deleted for one person.
    """
    row = EventRow(account_id=account, type=kind, at=at, pii_data=dict(data), pii_number=number)
    session.add(row)
    session.flush()
    hooks = session.scalars(
        sa.select(WebhookRow).where(WebhookRow.account_id == account, WebhookRow.enabled.is_(True))
    ).all()
    wanted = [hook.id for hook in hooks if not hook.events or kind in hook.events]
    session.add_all(
        DeliveryRow(webhook_id=hook, event_seq=row.seq, state="pending", attempts=0, next_try_at=at, created_at=at)
        for hook in wanted
    )
    return StoredEvent(row.seq, account, kind, at, dict(data), len(wanted))


def erase_events(session: Session, account: AccountId, number: str) -> int:
    """Delete the account's events about one person, and with them what webhooks were or are to be told."""
    mine = sa.delete(EventRow).where(EventRow.account_id == account, EventRow.pii_number == number)
    return int(session.execute(mine).rowcount)  # type: ignore[attr-defined]


def _event(row: EventRow) -> StoredEvent:
    return StoredEvent(row.seq, AccountId(row.account_id), row.type, row.at, row.pii_data)
