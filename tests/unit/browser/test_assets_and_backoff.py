from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest

from gateway.browser.assets import PAGE_ABI, REQUIRED, check_file, parse_manifest
from gateway.browser.browser import backoff_s
from gateway.browser.errors import AssetError
from gateway.browser.settings import BrowserSettings

pytestmark = pytest.mark.unit

CONTENT = b"content"
SHA = hashlib.sha256(CONTENT).hexdigest()
GOOD: dict[str, Any] = {
    "abi": PAGE_ABI,
    "version": "0.1.0",
    "wajs": "4.6.0",
    "files": {
        **{name: {"path": f"/{name}", "sha256": SHA, "bytes": len(CONTENT), "type": "x"} for name in REQUIRED},
        "more.js": {"path": "anything"},
    },
}


def test_a_good_manifest() -> None:
    manifest = parse_manifest(GOOD, server="The server")
    assert (manifest.abi, manifest.version, manifest.wajs) == (PAGE_ABI, "0.1.0", "4.6.0")
    assert sorted(manifest.files) == sorted(REQUIRED)
    assert check_file(manifest.files["wa.js"], CONTENT, server="The server").text == "content"


@pytest.mark.parametrize("content", [None, [], "x", {}, {"abi": PAGE_ABI}, {"abi": PAGE_ABI, "files": []}])
def test_what_is_no_manifest(content: Any) -> None:
    with pytest.raises(AssetError, match="gives no manifest"):
        parse_manifest(content, server="The server")


@pytest.mark.parametrize("abi", [0, PAGE_ABI + 1, "1", None, True, 1.0])
def test_another_abi(abi: Any) -> None:
    with pytest.raises(AssetError, match=f"this gateway needs {PAGE_ABI}"):
        parse_manifest({**GOOD, "abi": abi}, server="The server")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("path", "//evil.example/x", "names no file wa.js"),
        ("path", "http://evil.example/x", "names no file wa.js"),
        ("path", "/../secret", "names no file wa.js"),
        ("path", "/x?y", "names no file wa.js"),
        ("path", None, "names no file wa.js"),
        ("sha256", SHA.upper(), "no sha256 for wa.js"),
        ("sha256", "", "no sha256 for wa.js"),
        ("bytes", -1, "no believable size for wa.js"),
        ("bytes", 10**9, "no believable size for wa.js"),
        ("bytes", True, "no believable size for wa.js"),
    ],
)
def test_an_entry_that_is_wrong(field: str, value: Any, words: str) -> None:
    manifest = copy.deepcopy(GOOD)
    manifest["files"]["wa.js"][field] = value
    with pytest.raises(AssetError, match=words):
        parse_manifest(manifest, server="The server")


@pytest.mark.parametrize("content", [b"", b"content ", b"contenT"])
def test_a_file_that_is_not_what_the_manifest_says(content: bytes) -> None:
    entry = parse_manifest(GOOD, server="The server").files["media.wasm"]
    with pytest.raises(AssetError, match=r"media\.wasm of The server is not what its manifest says"):
        check_file(entry, content, server="The server")


def test_pauses_double_up_to_the_cap_and_jitter_only_shortens_them() -> None:
    settings = BrowserSettings(backoff_min_s=0.25, backoff_max_s=10, backoff_jitter=0.3)
    assert [backoff_s(failures, settings, 0.0) for failures in range(1, 9)] == [0.25, 0.5, 1, 2, 4, 8, 10, 10]
    assert backoff_s(10_000, settings, 0.0) == 10
    assert backoff_s(3, settings, 0.999) == pytest.approx(0.7, abs=0.01)


def test_a_chrome_that_was_there_a_moment_ago_is_looked_for_often() -> None:
    settings = BrowserSettings()
    assert [backoff_s(failures, settings, 0.0, lost_s=5.0) for failures in range(1, 5)] == [0.25, 0.5, 0.5, 0.5]
    assert backoff_s(8, settings, 0.0, lost_s=60.0) == 10
