"""The build, with the real compilers: what it makes, when it makes it, and what it says when it cannot."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.npm import npm_test
from wasm_server import build as builder
from wasm_server.build import CONTENT_TYPES, BuildError, Sources, build

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("built")
    assert build(directory)
    return directory


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Sources of the test's own; node's packages are those of the tree."""
    media = shutil.copytree(Sources().media, tmp_path / "media")
    page = tmp_path / "page"
    shutil.copytree(Sources().page, page, ignore=shutil.ignore_patterns("node_modules"))
    (page / "node_modules").symlink_to(Sources().page / "node_modules")
    return Sources(media=Path(media), page=page)


def hashes(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in CONTENT_TYPES}


def test_the_manifest_is_of_the_files(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["abi"] == 1
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == hashes(built)
    assert {entry["type"] for entry in manifest["files"].values()} == {"text/javascript", "application/wasm"}


def test_wajs_is_as_published(built: Path) -> None:
    package = Sources().page / "node_modules" / "@wppconnect" / "wa-js"
    assert (built / "wa.js").read_bytes() == (package / "dist" / "wppconnect-wa.js").read_bytes()
    locked = json.loads((Sources().page / "package-lock.json").read_text())["packages"]
    version = locked["node_modules/@wppconnect/wa-js"]["version"]
    assert json.loads((built / "manifest.json").read_text())["wajs"] == version == "4.6.0"


def test_scripts_are_whole(built: Path) -> None:
    """One script each, that needs nothing and leaves no name behind."""
    for name in ("page.js", "worklet.js"):
        text = (built / name).read_text(encoding="utf-8")
        assert "import(" not in text
        assert "require(" not in text
        assert "sourceMappingURL" not in text
        assert text.removeprefix('"use strict";\n').startswith("(() => {")


def test_two_builds_are_equal(built: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(built)


def test_nothing_is_done_when_nothing_changed(copy: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert not build(copy)
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest", "left over"])
def test_an_interrupted_build_is_done_again(copy: Path, built: Path, damage: str) -> None:
    if damage == "truncate":
        (copy / "page.js").write_bytes(b"(() => {")
    elif damage == "delete":
        (copy / "media.wasm").unlink()
    elif damage == "manifest":
        (copy / "manifest.json").write_text("{")
    else:
        (copy / ".built-from").unlink()
        (copy / ".making-abc").mkdir()
    assert build(copy)
    assert hashes(copy) == hashes(built)
    assert not list(copy.glob(".making-*"))


def test_a_change_of_a_source_is_noticed_and_bad_code_keeps_the_earlier_build(tmp_path: Path, sources: Sources) -> None:
    directory = tmp_path / "out"
    assert build(directory, sources=sources)
    before = hashes(directory)
    worklet = sources.page / "src" / "worklet" / "worklet.ts"
    worklet.write_text(worklet.read_text().replace("METER_INTERVAL_S = 0.25", "METER_INTERVAL_S = 0.5"))
    assert build(directory, sources=sources)
    after = hashes(directory)
    assert after["worklet.js"] != before["worklet.js"]
    assert after["media.wasm"] == before["media.wasm"]

    (sources.media / "limiter.c").write_text("int broken(")
    with pytest.raises(BuildError, match="clang failed"):
        build(directory, sources=sources)
    assert hashes(directory) == after


def test_halves_of_different_abi_are_not_built(tmp_path: Path, sources: Sources) -> None:
    header = sources.media / "include" / "abi.h"
    header.write_text(header.read_text().replace("MEDIA_ABI_VERSION 1", "MEDIA_ABI_VERSION 2"))
    with pytest.raises(BuildError, match="ABI versions differ"):
        build(tmp_path / "out", sources=sources)


def test_a_missing_compiler_is_named_with_its_package(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="apt-get install clang lld"):
        build(tmp_path / "out", sources=sources)


def test_the_command_line_says_what_it_did(copy: Path) -> None:
    command = [sys.executable, "-m", builder.__name__, "--directory", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == f"{copy}: up to date"


def test_the_page_package_passes_its_own_tests(built: Path) -> None:
    printed = npm_test(Sources().page, timeout_s=100, MEDIA_WASM=str(built / "media.wasm"))
    assert "# skipped 0" in printed
