"""A page that has what wa-js asks of WhatsApp Web and nothing else, driven by the test itself.

The stand-in is a likeness of WhatsApp Web; a driver that leans on a habit of that likeness would pass there. This page
has other habits: it tells of nothing by events unless asked to, its states come when the test says so, its modules have
other names. Query: ``out`` (nobody is logged in), ``without=A,B`` (these modules have no name that wa-js looks at),
``old`` (states by their old names).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.integration.wasm_server.rig import serve

SCRIPT: Final = Path(__file__).with_suffix(".js")

ISOLATION: Final = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}


def _site() -> Starlette:
    def page(request: Request) -> Response:
        headers = {} if "plain" in request.query_params else ISOLATION
        return Response(
            "<!doctype html><title>contract</title><script src=/page.js></script>",
            media_type="text/html",
            headers=headers,
        )

    def script(_request: Request) -> Response:
        return Response(SCRIPT.read_text(), media_type="text/javascript", headers=ISOLATION)

    def icon(_request: Request) -> Response:
        return Response(status_code=204)

    return Starlette(routes=[Route("/", page), Route("/page.js", script), Route("/favicon.ico", icon)])


@contextlib.asynccontextmanager
async def contract_page() -> AsyncIterator[str]:
    """Serve the page on a free loopback port; gives its address."""
    async with serve(_site()) as base_url:
        yield f"{base_url}/"
