"""What can go wrong with the store."""

from __future__ import annotations

from gateway.domain.errors import PonteError


class StoreError(PonteError):
    """The database did not do what was asked; nothing was changed. Trying again may work."""

    code = "store_unavailable"
    retryable = True


class SecretKeyError(StoreError):
    """The stored secrets cannot be opened with the key that is configured."""

    code = "secret_key_wrong"
    retryable = False


class ConstraintError(StoreError):
    """What was to be written contradicts what is stored, for example its account is gone. Trying again cannot work."""

    code = "store_constraint"
    retryable = False
