"""Secrets at rest: Fernet (AES-128-CBC with HMAC-SHA256) under a key that is not in the database."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from gateway.config import Settings
from gateway.domain.errors import ConfigError
from gateway.store.errors import SecretKeyError


class SecretBox:
    """Seals and opens secrets, each bound to its place.

    Fernet has no associated data, so the place (account and field) is sealed with the value and compared when it is
    opened: a token copied from one account's row to another's does not open.

    Args:
        keys: Fernet keys, newest first; the first seals, all open, which is how a key is rotated.
    """

    def __init__(self, keys: list[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except (ValueError, TypeError):
            raise ConfigError(
                "The secret key is not a Fernet key (32 bytes in URL-safe base64); "
                "leave PONTE_SECRET_KEY empty to have one made",
                "secret_key",
            ) from None

    def seal(self, place: str, value: str) -> str:
        """Return *value* encrypted for *place*."""
        return self._fernet.encrypt(json.dumps([place, value]).encode()).decode()

    def open(self, place: str, token: str) -> str:
        """Return what was sealed for *place*.

        Raises:
            SecretKeyError: another key sealed it, it was sealed for another place, or it is damaged.
        """
        try:
            sealed_place, value = json.loads(self._fernet.decrypt(token.encode()))
        except (InvalidToken, ValueError):
            raise SecretKeyError(
                "The secret key does not open the stored secrets: put back the key file that was used before"
            ) from None
        if sealed_place != place:
            raise SecretKeyError("A stored secret stands in a row that it was not sealed for")
        return str(value)


def load_secret_box(settings: Settings, *, may_create: bool) -> SecretBox:
    """Return the box for the configured key; on the very first start, make the key file.

    Args:
        settings: the process settings.
        may_create: whether a missing key file may be made; not where the database already holds secrets.

    Raises:
        ConfigError: the key or its file is not usable.
        SecretKeyError: the key file is gone.
    """
    if settings.secret_key is not None:
        return SecretBox([key.strip() for key in settings.secret_key.get_secret_value().split(",") if key.strip()])
    path = settings.effective_secret_key_file
    try:
        if not path.exists():
            if not may_create:
                raise SecretKeyError(f"The secret key file {path} is gone: put it back, the stored secrets need it")
            _create_key_file(path)
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"Others may read the secret key file {path}: run chmod 600 on it", "secret_key_file")
        return SecretBox(path.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"Cannot use the secret key file {path}: {reason}", "secret_key_file") from None


def _create_key_file(path: Path) -> None:
    """Write a new key, complete or not at all, and never over one that another process made meanwhile."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    # Else the database could outlive a power failure that the key's entry in its folder does not.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
