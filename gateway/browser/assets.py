"""Gets the page bundle and the WASM module from the wasm server and checks what came."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from gateway.browser.endpoint import HttpEndpoint, parse_http_url
from gateway.browser.errors import AssetError, ChromeUnreachable
from gateway.browser.http import request
from gateway.browser.settings import HttpSettings

PAGE_ABI: Final = 1
"""Version of the contract between gateway and page bundle; wasm_server has the same number in its manifest."""

REQUIRED: Final = ("page.js", "wa.js", "worklet.js", "media.wasm")

_MAX_MANIFEST_BYTES: Final = 64 * 1024
_MAX_FILE_BYTES: Final = 16 * 1024 * 1024  # wa-js is 518 kB; the bound only stops a wrong server
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9._~/-]{1,200}")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the wasm server.

    Attributes:
        name: for example ``page.js``.
        content: its bytes, hash checked.
        sha256: lower-case hex.
    """

    name: str
    content: bytes
    sha256: str

    @property
    def text(self) -> str:
        """The content as UTF-8 text."""
        return self.content.decode("utf-8")


@dataclass(frozen=True, slots=True)
class Assets:
    """What is injected into the page.

    Attributes:
        abi: contract version, equal to `PAGE_ABI`.
        version: of the bundle.
        wajs: version of wa-js.
        page_js: the bundle.
        wa_js: wa-js as published.
        worklet_js: the AudioWorklet's module.
        media_wasm: the WASM module.
    """

    abi: int
    version: str
    wajs: str
    page_js: Asset
    wa_js: Asset
    worklet_js: Asset
    media_wasm: Asset


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry of the manifest: where the file is and what it must be."""

    name: str
    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """`/manifest.json`, checked."""

    abi: int
    version: str
    wajs: str
    files: dict[str, FileEntry]


def parse_manifest(content: Any, *, server: str) -> Manifest:
    """Check a manifest.

    Args:
        content: the parsed JSON.
        server: how the server is named in errors.

    Raises:
        AssetError: it is none, or of another ABI.
    """
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise AssetError(f"{server} gives no manifest of Ponte's page bundle; check wasmServerIP and wasmServerPort")
    abi = content.get("abi")
    if type(abi) is not int or abi != PAGE_ABI:
        raise AssetError(
            f"{server} serves a page bundle of ABI {abi!r}, this gateway needs {PAGE_ABI}; install the same version "
            "of gateway and wasm server"
        )
    files: dict[str, FileEntry] = {}
    for name in REQUIRED:
        entry = content["files"].get(name)
        entry = entry if isinstance(entry, dict) else {}
        path, sha256, size = entry.get("path"), entry.get("sha256"), entry.get("bytes")
        if not (isinstance(path, str) and _PATH.fullmatch(path) and ".." not in path):
            raise AssetError(f"The manifest of {server} names no file {name}; build the page bundle again")
        if not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
            raise AssetError(f"The manifest of {server} has no sha256 for {name}; build the page bundle again")
        if type(size) is not int or not 0 <= size <= _MAX_FILE_BYTES:
            raise AssetError(f"The manifest of {server} has no believable size for {name}; build the page bundle again")
        files[name] = FileEntry(name, path, sha256, size)
    return Manifest(abi, str(content.get("version", "")), str(content.get("wajs", "")), files)


def check_file(entry: FileEntry, content: bytes, *, server: str) -> Asset:
    """Check a file against its entry.

    Raises:
        AssetError: it is not what the manifest says.
    """
    found = hashlib.sha256(content).hexdigest()
    if len(content) != entry.size_bytes or not hmac.compare_digest(found, entry.sha256):
        raise AssetError(
            f"{entry.name} of {server} is not what its manifest says (sha256 {found[:12]}… instead of "
            f"{entry.sha256[:12]}…); build the page bundle again, and let no proxy change it"
        )
    return Asset(entry.name, content, found)


async def _load(endpoint: HttpEndpoint, path: str, limit: int, settings: HttpSettings) -> bytes:
    try:
        answer = await request(endpoint, "GET", path, settings=settings, max_body_bytes=limit, timeout_s=30)
    except ChromeUnreachable as error:
        raise AssetError(f"The page bundle cannot be loaded: {error}") from None
    if answer.status != 200:
        raise AssetError(
            f"{endpoint} answers HTTP {answer.status} for {path}; start the wasm server or build the page bundle"
        )
    return answer.body


async def fetch_assets(base_url: str, *, settings: HttpSettings | None = None) -> Assets:
    """Load the manifest and every file of it, and check them.

    Args:
        base_url: of the wasm server, for example ``http://10.0.0.5:9080``.
        settings: time-outs and the allow-list.

    Raises:
        AssetError: the server is not there, or a file is missing, damaged or of another ABI.
        ConfigError: the URL is malformed or its address not allowed.
    """
    settings = settings or HttpSettings()
    endpoint = parse_http_url(base_url, field_name="wasmServerIP")
    server = f"The wasm server at {endpoint}"
    raw = await _load(endpoint, "/manifest.json", _MAX_MANIFEST_BYTES, settings)
    try:
        content = json.loads(raw)
    except ValueError:
        content = None
    manifest = parse_manifest(content, server=server)
    files = {
        name: check_file(entry, await _load(endpoint, entry.path, _MAX_FILE_BYTES, settings), server=server)
        for name, entry in manifest.files.items()
    }
    for name in ("page.js", "wa.js", "worklet.js"):
        try:
            files[name].content.decode("utf-8")
        except UnicodeDecodeError:
            raise AssetError(f"{name} of {server} is not UTF-8; build the page bundle again") from None
    return Assets(
        manifest.abi, manifest.version, manifest.wajs,
        files["page.js"], files["wa.js"], files["worklet.js"], files["media.wasm"],
    )  # fmt: skip
