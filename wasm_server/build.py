"""Build what the page needs into one folder: ``python -m wasm_server.build``.

``media.wasm`` from C (clang, then wasm-ld by itself: clang's driver would run whatever wasm-opt is installed, which
breaks SIMD after stripping), ``page.js`` and ``worklet.js`` from TypeScript by esbuild, ``wa.js`` as wa-js publishes
it, and ``manifest.json`` with their hashes. Each file is replaced as a whole and the manifest comes late, so that a
build that was interrupted leaves the earlier one or is seen to be out of date and done again.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VERSION: Final = "0.1.0"
MANIFEST_NAME: Final = "manifest.json"
STAMP_NAME: Final = ".built-from"
CONTENT_TYPES: Final = {
    "page.js": "text/javascript",
    "wa.js": "text/javascript",
    "worklet.js": "text/javascript",
    "media.wasm": "application/wasm",
}

_HERE: Final = Path(__file__).resolve().parent
_COMPILE_FLAGS: Final = (
    "--target=wasm32-unknown-unknown",
    "-mcpu=mvp",  # the same set of features whatever the compiler's release takes for granted
    "-msimd128",
    "-O3",
    "-std=c11",
    "-ffreestanding",
    "-fno-builtin",
    "-nostdlib",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wconversion",
)
_LINK_FLAGS: Final = ("--no-entry", "--strip-all", "-z", "stack-size=16384", "--stack-first")
_COMMAND_TIMEOUT_S: Final = 600  # npm ci over a slow line


class BuildError(Exception):
    """The bundle cannot be built; the message says why and what mends it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the build reads.

    Attributes:
        media: Folder of the C sources.
        page: Folder of the TypeScript package.
    """

    media: Path = _HERE / "media"
    page: Path = _HERE / "page"


def default_directory() -> Path:
    """Return ``build/wasm`` of the source tree."""
    return _HERE.parent / "build" / "wasm"


def read_abi(sources: Sources) -> int:
    """Return the ABI version both halves of the sources agree on.

    Raises:
        BuildError: A half names none, or they differ.
    """
    found: dict[str, int] = {}
    for path, pattern in (
        (sources.media / "include" / "abi.h", r"#define MEDIA_ABI_VERSION (\d+)"),
        (sources.page / "src" / "config.ts", r"export const ABI = (\d+);"),
    ):
        match = re.search(pattern, path.read_text(encoding="utf-8"))
        if match is None:
            raise BuildError(f"{path.name} names no ABI version")
        found[path.name] = int(match[1])
    if len(set(found.values())) != 1:
        raise BuildError(f"the ABI versions differ: {found}; raise both together")
    return next(iter(found.values()))


def build_media(media: Path, target: Path, *, warnings_are_errors: bool = False) -> None:
    """Compile the C sources in *media* to the WASM module *target*.

    Args:
        media: Folder of the C sources.
        target: The file to write.
        warnings_are_errors: For this project's own tests; a newer compiler's new warning is no reason not to build.

    Raises:
        BuildError: clang or wasm-ld is missing or refuses the code.
    """
    clang = _tool("clang", "apt-get install clang lld")
    linker = _tool("wasm-ld", "apt-get install lld")
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for source in sorted(media.glob("*.c")):
            compiled = Path(scratch) / f"{source.stem}.o"
            include = f"-I{media / 'include'}"
            strict = ["-Werror"] if warnings_are_errors else []
            _run([clang, *_COMPILE_FLAGS, *strict, include, "-c", str(source), "-o", str(compiled)], cwd=media)
            objects.append(str(compiled))
        _run([linker, *_LINK_FLAGS, *objects, "-o", str(target)], cwd=media)


def build_page(page: Path, target: Path) -> str:
    """Bundle the TypeScript and copy wa-js into the folder *target*.

    Returns:
        The version of wa-js.

    Raises:
        BuildError: node, npm or a package is missing, or the code does not bundle.
    """
    node = _tool("node", "install Node 20 or later")
    _install_packages(page)
    script = page / "scripts" / "bundle.mjs"
    _run([node, str(script), str(target)], cwd=page)
    package = page / "node_modules" / "@wppconnect" / "wa-js"
    shutil.copyfile(package / "dist" / "wppconnect-wa.js", target / "wa.js")
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    return str(version)


def build(directory: Path, *, sources: Sources | None = None, force: bool = False) -> bool:
    """Build into *directory* what is not up to date there.

    Args:
        directory: Where the files and ``manifest.json`` go; made when missing.
        sources: Where to read; the package's own folders by default.
        force: Build even when nothing changed.

    Returns:
        Whether anything was built.

    Raises:
        BuildError: A tool is missing or refuses.
    """
    sources = sources or Sources()
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory / ".lock"):
        for left_over in directory.glob(".making-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        stamp = _fingerprint(sources)
        if not force and _is_current(directory, stamp):
            return False
        abi = read_abi(sources)
        # Beside the target, so that a file is moved within one file system.
        with tempfile.TemporaryDirectory(prefix=".making-", dir=directory) as scratch_name:
            scratch = Path(scratch_name)
            build_media(sources.media, scratch / "media.wasm")
            wajs = build_page(sources.page, scratch)
            manifest = _manifest(scratch, abi, wajs)
            (scratch / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            # npm ci may have written what counts as a source only now.
            (scratch / STAMP_NAME).write_text(_fingerprint(sources), encoding="utf-8")
            for name in (*CONTENT_TYPES, MANIFEST_NAME, STAMP_NAME):
                (scratch / name).replace(directory / name)
    return True


def _manifest(directory: Path, abi: int, wajs: str) -> dict[str, object]:
    files = {}
    for name, content_type in CONTENT_TYPES.items():
        content = (directory / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        files[name] = {"path": f"/{name}", "sha256": digest, "bytes": len(content), "type": content_type}
    return {"abi": abi, "version": VERSION, "wajs": wajs, "files": files}


def _is_current(directory: Path, stamp: str) -> bool:
    """Whether *directory* holds a whole build of these sources."""
    try:
        if (directory / STAMP_NAME).read_text(encoding="utf-8") != stamp:
            return False
        files = json.loads((directory / MANIFEST_NAME).read_text(encoding="utf-8"))["files"]
        return all(
            hashlib.sha256((directory / name).read_bytes()).hexdigest() == files[name]["sha256"]
            for name in CONTENT_TYPES
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _source_files(sources: Sources) -> Iterator[Path]:
    yield Path(__file__)
    yield from sorted((*sources.media.glob("*.c"), *sources.media.glob("*.h"), *sources.media.glob("include/*.h")))
    yield from sorted((sources.page / "src").rglob("*.ts"))
    yield from sorted((sources.page / "scripts").glob("*.mjs"))
    yield sources.page / "package.json"
    yield sources.page / "package-lock.json"


def _fingerprint(sources: Sources) -> str:
    """Return a hash of everything the result depends on, by content: times mean nothing after a checkout."""
    digest = hashlib.sha256()
    for path in _source_files(sources):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _install_packages(page: Path) -> None:
    """Run ``npm ci`` unless ``node_modules`` was installed, to its end, from this very lock file."""
    wanted = hashlib.sha256((page / "package-lock.json").read_bytes()).hexdigest()
    mark = page / "node_modules" / ".ponte-installed"
    with _lock(page / "package-lock.json"):
        if mark.is_file() and mark.read_text(encoding="utf-8").strip() == wanted:
            return
        npm = _tool("npm", "install Node 20 or later with npm")
        _run([npm, "ci", "--no-fund", "--no-audit"], cwd=page)
        mark.write_text(wanted, encoding="utf-8")


def _tool(name: str, remedy: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BuildError(f"{name} is not installed: {remedy}")
    return path


def _run(command: Sequence[str], *, cwd: Path) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as fault:
        raise BuildError(f"{Path(command[0]).name} did not end within {_COMMAND_TIMEOUT_S} s") from fault
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        raise BuildError(f"{Path(command[0]).name} failed ({done.returncode}):\n{tail}")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file, one process at a time; the kernel frees it when its holder dies."""
    handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main(arguments: Iterable[str] | None = None) -> int:
    """Build from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m wasm_server.build", description="Build the page bundle and WASM.")
    parser.add_argument("--directory", type=Path, default=default_directory(), help="where to put the files")
    parser.add_argument("--force", action="store_true", help="build even when nothing changed")
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        built = build(options.directory, force=options.force)
    except BuildError as fault:
        print(f"wasm_server.build: {fault}", file=sys.stderr)
        return 1
    print(f"{options.directory}: {'built' if built else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
