"""Whether the packet path runs compiled (setup.py says what that is), and from the source that is here.

Python takes a compiled module before its source, also where the source was changed since: `python -m
gateway.media.compiled` says which, with exit status 0 for compiled alone.
"""

from __future__ import annotations

import enum
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

_WRITTEN_TOGETHER_S: Final = 10.0  # an installer gives sources and compiled modules the times at which it wrote them


class Compiled(enum.StrEnum):
    """How the packet path runs."""

    COMPILED = "compiled"
    INTERPRETED = "interpreted"
    OUTDATED = "outdated"


def packet_path(folder: Path = Path(__file__).parents[1], tolerance_s: float = _WRITTEN_TOGETHER_S) -> Compiled:
    """Return how the packet path runs with this interpreter.

    Args:
        folder: of the package `gateway`.
        tolerance_s: how much newer than its compiled module a source may be.
    """
    found = Compiled.INTERPRETED
    for source in folder.glob("*/*.py"):
        module = next((path for suffix in EXTENSION_SUFFIXES if (path := source.with_suffix(suffix)).exists()), None)
        if module is None:
            continue
        if source.stat().st_mtime - module.stat().st_mtime > tolerance_s:
            return Compiled.OUTDATED
        found = Compiled.COMPILED
    return found


if __name__ == "__main__":
    state = packet_path(tolerance_s=0.0)
    print(state)
    sys.exit(state is not Compiled.COMPILED)
