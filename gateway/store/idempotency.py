"""Keys that make a request to begin a call harmless to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.ids import AccountId, CallId
from gateway.store.database import Database
from gateway.store.models import IdempotencyRow


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a key was first used for.

    Attributes:
        request_hash: of the request that it came with.
        call_id: the call that this request began.
    """

    request_hash: str
    call_id: CallId


class IdempotencyKeys:
    """The stored keys, by account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, account: AccountId, key: str, wanted: Remembered) -> Remembered:
        """Remember *wanted* for a new key; give what the key stands for.

        Raises:
            StoreError: it is not remembered.
        """

        def work(session: Session) -> Remembered:
            row = session.get(IdempotencyRow, (account, key))
            if row is not None:
                return Remembered(row.request_hash, CallId(row.call_id))
            session.add(
                IdempotencyRow(
                    account_id=account,
                    key=key,
                    request_hash=wanted.request_hash,
                    call_id=wanted.call_id,
                    created_at=datetime.now(UTC),
                )
            )
            return wanted

        return await self._database.write(work)

    async def forget(self, account: AccountId, key: str) -> None:
        """Forget a key whose request began no call, so that it can be sent again."""
        statement = sa.delete(IdempotencyRow).where(IdempotencyRow.account_id == account, IdempotencyRow.key == key)
        await self._database.write(lambda session: session.execute(statement))

    async def purge(self, before: datetime) -> None:
        """Forget keys from before *before*."""
        statement = sa.delete(IdempotencyRow).where(IdempotencyRow.created_at < before)
        await self._database.write(lambda session: session.execute(statement))
