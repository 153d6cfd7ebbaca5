"""The bridge configuration of each account. What is or may hold a secret is sealed."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.accounts import AccountRemoved
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.ids import AccountId
from gateway.store.database import Database
from gateway.store.models import AccountRow, BridgeConfigRow
from gateway.store.secrets import SecretBox

_SEALED: Final = frozenset({"sip_pass", "sip_listen_secret", "chrome_remote_url", "node_remote_helper"})


class BridgeConfigs:
    """The stored bridge configurations."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def enabled(self, account: AccountId) -> bool:
        """Return whether the account's bridge is on; opens no secret."""
        query = sa.select(BridgeConfigRow.enabled).where(BridgeConfigRow.account_id == account)
        return bool(await self._database.read(lambda session: session.scalar(query)))

    async def load(self, account: AccountId) -> BridgeConfig | None:
        """Return the account's configuration, None where it was never configured.

        Raises:
            StoreError: the database cannot be read, or its secrets cannot be opened.
        """
        row = await self._database.read(lambda session: session.get(BridgeConfigRow, account))
        return self._from_row(row) if row is not None else None

    async def load_all(self) -> dict[AccountId, BridgeConfig]:
        """Return every stored configuration, for the start of the process."""
        query = sa.select(BridgeConfigRow).order_by(BridgeConfigRow.account_id)
        rows = await self._database.read(lambda session: list(session.scalars(query)))
        return {AccountId(row.account_id): self._from_row(row) for row in rows}

    async def save(self, account: AccountId, config: BridgeConfig) -> None:
        """Commit the account's configuration.

        Raises:
            AccountRemoved: the account is there no more.
            StoreError: nothing was changed.
        """
        columns: dict[str, object] = {"account_id": account, "updated_at": datetime.now(UTC)}
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if field.name in _SEALED:
                columns[f"sealed_{field.name}"] = (
                    self._box.seal(_place(account, field.name), value) if value is not None else None
                )
            else:
                columns[field.name] = value

        def work(session: Session) -> None:
            row = session.get(AccountRow, account)
            if row is not None and row.removed_at is not None:
                raise AccountRemoved  # while the change was on its way: its secrets must not come back
            session.merge(BridgeConfigRow(**columns))

        await self._database.write(work)

    async def delete(self, account: AccountId) -> None:
        """Take the account's configuration out, as if it had never been configured."""

        def work(session: Session) -> None:
            session.execute(sa.delete(BridgeConfigRow).where(BridgeConfigRow.account_id == account))

        await self._database.write(work)

    def _from_row(self, row: BridgeConfigRow) -> BridgeConfig:
        values: dict[str, object] = {}
        for field in dataclasses.fields(BridgeConfig):
            if field.name in _SEALED:
                token = getattr(row, f"sealed_{field.name}")
                place = _place(row.account_id, field.name)
                values[field.name] = self._box.open(place, token) if token is not None else None
            else:
                values[field.name] = getattr(row, field.name)
        return BridgeConfig(**values)  # type: ignore[arg-type]


def _place(account: str, field: str) -> str:
    return f"bridge_configs/{account}/{field}"
