"""Bearer authentication (RFC 6750): the key names the account."""

from __future__ import annotations

import math
import time

import structlog
from starlette.requests import HTTPConnection

from gateway.api.limits import Limits
from gateway.api.problems import Problem
from gateway.domain.ids import AccountId
from gateway.store.keys import Keys
from gateway.store.store import Store

WEBSOCKET_KEY = "ponte.bearer."
"""Before the key in a WebSocket's list of subprotocols."""

_MAX_KEY_LENGTH = 512  # ours have 49 characters


async def authenticate(request: HTTPConnection, keys: Keys) -> AccountId:
    """Return the account whose key the request carries, and bind it to the log context.

    Raises:
        Problem: 429, or 401. That a key is unknown, or known and revoked, cannot be told apart, by time neither.
        StoreError: the keys cannot be read.
    """
    limits: Limits = request.app.state.limits
    key = _presented(request, limits)
    account = await keys.authenticate(key) if len(key) <= _MAX_KEY_LENGTH else None
    if account is None:
        raise _failed(request, limits, _invalid())
    wait_s = limits.requests.take(account, time.monotonic())
    if wait_s:
        raise too_many("This account sends requests too fast", wait_s)
    structlog.contextvars.bind_contextvars(account_id=account)
    return account


async def authenticate_admin(request: HTTPConnection, store: Store) -> None:
    """Let a request pass that carries an admin key.

    Raises:
        Problem: 429; 401 for a key that is none; 403 for the key of an account.
        StoreError: the keys cannot be read.
    """
    limits: Limits = request.app.state.limits
    key = _presented(request, limits)
    admin = await store.admin_keys.authenticate(key) if len(key) <= _MAX_KEY_LENGTH else None
    if admin is None:
        if len(key) <= _MAX_KEY_LENGTH and await store.keys.authenticate(key) is not None:
            wrong = Problem(403, "admin_key_needed", "This is the key of an account; accounts are made by an admin key")
        else:
            wrong = _invalid()
        raise _failed(request, limits, wrong)
    wait_s = limits.requests.take(f"admin {admin.id}", time.monotonic())
    if wait_s:
        raise too_many("This admin key sends requests too fast", wait_s)


def _presented(request: HTTPConnection, limits: Limits) -> str:
    scheme, _, key = _authorization(request).partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise _failed(request, limits, _unauthorized("Send the API key as Authorization: Bearer <key>", ""))
    return key


def _authorization(request: HTTPConnection) -> str:
    """The Authorization header; browsers cannot set it on a WebSocket, where a subprotocol carries the key."""
    value = request.headers.get("authorization", "")
    if not value and request.scope["type"] == "websocket":
        offered = (one.strip() for one in request.headers.get("sec-websocket-protocol", "").split(","))
        key = next((one.removeprefix(WEBSOCKET_KEY) for one in offered if one.startswith(WEBSOCKET_KEY)), "")
        return f"Bearer {key}" if key else ""
    return value


def too_many(detail: str, wait_s: float) -> Problem:
    """Return the 429 that says when to come back."""
    seconds = max(1, math.ceil(wait_s))
    text = f"{detail}: try again in {seconds} s"
    return Problem(429, "too_many_requests", text, headers={"Retry-After": str(seconds)})


def _failed(request: HTTPConnection, limits: Limits, wrong: Problem) -> Problem:
    """Count a wrong key; whoever tries many is told to wait. Right keys from the same address are not held up."""
    address = request.client.host if request.client is not None else ""
    wait_s = limits.failures.take(address, time.monotonic())
    return too_many("Too many wrong API keys came from this address", wait_s) if wait_s else wrong


def _invalid() -> Problem:
    return _unauthorized("Invalid token: this API key is not known or was revoked", ', error="invalid_token"')


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": f'Bearer realm="ponte"{challenge}'})
