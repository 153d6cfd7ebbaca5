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
    scheme, _, key = _authorization(request).partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise _failed(request, limits, _unauthorized("Send the API key as Authorization: Bearer <key>", ""))
    account = await keys.authenticate(key) if len(key) <= _MAX_KEY_LENGTH else None
    if account is None:
        wrong = _unauthorized("Invalid token: this API key is not known or was revoked", ', error="invalid_token"')
        raise _failed(request, limits, wrong)
    wait_s = limits.requests.take(account, time.monotonic())
    if wait_s:
        raise too_many("This account sends requests too fast", wait_s)
    structlog.contextvars.bind_contextvars(account_id=account)
    return account


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


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": f'Bearer realm="ponte"{challenge}'})
