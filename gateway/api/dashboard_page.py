"""``/``: the dashboard, a client of this API. Its files come from a folder of this installation and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.api.problems import Problem

FOLDER: Final = Path(__file__).resolve().parents[2] / "build" / "dashboard"
_TYPES: Final = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}\.(?:js|css|svg|txt)")
_BY_CONTENT: Final = re.compile(r"-[A-Z0-9]{8}\.")  # esbuild's hash in a name: what it names never changes
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class DashboardPage:
    """The handlers of the page.

    Args:
        folder: what ``python -m gateway.api.dashboard.build`` made.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    async def index(self, request: Request) -> Response:
        """``GET /``."""
        path = self._folder / "index.html"
        if not path.is_file():
            detail = "The dashboard was not built: run python -m gateway.api.dashboard.build. The API is there"
            raise Problem(404, "not_found", detail)
        headers = {**_HEADERS, "Cache-Control": "no-cache", "Content-Security-Policy": _policy(request)}
        return FileResponse(path, headers=headers, media_type="text/html; charset=utf-8")

    async def file(self, request: Request) -> Response:
        """``GET /assets/{name}``."""
        name = request.path_params["name"]
        path = self._folder / "assets" / name
        if not _NAME.fullmatch(name) or not path.is_file():
            raise Problem(404, "not_found", "There is nothing at this path")
        lasting = "public, max-age=31536000, immutable" if _BY_CONTENT.search(name) else "no-cache"
        headers = {**_HEADERS, "Cache-Control": lasting}
        return FileResponse(path, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])


def _policy(request: Request) -> str:
    """The page may run its own scripts, speak to its API, and to any SIP server: unencrypted to this host only."""
    name, port = request.headers.get("host", ""), ""
    if ":" in name and not name.endswith("]"):
        name, _, port = name.rpartition(":")
    sockets = f" ws://{name}:*" if _HOST.fullmatch(name) and (not port or port.isdecimal()) else ""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        f"connect-src 'self' wss:{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
