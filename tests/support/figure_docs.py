"""Puts the figures of build/bench.json into the table of docs/operations.md: ``python -m tests.support.figure_docs``.

A row names its figure in the last cell, as `section.key`. Rows without one, and figures that were not measured, stay as
they are. Nothing checks that the table is fresh: figures are of one machine, and of the day when `make bench` ran.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "operations.md"
FIGURES = ROOT / "build" / "bench.json"
_TABLE = re.compile(r"(<!-- figures: by make bench -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_ROW = re.compile(r"^\| (?P<what>.+?) \| (?P<value>.*?) \| `(?P<section>\w+)\.(?P<key>\w+)` \|$", re.MULTILINE)


def filled(text: str, sections: dict[str, Any]) -> str:
    """Return *text* with the figures of *sections* in the rows that name them."""

    def row(found: re.Match[str]) -> str:
        section = sections.get(found["section"], {})
        entry = section.get("entries", {}).get(found["key"], {})
        if "median" not in entry or section.get("quick"):
            return found[0]
        return f"| {found['what']} | {value(entry)} | `{found['section']}.{found['key']}` |"

    return _TABLE.sub(lambda table: table[1] + _ROW.sub(row, table[2]) + table[3], text)


def value(entry: dict[str, Any]) -> str:
    """A figure for people: its median, and how far its runs lie apart."""
    low, high = entry["spread"]
    spread = f" ({low:g} to {high:g})" if low != high else ""
    return f"{entry['median']:g} {entry['unit']}".rstrip() + spread


def main() -> int:
    """Fill the table."""
    if not FIGURES.exists():
        print("there is no build/bench.json: run make bench first", file=sys.stderr)
        return 1
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(filled(text, json.loads(FIGURES.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
