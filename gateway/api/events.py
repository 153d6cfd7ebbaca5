"""``/events``: the log as a list, and what comes as Server-Sent Events or over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.api.answers import json_answer
from gateway.api.auth import authenticate, too_many
from gateway.api.deps import ApiDeps
from gateway.api.problems import on_ponte_error
from gateway.api.schemas import EventList, EventsQuery
from gateway.api.validation import invalid, parse_query
from gateway.domain.bridge_config import FieldFault
from gateway.domain.errors import PonteError
from gateway.domain.ids import AccountId
from gateway.events.hub import TooSlow, envelope, event_id, parse_event_id

SUBPROTOCOL: Final = "ponte.events"
_MAX_STREAMS: Final = 20  # of one account: open dashboards
_BEAT_S: Final = 15.0  # below the 30 to 60 s after which proxies cut a silent connection
_RETRY_MS: Final = 2000
_SEND_S: Final = 10.0
_COME_AGAIN: Final = 1012  # service restart: a client comes back and resumes


class EventEndpoints:
    """The handlers of events."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def get(self, request: Request) -> Response:
        """``GET /events``: a stream where the client accepts one, else a page of the log."""
        account = await authenticate(request, self._deps.store.keys)
        query = parse_query(EventsQuery, request)
        after = self._place(request, query.after)
        if "text/event-stream" not in request.headers.get("accept", ""):
            events = await self._deps.store.events.after(account, after or 0, limit=query.limit)
            return json_answer(EventList(events=[envelope(event) for event in events]))
        self._room(account)
        after, gap = await self._resume(account, after)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._stream(account, after, gap), media_type="text/event-stream", headers=headers)

    async def socket(self, socket: WebSocket) -> None:
        """``/events`` as a WebSocket: one JSON object an event."""
        try:
            account = await authenticate(socket, self._deps.store.keys)
            self._room(account)
            after = self._place(socket, socket.query_params.get("after"))
            after, gap = await self._resume(account, after)
        except PonteError as error:
            await socket.send_denial_response(await on_ponte_error(Request({**socket.scope, "type": "http"}), error))
            return
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._send(socket, account, after, gap))
                try:
                    while True:  # what a client says means nothing, but its going away does
                        await socket.receive_text()
                except (WebSocketDisconnect, KeyError):
                    sending.cancel()
        except* _Ended:
            await socket.close(_COME_AGAIN)

    async def _send(self, socket: WebSocket, account: AccountId, after: int | None, gap: str | None) -> None:
        if gap is not None:
            await socket.send_text(gap)
        with self._deps.events.subscribed(account) as subscription:
            try:
                async for event in self._deps.events.follow(subscription, after):
                    if event is None:
                        continue
                    async with asyncio.timeout(_SEND_S):
                        await socket.send_text(envelope(event).model_dump_json())
            except (TooSlow, TimeoutError, PonteError):
                raise _Ended from None
            except (WebSocketDisconnect, RuntimeError):
                return  # gone, as the other half of the socket sees too

    async def _stream(self, account: AccountId, after: int | None, gap: str | None) -> AsyncIterator[str]:
        yield f"retry: {_RETRY_MS}\n\n"
        if gap is not None:
            yield f"event: gap\ndata: {gap}\n\n"
        with self._deps.events.subscribed(account) as subscription:
            try:
                async for event in self._deps.events.follow(subscription, after, beat_s=_BEAT_S):
                    if event is None:
                        yield ": still here\n\n"
                        continue
                    told = envelope(event)
                    yield f"id: {told.id}\nevent: {told.type}\ndata: {told.model_dump_json()}\n\n"
            except (TooSlow, PonteError):
                return  # the client comes again with the id of the last one

    def _place(self, connection: HTTPConnection, query: str | None) -> int | None:
        """What the client had last, by header (which browsers send) or query; None: it wants what comes from now on."""
        last = connection.headers.get("last-event-id", query)
        if last is None:
            return None
        place = parse_event_id(last)
        if place is None:
            raise invalid([FieldFault("Last-Event-ID", "is no id of an event, such as evt_17")])
        return place

    def _room(self, account: AccountId) -> None:
        if self._deps.events.count(account) >= _MAX_STREAMS:
            raise too_many(f"This account has {_MAX_STREAMS} streams of events already", 5)

    async def _resume(self, account: AccountId, after: int | None) -> tuple[int | None, str | None]:
        """Return where to go on, and what to tell where events in between are not kept any more."""
        if after is None:
            return None, None
        oldest, newest = await self._deps.store.events.bounds(account)
        told = json.dumps({"type": "gap", "after": event_id(after), "oldest": event_id(oldest)})
        if after > newest:  # of another database: all that is there is new
            return 0, told if newest else None
        return after, told if after and after + 1 < oldest else None


class _Ended(Exception):
    """The stream ends from our side."""
