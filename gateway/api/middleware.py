"""What every request gets: an id, one log line, its time measured, and an answer whatever happens."""

from __future__ import annotations

import secrets
import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.problems import internal_error
from gateway.ops.metrics import Metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds by machines


class RequestMiddleware:
    """Outermost middleware of the API.

    Args:
        app: the next layer.
        metrics: where times are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._log = structlog.get_logger(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        started_s = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_on)
            except ClientDisconnect:
                self._log.info("http_client_gone")
            except Exception:
                self._log.exception("http_request_failed")
                if status == 0:
                    await internal_error()(scope, receive, send_on)
            finally:
                self._done(scope, status, time.perf_counter() - started_s)
                structlog.contextvars.unbind_contextvars("account_id")

    def _done(self, scope: Scope, status: int, seconds: float) -> None:
        # Only known routes and methods: a stranger must not be able to fill labels and logs with words of their own.
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.http_request_seconds.labels(method, route, str(status)).observe(seconds)
        log = self._log.debug if route in _QUIET else self._log.info
        log("http_request", method=method, route=route, status=status, duration_ms=round(seconds * 1000, 1))
