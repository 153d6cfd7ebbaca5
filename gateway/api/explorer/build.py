"""Put the files of ``/docs`` into one folder: ``python -m gateway.api.explorer.build``.

Swagger UI comes from npm, pinned by package-lock.json; none of its scripts is run (one would report the installation).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
DEFAULT: Final = _HERE.parents[2] / "build" / "docs"
_FILES: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "LICENSE", "NOTICE")
_OWN: Final = ("index.html", "start.js")
_STAMP: Final = ".built-from"
_NPM_TIMEOUT_S: Final = 600  # over a slow line


def build(directory: Path = DEFAULT) -> bool:
    """Build, unless the folder has it already; say whether it was needed.

    Args:
        directory: where the files go.
    """
    wanted = hashlib.sha256(b"".join((_HERE / name).read_bytes() for name in ("package-lock.json", *_OWN))).hexdigest()
    stamp = directory / _STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    package = _HERE / "node_modules" / "swagger-ui-dist"
    mark = _HERE / "node_modules" / ".ponte-installed"  # .ci/install writes the same one
    key = hashlib.sha256((_HERE / "package-lock.json").read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text() != key:
        subprocess.run(["npm", "ci"], cwd=_HERE, check=True, timeout=_NPM_TIMEOUT_S, stdin=subprocess.DEVNULL)
        mark.write_text(key)
    directory.mkdir(parents=True, exist_ok=True)
    for source in [*(package / name for name in _FILES), *(_HERE / name for name in _OWN)]:
        draft = directory / f".{source.name}.{os.getpid()}"
        shutil.copyfile(source, draft)
        os.replace(draft, directory / source.name)
    stamp.write_text(wanted)  # last: an interrupted build is done again
    return True


def main() -> int:
    """Build as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--directory", type=Path, default=DEFAULT)
    directory = parser.parse_args().directory
    try:
        built = build(directory)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 1
    print(f"{directory}: {'built' if built else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
