"""Bundle the dashboard into one folder: ``python -m gateway.api.dashboard.build``.

Its packages come from npm, pinned by package-lock.json; no script of theirs is run when they are installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
DEFAULT: Final = _HERE.parents[2] / "build" / "dashboard"
_SINGLE: Final = ("package.json", "package-lock.json", "tsconfig.json", "index.html", "icon.svg", "scripts/bundle.mjs")
_STAMP: Final = ".built-from"
_NPM_TIMEOUT_S: Final = 600  # over a slow line
_BUNDLE_TIMEOUT_S: Final = 120  # two seconds, on a machine that does nothing else


def build(directory: Path = DEFAULT) -> bool:
    """Build, unless the folder has it already; say whether it was needed.

    Args:
        directory: where the files go.

    Raises:
        OSError: a tool is missing, or the folder cannot be written.
        subprocess.SubprocessError: npm or the bundler failed.
    """
    wanted = _fingerprint()
    stamp = directory / _STAMP
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory / ".lock"):
        if stamp.exists() and stamp.read_text() == wanted:
            return False
        _install_packages()
        with tempfile.TemporaryDirectory(prefix=".making-", dir=directory) as scratch:
            subprocess.run(
                ["node", str(_HERE / "scripts" / "bundle.mjs"), scratch], cwd=_HERE, check=True,
                timeout=_BUNDLE_TIMEOUT_S, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            _put(Path(scratch), directory)
        stamp.write_text(wanted)  # last: an interrupted build is done again
    return True


def _put(made: Path, directory: Path) -> None:
    """Move what was made to its place. The page names its parts by content, so it comes when they are there."""
    assets = directory / "assets"
    assets.mkdir(exist_ok=True)
    names = {path.name for path in (made / "assets").iterdir()}
    for name in names:
        os.replace(made / "assets" / name, assets / name)
    os.replace(made / "index.html", directory / "index.html")
    for path in assets.iterdir():
        if path.name not in names:
            path.unlink()


def _install_packages() -> None:
    mark = _HERE / "node_modules" / ".ponte-installed"  # .ci/install writes the same one
    key = hashlib.sha256((_HERE / "package-lock.json").read_bytes()).hexdigest()
    if mark.exists() and mark.read_text().strip() == key:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed: install Node 20 or later with npm")
    subprocess.run([npm, "ci"], cwd=_HERE, check=True, timeout=_NPM_TIMEOUT_S, stdin=subprocess.DEVNULL)
    mark.write_text(key)


def _fingerprint() -> str:
    """A hash of all that the result depends on, by content: times mean nothing after a checkout."""
    digest = hashlib.sha256()
    sources = [path for path in (_HERE / "src").rglob("*") if path.is_file()]
    for path in [*(_HERE / name for name in _SINGLE), *sorted(sources)]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_HERE)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file, one process at a time; the kernel frees it when its holder dies."""
    handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main() -> int:
    """Build as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--directory", type=Path, default=DEFAULT)
    directory = parser.parse_args().directory
    try:
        built = build(directory)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 1
    print(f"{directory}: {'built' if built else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
