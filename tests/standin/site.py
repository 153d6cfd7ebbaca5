"""The page's own server: ``https://web.whatsapp.com`` with its policies, its scripts, and its two lines."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.standin.farend import FarEnd
from tests.standin.lines import MediaLine, PageLine
from tests.standin.sound import PAGE_SOUNDS_HZ, page_sound

HOST: Final = "web.whatsapp.com"
PAGE: Final = Path(__file__).with_name("page")
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".wav": "audio/wav"}
REPORT_LIMIT_BYTES: Final = 64 * 1024


def policy(nonce: str) -> str:
    """Return the Content-Security-Policy: scripts by nonce or from here, no eval, no blob, Trusted Types."""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'",
            "style-src 'self'",
            "img-src 'self' data:",
            "media-src 'self' data:",
            f"connect-src 'self' wss://{HOST}",
            "worker-src 'self'",
            "frame-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types wa-bootloader",
            "report-uri /csp-report",
        )
    )


def headers(nonce: str) -> dict[str, str]:
    """Return the headers of every answer."""
    return {
        "content-security-policy": policy(nonce),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "microphone=(self), camera=(self), autoplay=(self)",
        "strict-transport-security": "max-age=31536000",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "cache-control": "no-store",
    }


def site_app(far_end: FarEnd) -> Starlette:
    """Return the ASGI application that Chrome takes for WhatsApp Web."""
    sounds = {f"{name}.wav": page_sound(name) for name in PAGE_SOUNDS_HZ}

    async def index(_request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = (PAGE / "index.html").read_text().replace("{nonce}", nonce)
        return Response(text, media_type="text/html", headers=headers(nonce))

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name.startswith("sounds/") and (sound := sounds.get(name.removeprefix("sounds/"))) is not None:
            return Response(sound, media_type="audio/wav", headers=headers(secrets.token_urlsafe(16)))
        return _file(name, far_end)

    async def service_worker(_request: Request) -> Response:
        return _file("sw.js", far_end)

    async def favicon(_request: Request) -> Response:
        return Response(status_code=204, headers=headers(secrets.token_urlsafe(16)))

    async def csp_report(request: Request) -> Response:
        body = await _limited_body(request, REPORT_LIMIT_BYTES)
        try:
            report = json.loads(body)
        except ValueError:
            report = {"unreadable": body[:500].decode(errors="replace")}
        far_end.csp_reports.append(report.get("csp-report", report) if isinstance(report, dict) else {"report": report})
        return Response(status_code=204)

    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        if far_end.settings.offline:
            await websocket.close()
            return
        page = far_end.page_connected(websocket.query_params.get("device", ""))
        try:
            await _both_ways(websocket, page.outbox, _PageReader(far_end, page))
        finally:
            far_end.page_closed(page)

    async def voip(websocket: WebSocket) -> None:
        await websocket.accept()
        media = far_end.media_connected(websocket.query_params.get("call", ""))
        try:
            await _both_ways(websocket, media.outbox, _MediaReader(far_end, media))
        finally:
            far_end.media_closed(media)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/sw.js", service_worker),
            Route("/favicon.ico", favicon),
            Route("/static/{name:path}", static),
            Route("/csp-report", csp_report, methods=["POST"]),
            WebSocketRoute("/ws/chat", chat),
            WebSocketRoute("/ws/voip", voip),
        ]
    )


class _PageReader:
    def __init__(self, far_end: FarEnd, page: PageLine) -> None:
        self._far_end, self._page = far_end, page

    def text(self, message: dict[str, Any]) -> None:
        self._far_end.page_said(self._page, message)

    def binary(self, _data: bytes) -> None:
        raise ValueError("the chat line carries no binary messages")


class _MediaReader:
    def __init__(self, far_end: FarEnd, media: MediaLine) -> None:
        self._far_end, self._media = far_end, media

    def text(self, message: dict[str, Any]) -> None:
        self._far_end.media_said(self._media, message)

    def binary(self, data: bytes) -> None:
        self._far_end.heard_frame(self._media, data)


async def _both_ways(websocket: WebSocket, outbox: asyncio.Queue[Any], reader: _PageReader | _MediaReader) -> None:
    async def write() -> None:
        while (message := await outbox.get()) is not None:
            if isinstance(message, bytes):
                await websocket.send_bytes(message)
            else:
                await websocket.send_text(message if isinstance(message, str) else json.dumps(message))
        await websocket.close()

    async def read() -> None:
        while True:
            event = await websocket.receive()
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(event.get("code", 1005))
            if event.get("bytes") is not None:
                reader.binary(event["bytes"])
            elif event.get("text") is not None:
                reader.text(json.loads(event["text"]))

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            tasks.create_task(read())
    except* WebSocketDisconnect:
        pass


def _file(name: str, far_end: FarEnd) -> Response:
    path = (PAGE / name).resolve()
    if not path.is_relative_to(PAGE) or not path.is_file() or path.name == "index.html":
        return PlainTextResponse("not found", status_code=404, headers=headers(secrets.token_urlsafe(16)))
    content = path.read_bytes()
    if path.suffix == ".js":
        content = content.replace(b"{build}", far_end.settings.build.encode())
        for module in far_end.settings.renamed_modules:
            content = content.replace(f'"{module}"'.encode(), f'"X{module}"'.encode())
    return Response(content, media_type=TYPES[path.suffix], headers=headers(secrets.token_urlsafe(16)))


async def _limited_body(request: Request, limit_bytes: int) -> bytes:
    body = b""
    stream: AsyncIterator[bytes] = request.stream()
    async for part in stream:
        body += part
        if len(body) > limit_bytes:
            return body[:limit_bytes]
    return body
