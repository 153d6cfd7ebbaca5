"""Every bench: `python -m tests.bench [section ...] [--quick]`, or `make bench`.

A section is a module `tests/bench/section_NAME.py` with one function,

    def run(section: Section, *, quick: bool) -> None

which measures and gives its figures to *section*. It takes what it needs for itself, bounds its own time, and leaves
nothing behind. The figures land in build/bench.json and the plots beside it. The exit status is 1 where a bench failed;
a bar that does not hold is printed and written, and is no failure of the bench.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.results import BUILD, Section

_PREFIX: Final = "section_"


def names() -> list[str]:
    """Return the names of all sections."""
    return sorted(path.stem.removeprefix(_PREFIX) for path in Path(__file__).parent.glob(f"{_PREFIX}*.py"))


def run(name: str, *, quick: bool, folder: Path = BUILD) -> bool:
    """Run one section; whether it ran to its end."""
    print(f"==> {name}", flush=True)
    section = Section.open(name, quick=quick, folder=folder)
    try:
        with section:
            importlib.import_module(f"tests.bench.{_PREFIX}{name}").run(section, quick=quick)
    except Exception:
        traceback.print_exc()
        return False
    finally:
        print("\n".join(section.lines()), flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    known = names()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures into build/bench.json.")
    parser.add_argument("sections", nargs="*", metavar="section", help=f"one of {', '.join(known)}; none: all of them")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, good for trying out")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.sections if name not in known]
    if unknown:
        parser.error(f"no such section: {', '.join(unknown)}; there is {', '.join(known)}")
    ended = [run(name, quick=options.quick) for name in options.sections or known]
    return 0 if all(ended) else 1


if __name__ == "__main__":
    sys.exit(main())
