"""Bearer authentication (RFC 6750): the key names the account."""

from __future__ import annotations

import structlog
from starlette.requests import Request

from gateway.api.problems import Problem
from gateway.domain.ids import AccountId
from gateway.store.keys import Keys

_MAX_KEY_LENGTH = 512  # ours have 49 characters


async def authenticate(request: Request, keys: Keys) -> AccountId:
    """Return the account whose key the request carries, and bind it to the log context.

    Raises:
        Problem: 401. That a key is unknown, or known and revoked, cannot be told apart, by time neither.
        StoreError: the keys cannot be read.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise _unauthorized("Send the API key as Authorization: Bearer <key>", "")
    account = await keys.authenticate(key) if len(key) <= _MAX_KEY_LENGTH else None
    if account is None:
        raise _unauthorized("Invalid token: this API key is not known or was revoked", ', error="invalid_token"')
    structlog.contextvars.bind_contextvars(account_id=account)
    return account


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": f'Bearer realm="ponte"{challenge}'})
