"""An OTLP collector on a real loopback socket, which keeps the spans that it is sent."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.server import ApiServer


@dataclass(frozen=True)
class Span:
    """One span, as it came."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_s: float
    ended_s: float
    attributes: dict[str, Any]
    error: str


@dataclass
class Collector:
    """What came; *hangs* lets it answer nothing."""

    port: int = 0
    hangs: bool = False
    spans: list[Span] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def traces(self, request: Request) -> Response:
        """``POST /v1/traces``."""
        body = await request.body()
        self.came.set()
        if self.hangs:
            await self.release.wait()
        body = gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource |= _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_span(one) for one in scope.spans]
        return Response(b"", media_type="application/x-protobuf")

    async def call(self, call_id: str) -> list[Span]:
        """Wait for the spans of a call; the root comes first."""
        async with asyncio.timeout(20):
            while True:
                roots = [one for one in self.spans if one.attributes.get("ponte.call_id") == call_id]
                if roots:
                    [root] = roots
                    return [root, *(one for one in self.spans if one.parent_id == root.span_id)]
                await asyncio.sleep(0.05)


def _attributes(found: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in found}


def _span(one: Any) -> Span:
    return Span(
        one.name, one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex(), one.start_time_unix_nano / 1e9,
        one.end_time_unix_nano / 1e9, _attributes(one.attributes), one.status.message,
    )  # fmt: skip


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """A collector for the length of the block."""
    one = Collector()
    server = ApiServer(Starlette(routes=[Route("/v1/traces", one.traces, methods=["POST"])]), "127.0.0.1", 0)
    one.port = server.port
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        try:
            yield one
        finally:
            one.release.set()
            server.stop()
