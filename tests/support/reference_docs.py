"""Writes the generated parts of documents: ``python -m tests.support.reference_docs [--check]``.

What people write themselves stands outside of the generated parts and stays.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.api_docs import api_parts
from tests.support.cli_docs import cli_parts
from tests.support.config_docs import config_parts
from tests.support.metric_docs import metric_parts

DOCS = Path(__file__).parents[2] / "docs"
END = "<!-- end -->"


def documented(text: str, parts: dict[str, str]) -> str:
    """Return *text* with each generated part as the code has it.

    Args:
        text: a document; a part stands between ``<!-- NAME: generated -->`` and ``<!-- end -->``.
        parts: what is to stand there, by name.

    Raises:
        ValueError: the document lacks the place of a part.
    """
    for name, part in parts.items():
        begin = f"<!-- {name}: generated -->\n"
        before, found, rest = text.partition(begin)
        _, end, after = rest.partition(END)
        if not found or not end:
            raise ValueError(f"there is no place for {name!r}")
        text = f"{before}{begin}{part}{END}{after}"
    return text


def documents() -> dict[Path, dict[str, str]]:
    """The generated parts of each document."""
    return {
        DOCS / "configuration.md": config_parts(),
        DOCS / "api-reference.md": api_parts(),
        DOCS / "metrics.md": metric_parts(),
        DOCS / "cli.md": cli_parts(),
    }


def stale() -> list[str]:
    """The documents that differ from the code."""
    return [
        f"docs/{path.name}"
        for path, parts in documents().items()
        if documented(text := path.read_text(encoding="utf-8"), parts) != text
    ]


def main() -> int:
    """Write the documents; with ``--check`` only say whether they are up to date."""
    if "--check" not in sys.argv:
        for path, parts in documents().items():
            path.write_text(documented(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
        return 0
    found = stale()
    for name in found:
        print(f"{name}: the code changed; run python -m tests.support.reference_docs", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
