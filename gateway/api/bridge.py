"""``/call/bridge``: the configuration of an account's bridge, and its state."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.api.answers import json_answer
from gateway.api.auth import authenticate, too_many
from gateway.api.body import read_json_object
from gateway.api.deps import ApiDeps
from gateway.api.schemas import BridgeTest, CheckView
from gateway.domain.bridge_config import BridgeConfig, merge, to_api, warnings
from gateway.domain.bridge_status import BridgeStatus, CallSummary
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId

_TEST_WAIT_S = 5.0
UPDATED = "SIP bridge configuration updated successfully"  # the seed's words


class BridgeEndpoints:
    """The handlers, with the locks that keep one account's changes in order."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps
        self._locks: dict[AccountId, asyncio.Lock] = {}  # one per account that ever sent a valid key
        self._test_locks: dict[AccountId, asyncio.Lock] = {}
        self._log = structlog.get_logger(__name__)

    async def get_config(self, request: Request) -> Response:
        """``GET /call/bridge/config``: the twelve fields, secrets masked; posting them back changes nothing."""
        account = await authenticate(request, self._deps.store.keys)
        return _json(to_api(await self._stored(account)))

    async def post_config(self, request: Request) -> Response:
        """``POST /call/bridge/config``: merge, check, store, apply, answer."""
        deps = self._deps
        account = await authenticate(request, deps.store.keys)
        changes = await read_json_object(request, limit_bytes=deps.body_limit_bytes, timeout_s=deps.body_timeout_s)
        async with self._locks.setdefault(account, asyncio.Lock()):
            config = await self._change(account, changes)
        status = deps.accounts.status(account)
        answer = {"status": "ok", "message": UPDATED, "config": to_api(config), **_status(status)}
        answer["warnings"] = [{"field": fault.field, "message": fault.message} for fault in warnings(config)]
        return _json(answer)

    async def get_status(self, request: Request) -> Response:
        """``GET /call/bridge/status``: the state of every part, and the calls."""
        account = await authenticate(request, self._deps.store.keys)
        enabled = await self._deps.store.configs.enabled(account)
        return _json({"enabled": enabled, **_status(self._deps.accounts.status(account))})

    async def post_test(self, request: Request) -> Response:
        """``POST /call/bridge/test``: check a configuration as `post_config` does, try it, store nothing."""
        deps = self._deps
        account = await authenticate(request, deps.store.keys)
        changes = await read_json_object(
            request, limit_bytes=deps.body_limit_bytes, timeout_s=deps.body_timeout_s, optional=True
        )
        lock = self._test_locks.setdefault(account, asyncio.Lock())
        if lock.locked():  # each one makes connections and may take half a minute
            raise too_many("A test of this account is under way", _TEST_WAIT_S)
        async with lock:
            config = merge(await self._stored(account), {"enabled": True, **changes}, deps.host_policy)
            results = await deps.check_bridge(account, config)
        found = [CheckView(check=one.check, ok=one.ok, detail=one.detail, fix=one.fix) for one in results]
        return json_answer(BridgeTest(ok=all(one.ok for one in found), checks=found))

    async def _stored(self, account: AccountId) -> BridgeConfig:
        return await self._deps.store.configs.load(account) or BridgeConfig()

    async def _change(self, account: AccountId, changes: dict[str, Any]) -> BridgeConfig:
        configs, accounts = self._deps.store.configs, self._deps.accounts
        before = await configs.load(account)
        config = merge(before or BridgeConfig(), changes, self._deps.host_policy)
        await accounts.check(account, config)
        await configs.save(account, config)
        try:
            await accounts.apply(account, config)
        except ConfigError:
            # Something came between check and apply. What is refused must not come into force at the next start.
            if before is not None:
                await configs.save(account, before)
            else:
                await configs.delete(account)
            raise
        self._log.info("bridge_config_changed", enabled=config.enabled, fields=sorted(changes))
        return config


def _status(status: BridgeStatus) -> dict[str, Any]:
    parts = {"page": status.page, "media": status.media, "registration": status.registration}
    parts |= {"listener": status.listener, "phones": status.phones}
    return {
        "state": {name: {"state": part.state, "detail": part.detail} for name, part in parts.items()},
        "calls": [_call(call) for call in status.calls],
    }


def _call(call: CallSummary) -> dict[str, Any]:
    return {
        "id": call.id,
        "direction": call.direction.value,
        "state": call.state.value,
        "peer": call.peer,
        "created_at": _time(call.created_at),
        "answered_at": _time(call.answered_at) if call.answered_at is not None else None,
    }


def _time(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(content: dict[str, Any]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})
