"""``/webhooks``: where an account's events are sent, their secrets and their log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.answers import json_answer
from gateway.api.auth import authenticate
from gateway.api.body import read_json_object
from gateway.api.deps import ApiDeps
from gateway.api.problems import Problem
from gateway.api.schemas import (
    AttemptView,
    DeliveriesQuery,
    DeliveryList,
    DeliveryView,
    NoFields,
    WebhookChange,
    WebhookList,
    WebhookRequest,
    WebhookSecret,
    WebhookView,
)
from gateway.api.validation import parse_body, parse_query
from gateway.domain.ids import AccountId
from gateway.events.hub import envelope
from gateway.events.signing import new_secret
from gateway.store.webhooks import MAX_WEBHOOKS, Delivery, Webhook

M = TypeVar("M", bound=BaseModel)

_OLD_SECRET: Final = timedelta(days=1)  # time to put the new one into every receiver


class WebhookEndpoints:
    """The handlers of webhooks."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps
        self._hooks = deps.store.webhooks

    async def list_hooks(self, request: Request) -> Response:
        """``GET /webhooks``."""
        account = await authenticate(request, self._deps.store.keys)
        return json_answer(WebhookList(webhooks=[_view(hook) for hook in await self._hooks.of_account(account)]))

    async def create(self, request: Request) -> Response:
        """``POST /webhooks``: the answer is the only one that has the secret."""
        account = await authenticate(request, self._deps.store.keys)
        wanted = await self._body(request, WebhookRequest)
        self._deps.check_webhook(wanted.url)
        hook = await self._hooks.create(account, wanted.url, new_secret(), tuple(wanted.events))
        if hook is None:
            text = f"An account has at most {MAX_WEBHOOKS} webhooks; delete one first"
            raise Problem(409, "too_many_webhooks", text)
        return json_answer(_with_secret(hook), 201, headers={"Location": f"/webhooks/{hook.id}"})

    async def get(self, request: Request) -> Response:
        """``GET /webhooks/{id}``."""
        _, hook = await self._hook(request)
        return json_answer(_view(hook))

    async def change(self, request: Request) -> Response:
        """``PATCH /webhooks/{id}``: what is left out stays."""
        account, hook = await self._hook(request)
        wanted = await self._body(request, WebhookChange)
        if wanted.url is not None:
            self._deps.check_webhook(wanted.url)
        changes: dict[str, Any] = wanted.model_dump(exclude_none=True)
        return json_answer(_view(await self._changed(account, hook, changes)))

    async def delete(self, request: Request) -> Response:
        """``DELETE /webhooks/{id}``: with its log, and what waits for it."""
        account, hook = await self._hook(request)
        await self._hooks.delete(account, hook.id)
        return Response(status_code=204)

    async def rotate(self, request: Request) -> Response:
        """``POST /webhooks/{id}/rotate``: a new secret; the old one signs as well for a day."""
        account, hook = await self._hook(request)
        await self._body(request, NoFields)
        until = datetime.now(UTC) + _OLD_SECRET
        changes = {"secret": new_secret(), "old_secret": hook.secret, "old_secret_until": until}
        return json_answer(_with_secret(await self._changed(account, hook, changes)))

    async def deliveries(self, request: Request) -> Response:
        """``GET /webhooks/{id}/deliveries``: its log, newest first."""
        _, hook = await self._hook(request)
        query = parse_query(DeliveriesQuery, request)
        before = int(query.before) if query.before is not None else None
        found = await self._hooks.deliveries(hook.id, before=before, limit=query.limit)
        return json_answer(DeliveryList(deliveries=[_delivery(one) for one in found]))

    async def replay(self, request: Request) -> Response:
        """``POST /webhooks/{id}/deliveries/{delivery}/replay``: send it once more."""
        _, hook = await self._hook(request)
        await self._body(request, NoFields)
        text = request.path_params["delivery"]
        known = text.isascii() and text.isdigit() and len(text) <= 18
        if not known or not await self._hooks.replay(hook.id, int(text), datetime.now(UTC)):
            raise Problem(404, "delivery_not_found", "This webhook has no delivery of that id")
        self._deps.events.on_outbox()
        [again] = await self._hooks.deliveries(hook.id, before=int(text) + 1, limit=1)
        return json_answer(_delivery(again), 202)

    async def _hook(self, request: Request) -> tuple[AccountId, Webhook]:
        account = await authenticate(request, self._deps.store.keys)
        name = request.path_params["id"]
        hook = await self._hooks.get(account, name) if name.isascii() and name.isprintable() else None
        if hook is None:
            raise _no_such_hook()
        return account, hook

    async def _changed(self, account: AccountId, hook: Webhook, changes: dict[str, Any]) -> Webhook:
        changed = await self._hooks.change(account, hook.id, **changes)
        if changed is None:
            raise _no_such_hook()
        if changes.get("enabled") or "url" in changes:
            self._deps.events.on_outbox()
        return changed

    async def _body(self, request: Request, model: type[M]) -> M:
        deps = self._deps
        required = any(field.is_required() for field in model.model_fields.values())
        data = await read_json_object(
            request, limit_bytes=deps.body_limit_bytes, timeout_s=deps.body_timeout_s, optional=not required
        )
        return parse_body(model, data)


def _no_such_hook() -> Problem:
    return Problem(404, "webhook_not_found", "This account has no webhook of that id")


def _fields(hook: Webhook) -> dict[str, Any]:
    fields = {name: getattr(hook, name) for name in WebhookView.model_fields}
    return fields | {"events": list(hook.events)}


def _view(hook: Webhook) -> WebhookView:
    return WebhookView(**_fields(hook))


def _with_secret(hook: Webhook) -> WebhookSecret:
    return WebhookSecret(**_fields(hook), secret=hook.secret)


def _delivery(one: Delivery) -> DeliveryView:
    return DeliveryView.model_validate(
        {
            "id": str(one.id),
            "event": envelope(one.event),
            "state": one.state,
            "next_try_at": one.next_try_at if one.state == "pending" else None,
            "attempts": [
                AttemptView(at=each.at, status=each.status, error=each.error, duration_ms=each.duration_ms)
                for each in one.attempts
            ],
        }
    )
