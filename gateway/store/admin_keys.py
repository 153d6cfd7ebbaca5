"""Admin keys: they make and remove accounts, and are of no use to any of them.

Stored as API keys are (`gateway.store.keys`): by their SHA-256, compared in constant time. They are in the database
and not in a setting so that each can be revoked while the gateway runs, and so that no process listing, container
description or child's environment shows one.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.store.database import Database
from gateway.store.keys import NO_HASH, check_label, digest_of
from gateway.store.models import AdminKeyRow

ADMIN_KEY_PREFIX: Final = "ponte_admin_"


@dataclass(frozen=True, slots=True)
class AdminKey:
    """One admin key; the key itself is not known, only its hash is stored."""

    id: str
    label: str
    created_at: datetime
    revoked_at: datetime | None


class AdminKeys:
    """Admin keys in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, *, label: str = "") -> tuple[AdminKey, str]:
        """Make a key.

        Returns:
            The key's row and the key, which cannot be read again.

        Raises:
            ConfigError: the label is not usable.
        """
        check_label(label)
        plain = ADMIN_KEY_PREFIX + secrets.token_urlsafe(32)

        def work(session: Session) -> AdminKey:
            row = AdminKeyRow(
                id=secrets.token_hex(4), key_hash=digest_of(plain), label=label, created_at=datetime.now(UTC),
                revoked_at=None,
            )  # fmt: skip
            session.add(row)
            return _admin_key(row)

        return await self._database.write(work), plain

    async def list(self) -> list[AdminKey]:
        """Return the keys, oldest first, revoked ones as well."""
        query = sa.select(AdminKeyRow).order_by(AdminKeyRow.created_at, AdminKeyRow.id)
        return await self._database.read(lambda session: [_admin_key(row) for row in session.scalars(query)])

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key by its id; from the commit on it is refused. Returns whether there is such a key."""

        def work(session: Session) -> bool:
            row = session.get(AdminKeyRow, key_id)
            if row is not None and row.revoked_at is None:
                row.revoked_at = datetime.now(UTC)
            return row is not None

        return await self._database.write(work)

    async def authenticate(self, presented: str) -> AdminKey | None:
        """Return a presented key's row, None where it is unknown or revoked."""
        digest = digest_of(presented)
        query = sa.select(AdminKeyRow).where(AdminKeyRow.key_hash == digest)
        row = await self._database.read(lambda session: session.scalars(query).one_or_none())
        same = hmac.compare_digest(digest, row.key_hash if row is not None else NO_HASH)
        return _admin_key(row) if same and row is not None and row.revoked_at is None else None


def _admin_key(row: AdminKeyRow) -> AdminKey:
    return AdminKey(row.id, row.label, row.created_at, row.revoked_at)
