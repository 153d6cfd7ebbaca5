"""Serves what ``wasm_server.build`` built: manifest, bundle and WASM.

Every request reads the manifest anew (a stat and a kilobyte), so that a rebuild needs no restart and a file that does
not match its hash is never served as if it did.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wasm_server.build import CONTENT_TYPES, MANIFEST_NAME

# The page's origin is not ours: a cross-origin isolated page may load only what says so, by CORS and by CORP.
_SHARED_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_REVALIDATE: Final = "no-cache"


class _NotBuiltError(Exception):
    """The folder holds no whole build."""


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    content_type: str
    etag: str


class _Assets:
    """The folder of a build, read as it is now."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def manifest(self) -> _Asset:
        try:
            content = (self._directory / MANIFEST_NAME).read_bytes()
            json.loads(content)
        except (OSError, ValueError) as fault:
            raise _NotBuiltError(f"no build in {self._directory.name}: run python -m wasm_server.build") from fault
        return _Asset(content, "application/json", hashlib.sha256(content).hexdigest())

    def file(self, name: str) -> _Asset:
        wanted = json.loads(self.manifest().content)["files"][name]["sha256"]
        try:
            content = (self._directory / name).read_bytes()
        except OSError as fault:
            raise _NotBuiltError(f"{name} is missing: run python -m wasm_server.build") from fault
        found = hashlib.sha256(content).hexdigest()
        if found != wanted:
            raise _NotBuiltError(f"{name} does not match the manifest: run python -m wasm_server.build --force")
        return _Asset(content, CONTENT_TYPES[name], found)


def create_app(directory: Path) -> Starlette:
    """Return the application that serves a build.

    Args:
        directory: The folder that ``wasm_server.build`` wrote; it may be filled or replaced later.

    Returns:
        ``GET`` and ``HEAD`` of ``/manifest.json``, of each file at its path, and of the same path below its hash
        (``/<sha256>/<name>``, cacheable for ever); 503 with a sentence while there is no whole build.
    """
    assets = _Assets(directory)
    log = structlog.get_logger()

    def answer(request: Request, asset: _Asset, caching: str) -> Response:
        etag = f'"{asset.etag}"'
        headers = {**_SHARED_HEADERS, "ETag": etag, "Cache-Control": caching}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        # Starlette sets the length from the body and leaves the body out of a HEAD.
        return Response(asset.content, media_type=asset.content_type, headers=headers)

    def not_built(fault: _NotBuiltError) -> Response:
        log.warning("wasm_assets_missing", detail=str(fault))
        body = {"code": "not_built", "detail": str(fault)}
        return JSONResponse(body, status_code=503, headers={**_SHARED_HEADERS, "Cache-Control": "no-store"})

    def manifest(request: Request) -> Response:
        try:
            return answer(request, assets.manifest(), _REVALIDATE)
        except _NotBuiltError as fault:
            return not_built(fault)

    def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in CONTENT_TYPES:
            return _missing()
        try:
            asset = assets.file(name)
        except _NotBuiltError as fault:
            return not_built(fault)
        wanted = request.path_params.get("sha256")
        if wanted is not None and wanted != asset.etag:
            return _missing()
        return answer(request, asset, _REVALIDATE if wanted is None else _IMMUTABLE)

    def health(_request: Request) -> Response:
        try:
            for name in CONTENT_TYPES:
                assets.file(name)
        except _NotBuiltError as fault:
            return not_built(fault)
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[
            Route("/manifest.json", manifest, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
            Route("/{sha256}/{name}", file, methods=["GET"]),
            Route("/{name}", file, methods=["GET"]),
        ]
    )


def _missing() -> Response:
    body = {"code": "not_found", "detail": "there is no such file"}
    return JSONResponse(body, status_code=404, headers={**_SHARED_HEADERS, "Cache-Control": "no-store"})
