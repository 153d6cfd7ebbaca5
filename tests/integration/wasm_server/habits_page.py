"""Pages that keep wa-js's contract, each in a manner of its own: what another stand-in, or a later build, might do.

They have the modules that wa-js cannot do without, and nothing else. A page's habits are named in its address; what
each means is in habits_page.js.
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

from tests.integration.wasm_server.contract_page import ISOLATION
from tests.integration.wasm_server.rig import serve

SCRIPT: Final = Path(__file__).with_suffix(".js")


def _site() -> Starlette:
    def page(_request: Request) -> Response:
        text = "<!doctype html><title>habits</title><script src=/page.js></script>"
        return Response(text, media_type="text/html", headers=ISOLATION)

    def script(_request: Request) -> Response:
        return Response(SCRIPT.read_text(), media_type="text/javascript", headers=ISOLATION)

    def icon(_request: Request) -> Response:
        return Response(status_code=204)

    return Starlette(routes=[Route("/", page), Route("/page.js", script), Route("/favicon.ico", icon)])


@contextlib.asynccontextmanager
async def habits_page() -> AsyncIterator[str]:
    """Serve the page on a free loopback port; gives its address."""
    async with serve(_site()) as base_url:
        yield f"{base_url}/"
