"""Accounts and their API keys.

A key is 256 random bits, so a plain SHA-256 is the right hash: there is no dictionary to slow down, and every request
needs it. The row is found by the hash, of which a caller controls no part, and then compared in constant time, so
that answer times tell nothing about stored keys.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.accounts import AccountExists, AccountRemoved
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId
from gateway.store.database import Database
from gateway.store.errors import ConstraintError
from gateway.store.models import AccountRow, ApiKeyRow

Which = Literal["any", "new", "known"]
KEY_PREFIX: Final = "ponte_"  # lets secret scanners find keys that were committed by mistake
NO_HASH: Final = bytes(32)  # compared with where no row was found; nothing is known to hash to it
_MIN_CHOSEN_LENGTH: Final = 8
_MAX_NAME_LENGTH: Final = 64
_RIGHT_S: Final = 1.0  # how long a key that was right is believed, also where another process revokes it
_MAX_RIGHT: Final = 1000


@dataclass(frozen=True, slots=True)
class Account:
    """One account; times are aware, UTC."""

    id: AccountId
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key; the key itself is not known, only its hash is stored."""

    id: str
    account: Account
    label: str
    created_at: datetime
    revoked_at: datetime | None


class Keys:
    """Accounts and API keys in the store."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._right: dict[bytes, tuple[AccountId, float]] = {}  # by hash: whose it is, and until when it is believed

    async def accounts(self) -> list[Account]:
        """Return all accounts that were not removed, oldest first."""
        query = (
            sa.select(AccountRow).where(AccountRow.removed_at.is_(None)).order_by(AccountRow.created_at, AccountRow.id)
        )
        return await self._database.read(lambda session: [_account(row) for row in session.scalars(query)])

    async def create(
        self, account_name: str, *, label: str = "", key: str | None = None, account: Which = "any"
    ) -> tuple[ApiKey, str]:
        """Make a key for the account of that name, and the account where there is none.

        Args:
            account_name: 1 to 64 printable characters.
            label: a note for the key's owner.
            key: the key itself, for sandboxes; default: a random one. A chosen key is only as strong as the choice.
            account: whether it has to be a new one, or one that is there.

        Returns:
            The key's row and the key, which cannot be read again.

        Raises:
            ConfigError: a name or the chosen key is not usable.
            AccountExists: it had to be a new account, and is none.
            AccountRemoved: it had to be one that is there, and is none.
            StoreError: nothing was made.
        """
        check_account_name(account_name)
        check_label(label)
        if key is not None and not (
            len(key) >= _MIN_CHOSEN_LENGTH and key.isascii() and key.isprintable() and " " not in key
        ):
            raise ConfigError(
                f"A chosen key must have at least {_MIN_CHOSEN_LENGTH} ASCII characters and no space", "key"
            )
        plain = key if key is not None else KEY_PREFIX + secrets.token_urlsafe(32)
        try:
            row = await self._database.write(lambda session: _insert_key(session, account_name, label, plain, account))
        except ConstraintError:
            if account == "new" and key is None:
                raise AccountExists from None  # since a moment ago
            raise
        return row, plain

    async def list(self, account_name: str | None = None) -> list[ApiKey]:
        """Return the keys of one account or of all, oldest first, revoked ones as well."""
        query = sa.select(ApiKeyRow, AccountRow).join(AccountRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id)
        if account_name is not None:
            query = query.where(AccountRow.name == account_name)
        return await self._database.read(
            lambda session: [_api_key(key, account) for key, account in session.execute(query)]
        )

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key by its id; from the commit on it is refused, by another process within a second.

        Returns:
            Whether there is such a key.
        """

        def work(session: Session) -> bool:
            row = session.get(ApiKeyRow, key_id)
            if row is not None and row.revoked_at is None:
                row.revoked_at = datetime.now(UTC)
            return row is not None

        revoked = await self._database.write(work)
        self.forget()
        return revoked

    def forget(self) -> None:
        """Believe no key that was right before: what it belongs to was changed in the store."""
        self._right.clear()

    async def authenticate(self, presented: str) -> AccountId | None:
        """Return the account of a presented key, None where it is unknown or revoked.

        A key that was right is believed for a second, so that a client that asks often costs the calls nothing.
        """
        digest = digest_of(presented)
        known = self._right.get(digest)
        if known is not None and self._clock() < known[1]:
            return known[0]
        query = sa.select(ApiKeyRow).where(ApiKeyRow.key_hash == digest)
        row = await self._database.read(lambda session: session.scalars(query).one_or_none())
        same = hmac.compare_digest(digest, row.key_hash if row is not None else NO_HASH)
        if not same or row is None or row.revoked_at is not None:
            self._right.pop(digest, None)
            return None
        if len(self._right) >= _MAX_RIGHT:
            self._right.clear()
        self._right[digest] = AccountId(row.account_id), self._clock() + _RIGHT_S
        return AccountId(row.account_id)


def digest_of(key: str) -> bytes:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _insert_key(session: Session, account_name: str, label: str, plain: str, which: Which) -> ApiKey:
    now = datetime.now(UTC)
    account = session.scalars(sa.select(AccountRow).where(AccountRow.name == account_name)).one_or_none()
    if which == "new" and account is not None:
        raise AccountExists
    if which == "known" and (account is None or account.removed_at is not None):
        raise AccountRemoved
    if account is None:
        account = AccountRow(id=secrets.token_hex(8), name=account_name, created_at=now, removed_at=None)
        session.add(account)
        session.flush()
    elif account.removed_at is not None:
        raise ConfigError("This is the name of an account that was removed", "account")
    digest = digest_of(plain)
    key = session.scalars(sa.select(ApiKeyRow).where(ApiKeyRow.key_hash == digest)).one_or_none()
    if key is not None:
        # A chosen key that is there already: the same call twice makes one key; for another account it is refused.
        if key.account_id != account.id or key.revoked_at is not None:
            raise ConfigError("This key exists already, for another account or revoked: choose another one", "key")
        return _api_key(key, account)
    key = ApiKeyRow(id=secrets.token_hex(4), account_id=account.id, key_hash=digest, label=label, created_at=now)
    session.add(key)
    session.flush()
    return _api_key(key, account)


def check_account_name(name: str) -> None:
    """Raise a `ConfigError` where an account cannot have that name."""
    _check_name(name, "account")


def check_label(label: str) -> None:
    """Raise a `ConfigError` where a key cannot have that label; an empty one is well."""
    if label:
        _check_name(label, "label")


def _check_name(text: str, field: str) -> None:
    if not (0 < len(text) <= _MAX_NAME_LENGTH and text.isprintable() and text == text.strip()):
        raise ConfigError(f"The {field} must have 1 to {_MAX_NAME_LENGTH} printable characters", field)


def _account(row: AccountRow) -> Account:
    return Account(AccountId(row.id), row.name, row.created_at)


def _api_key(row: ApiKeyRow, account: AccountRow) -> ApiKey:
    return ApiKey(row.id, _account(account), row.label, row.created_at, row.revoked_at)
