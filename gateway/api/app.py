"""The HTTP API as a Starlette application."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from gateway.api.accounts import AccountEndpoints
from gateway.api.bridge import BridgeEndpoints
from gateway.api.calls import CallEndpoints
from gateway.api.dashboard_page import DashboardPage
from gateway.api.deps import ApiDeps
from gateway.api.docs_page import DocsPage
from gateway.api.events import EventEndpoints
from gateway.api.limits import Limits
from gateway.api.live_calls import LiveCallEndpoints
from gateway.api.middleware import RequestMiddleware
from gateway.api.openapi import describe
from gateway.api.problems import on_http_exception, on_ponte_error
from gateway.api.recordings import RecordingEndpoints
from gateway.api.session import SessionEndpoints
from gateway.api.webhooks import WebhookEndpoints
from gateway.domain.errors import PonteError

Handler = Callable[[Request], Awaitable[Response]]


def create_app(deps: ApiDeps) -> Starlette:
    """Return the API.

    Every answer that is not a 2xx (and not a 503 of ``/readyz``) is problem+json: `gateway.api.problems`.

    Args:
        deps: the parts that it works on.
    """
    accounts = AccountEndpoints(deps)
    bridge = BridgeEndpoints(deps)
    calls = CallEndpoints(deps)
    recordings = RecordingEndpoints(deps)
    session = SessionEndpoints(deps)
    limits = Limits(deps.requests_per_s, deps.offers_per_min)
    live = LiveCallEndpoints(deps, limits)

    events, hooks = EventEndpoints(deps), WebhookEndpoints(deps)
    actions: dict[str, Handler] = {
        "hangup": live.hangup, "reject": live.reject, "hold": live.hold, "resume": live.resume, "mute": live.mute,
        "dtmf": live.dtmf, "transfer": live.transfer, "record": live.record,
    }  # fmt: skip

    dashboard, docs, description = DashboardPage(), DocsPage(), json.dumps(describe())

    async def openapi(request: Request) -> Response:
        return Response(description, media_type="application/json")

    async def livez(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        results = await deps.health.results()
        ready = all(result.ok for result in results)
        checks = {result.name: {"ok": result.ok, "detail": result.detail} for result in results}
        return JSONResponse({"status": "ok" if ready else "unfit", "checks": checks}, 200 if ready else 503)

    async def metrics(request: Request) -> Response:
        return Response(deps.metrics.render(), headers={"Content-Type": deps.metrics.content_type})

    app = Starlette(
        routes=[
            _route("/call/bridge/config", GET=bridge.get_config, POST=bridge.post_config),
            _route("/call/bridge/test", POST=bridge.post_test),
            _route("/call/bridge/status", GET=bridge.get_status),
            _route("/call", GET=live.list_live),
            _route("/call/offer", POST=live.offer),
            _route("/call/{id}", GET=live.get_live),
            *[_route(f"/call/{{id}}/{name}", POST=handler) for name, handler in actions.items()],
            _route("/calls", GET=calls.list_calls),
            _route("/calls.csv", GET=calls.export),
            _route("/calls/erase", POST=calls.erase),
            _route("/calls/{id}", GET=calls.get_call),
            _route("/calls/{id}/trace", GET=calls.get_trace),
            _route("/calls/{id}/recording", GET=recordings.get, DELETE=recordings.delete),
            _route("/events", GET=events.get),
            WebSocketRoute("/events", events.socket),
            _route("/webhooks", GET=hooks.list_hooks, POST=hooks.create),
            _route("/webhooks/{id}", GET=hooks.get, PATCH=hooks.change, DELETE=hooks.delete),
            _route("/webhooks/{id}/rotate", POST=hooks.rotate),
            _route("/webhooks/{id}/deliveries", GET=hooks.deliveries),
            _route("/webhooks/{id}/deliveries/{delivery}/replay", POST=hooks.replay),
            _route("/session", GET=session.get_session),
            _route("/session/qr", GET=session.get_qr),
            _route("/session/code", POST=session.post_code),
            _route("/session/logout", POST=session.post_logout),
            _route("/session/takeover", POST=session.post_takeover),
            _route("/accounts", GET=accounts.list_accounts, POST=accounts.create),
            _route("/accounts/{name}", GET=accounts.get, DELETE=accounts.delete),
            _route("/accounts/{name}/keys", POST=accounts.create_key),
            _route("/accounts/{name}/keys/{key}", DELETE=accounts.revoke_key),
            _route("/openapi.json", GET=openapi),
            _route("/", GET=dashboard.index),
            _route("/assets/{name}", GET=dashboard.file),
            _route("/docs", GET=docs.index),
            _route("/docs/{name}", GET=docs.file),
            _route("/livez", GET=livez),
            _route("/readyz", GET=readyz),
            _route("/metrics", GET=metrics),
        ],
        middleware=[Middleware(RequestMiddleware, metrics=deps.metrics)],
        exception_handlers={HTTPException: on_http_exception, PonteError: on_ponte_error},
    )
    app.state.limits = limits
    app.router.redirect_slashes = False  # a redirect would show where the server thinks it is
    return app


def _route(path: str, **handlers: Handler) -> Route:
    """One route for all methods of a path, so that a 405 names all of them."""

    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(handlers))
