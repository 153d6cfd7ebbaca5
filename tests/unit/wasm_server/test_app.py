"""The server of the bundle: types, caching, and what it says when there is nothing to serve."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from wasm_server.app import create_app
from wasm_server.build import CONTENT_TYPES

pytestmark = pytest.mark.unit

CONTENT = {name: f"content of {name} ü".encode() for name in CONTENT_TYPES}


def write_build(directory: Path, content: dict[str, bytes]) -> None:
    files = {}
    for name, data in content.items():
        (directory / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files[name] = {"path": f"/{name}", "sha256": digest, "bytes": len(data), "type": CONTENT_TYPES[name]}
    manifest = {"abi": 1, "version": "0.1.0", "wajs": "4.6.0", "files": files}
    (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_build(tmp_path, CONTENT)
    return tmp_path


@pytest.fixture
def client(directory: Path) -> TestClient:
    return TestClient(create_app(directory))


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_files_come_with_their_type_for_any_origin(client: TestClient, name: str) -> None:
    answer = client.get(f"/{name}")
    assert answer.status_code == 200
    assert answer.content == CONTENT[name]
    assert answer.headers["content-type"].split(";")[0] == CONTENT_TYPES[name]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_wasm_has_no_charset(client: TestClient) -> None:
    """Chrome refuses to compile a stream of any other type."""
    assert client.get("/media.wasm").headers["content-type"] == "application/wasm"


def test_the_manifest_names_what_is_served(client: TestClient) -> None:
    answer = client.get("/manifest.json")
    assert answer.headers["content-type"] == "application/json"
    for name, entry in answer.json()["files"].items():
        served = client.get(entry["path"]).content
        assert hashlib.sha256(served).hexdigest() == entry["sha256"]
        assert len(served) == entry["bytes"], name


def test_head_has_the_length_and_no_body(client: TestClient) -> None:
    answer = client.head("/page.js")
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["content-length"] == str(len(CONTENT["page.js"]))


def test_a_known_etag_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/wa.js").headers["etag"]
    for given in (etag, f'"other", W/{etag}', "*"):
        answer = client.get("/wa.js", headers={"if-none-match": given})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert client.get("/wa.js", headers={"if-none-match": '"other"'}).status_code == 200


def test_a_file_under_its_hash_may_be_kept_for_ever(client: TestClient) -> None:
    digest = hashlib.sha256(CONTENT["worklet.js"]).hexdigest()
    assert "immutable" in client.get(f"/{digest}/worklet.js").headers["cache-control"]
    assert client.get("/worklet.js").headers["cache-control"] == "no-cache"
    assert client.get("/manifest.json").headers["cache-control"] == "no-cache"
    other = client.get(f"/{'0' * 64}/worklet.js")
    assert other.status_code == 404
    assert other.headers["cache-control"] == "no-store"


def test_a_rebuild_is_served_at_once(client: TestClient, directory: Path) -> None:
    before = client.get("/page.js").headers["etag"]
    write_build(directory, {**CONTENT, "page.js": b"newer"})
    after = client.get("/page.js")
    assert after.content == b"newer"
    assert after.headers["etag"] != before


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/other.js",
        "/.built-from",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/app.py",
        "/a/b/page.js",
        "/" + "0" * 64 + "/x",
    ],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_only_reading_is_allowed(client: TestClient) -> None:
    assert client.post("/page.js").status_code == 405
    assert client.delete("/manifest.json").status_code == 405


def test_an_empty_folder_is_said_and_what_mends_it(tmp_path: Path) -> None:
    client = TestClient(create_app(tmp_path / "absent"))
    for path in ("/manifest.json", "/page.js", "/healthz"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.json()["code"] == "not_built"
        assert "python -m wasm_server.build" in answer.json()["detail"]
        assert str(tmp_path) not in answer.text


@pytest.mark.parametrize("fault", ["changed", "missing", "manifest"])
def test_half_a_build_is_not_served(client: TestClient, directory: Path, fault: str) -> None:
    if fault == "changed":
        (directory / "media.wasm").write_bytes(b"other")
    elif fault == "missing":
        (directory / "media.wasm").unlink()
    else:
        (directory / "manifest.json").write_text('{"abi": 1, "fi')
    assert client.get("/media.wasm").status_code == 503
    assert client.get("/healthz").status_code == 503


def test_health_is_ok_with_a_whole_build(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
