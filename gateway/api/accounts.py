"""``/accounts``: accounts and their keys, for who runs the gateway. Every request needs an admin key."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.account_schemas import (
    AccountDetail,
    AccountList,
    AccountParts,
    AccountRequest,
    AccountView,
    KeyRequest,
    KeyView,
    NewAccount,
    NewKey,
    RemovalQuery,
)
from gateway.api.answers import json_answer
from gateway.api.auth import authenticate_admin
from gateway.api.body import read_json_object
from gateway.api.deps import ApiDeps
from gateway.api.described import PartView
from gateway.api.problems import Problem
from gateway.api.validation import parse_body, parse_query
from gateway.domain.bridge_status import PartStatus
from gateway.store.accounts import StoredAccount
from gateway.store.keys import ApiKey

M = TypeVar("M", bound=BaseModel)

_FLUSH_S: Final = 5.0  # for the end of a call that was cut to be written down before its webhooks go


class AccountEndpoints:
    """The handlers of accounts."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps
        self._store = deps.store
        self._log = structlog.get_logger(__name__)

    async def list_accounts(self, request: Request) -> Response:
        """``GET /accounts``."""
        await authenticate_admin(request, self._store)
        stored = await self._store.accounts.list()
        return json_answer(AccountList(accounts=[AccountView(**self._fields(one)) for one in stored]))

    async def create(self, request: Request) -> Response:
        """``POST /accounts``: the answer is the only one that has the key, which works at once."""
        await authenticate_admin(request, self._store)
        wanted = await self._body(request, AccountRequest)
        key, plain = await self._store.keys.create(wanted.name, label=wanted.label, account="new")
        self._log.info("account_created", account=key.account.id)
        fields = self._fields(StoredAccount(key.account, None, None))
        answer = NewAccount(**fields, key=NewKey(**_key(key), key=plain))
        return json_answer(answer, 201, headers={"Location": f"/accounts/{wanted.name}"})

    async def get(self, request: Request) -> Response:
        """``GET /accounts/{name}``."""
        one = await self._find(request)
        keys = await self._store.keys.list(one.account.name)
        return json_answer(AccountDetail(**self._fields(one), keys=[KeyView(**_key(key)) for key in keys]))

    async def delete(self, request: Request) -> Response:
        """``DELETE /accounts/{name}``: ends its parts in order, then deletes what is stored of it."""
        one = await self._find(request)
        query = parse_query(RemovalQuery, request)
        account = one.account.id
        async with self._deps.accounts.removing(account, force=query.force == "true"):
            await self._store.journal.flush(_FLUSH_S)
            await self._store.accounts.remove(account, delete_calls=query.delete_calls == "true")
        self._deps.events.end(account)
        self._log.info("account_deleted", account=account, forced=query.force, calls_deleted=query.delete_calls)
        return Response(status_code=204)

    async def create_key(self, request: Request) -> Response:
        """``POST /accounts/{name}/keys``: the answer is the only one that has the key."""
        one = await self._find(request)
        wanted = await self._body(request, KeyRequest)
        key, plain = await self._store.keys.create(one.account.name, label=wanted.label, account="known")
        return json_answer(NewKey(**_key(key), key=plain), 201)

    async def revoke_key(self, request: Request) -> Response:
        """``DELETE /accounts/{name}/keys/{key}``: from the answer on it is refused; it stays in the list."""
        one = await self._find(request)
        wanted = request.path_params["key"]
        mine = {key.id for key in await self._store.keys.list(one.account.name)}
        if wanted not in mine or not await self._store.keys.revoke(wanted):
            raise Problem(404, "key_not_found", "This account has no key of that id")
        return Response(status_code=204)

    async def _find(self, request: Request) -> StoredAccount:
        await authenticate_admin(request, self._store)
        name = request.path_params["name"]
        found = await self._store.accounts.find(name)
        if found is None:
            raise Problem(404, "account_not_found", "There is no account of that name or id")
        return found

    def _fields(self, one: StoredAccount) -> dict[str, Any]:
        status = self._deps.accounts.status(one.account.id)
        names = AccountParts.model_fields
        return {
            "id": one.account.id,
            "name": one.account.name,
            "created_at": one.account.created_at,
            "enabled": one.enabled,
            "state": AccountParts(**{name: _part(getattr(status, name)) for name in names}),
            "calls": len(status.calls),
        }

    async def _body(self, request: Request, model: type[M]) -> M:
        deps = self._deps
        required = any(field.is_required() for field in model.model_fields.values())
        data = await read_json_object(
            request, limit_bytes=deps.body_limit_bytes, timeout_s=deps.body_timeout_s, optional=not required
        )
        return parse_body(model, data)


def _part(status: PartStatus) -> PartView:
    return PartView(state=status.state, detail=status.detail)


def _key(key: ApiKey) -> dict[str, Any]:
    return {"id": key.id, "label": key.label, "created_at": key.created_at, "revoked_at": key.revoked_at}
