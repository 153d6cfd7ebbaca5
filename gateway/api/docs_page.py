"""``/docs``: the interactive page of the API, its files from a folder of this installation and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.api.problems import Problem

FOLDER: Final = Path(__file__).resolve().parents[2] / "build" / "docs"
_TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
_HEADERS: Final = {
    # data: for the arrows of Swagger UI's style sheet
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class DocsPage:
    """The handlers of the page.

    Args:
        folder: what ``python -m gateway.api.explorer.build`` made.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    async def index(self, request: Request) -> Response:
        """``GET /docs``."""
        return self._file("index.html")

    async def file(self, request: Request) -> Response:
        """``GET /docs/{name}``."""
        return self._file(request.path_params["name"])

    def _file(self, name: str) -> Response:
        path = self._folder / name
        if name not in _TYPES or not path.is_file():
            detail = "There is nothing at this path"
            if name in _TYPES:
                detail = "The page was not built: run python -m gateway.api.explorer.build. /openapi.json is there"
            raise Problem(404, "not_found", detail)
        return FileResponse(path, headers=_HEADERS, media_type=_TYPES[name])
