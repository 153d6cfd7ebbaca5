"""The bridge configuration of each account. What is or may hold a secret is sealed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
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
_KNOWN_S: Final = 1.0  # how long it is believed that a bridge is on, also where another process changes it
_MAX_KNOWN: Final = 1000


class BridgeConfigs:
    """The stored bridge configurations."""

    def __init__(self, database: Database, box: SecretBox, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._box = box
        self._clock = clock
        self._changes = 0
        self._known: dict[AccountId, tuple[bool, float]] = {}  # whether it is on, and until when that is believed

    async def enabled(self, account: AccountId) -> bool:
        """Return whether the account's bridge is on; opens no secret.

        It is read once a second at most, so that a client that asks for the status often costs the calls nothing.
        """
        known = self._known.get(account)
        if known is not None and self._clock() < known[1]:
            return known[0]
        query = sa.select(BridgeConfigRow.enabled).where(BridgeConfigRow.account_id == account)
        asked_s = self._clock()
        before = self._changes
        enabled = bool(await self._database.read(lambda session: session.scalar(query)))
        if before == self._changes:  # else it may have been read before the change
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[account] = enabled, asked_s + _KNOWN_S
        return enabled

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

        try:
            await self._database.write(work)
        finally:
            self._forget()

    async def delete(self, account: AccountId) -> None:
        """Take the account's configuration out, as if it had never been configured."""

        def work(session: Session) -> None:
            session.execute(sa.delete(BridgeConfigRow).where(BridgeConfigRow.account_id == account))

        try:
            await self._database.write(work)
        finally:
            self._forget()

    def _forget(self) -> None:
        self._changes += 1
        self._known.clear()

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
