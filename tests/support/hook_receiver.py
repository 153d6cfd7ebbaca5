"""An endpoint of webhooks on a real loopback socket, which keeps what it gets and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.server import ApiServer
from gateway.events.signing import verify


@dataclass
class Got:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    def signed_by(self, secret: str) -> bool:
        """Whether the signature is that of *secret*, as a receiver checks it."""
        headers = self.headers
        return verify(
            secret, headers["webhook-id"], int(headers["webhook-timestamp"]), self.body, headers["webhook-signature"]
        )


@dataclass
class Receiver:
    """The endpoint; *status* is what it answers, 0 hangs."""

    port: int = 0
    status: int = 204
    location: str = ""
    got: list[Got] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)  # ends what hangs

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The events that came, each once, in their order."""
        return list(dict.fromkeys(one.headers["webhook-id"] for one in self.got))

    async def hook(self, request: Request) -> Response:
        self.got.append(Got(dict(request.headers), await request.body()))
        self.came.set()
        if not self.status:
            await self.release.wait()
        return Response(status_code=self.status or 204, headers={"Location": self.location} if self.location else None)

    async def wait(self, count: int) -> None:
        """Wait until so many requests came."""
        async with asyncio.timeout(20):
            while len(self.got) < count:
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[None]:
    """Listen for the length of the block, on the same port each time."""
    app = Starlette(routes=[Route("/hook", receiver.hook, methods=["POST"])])
    server = ApiServer(app, "127.0.0.1", receiver.port)
    receiver.port = server.port
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        try:
            yield
        finally:
            receiver.release.set()
            server.stop()
