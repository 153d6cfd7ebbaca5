"""Writes the tables of docs/events.md from the models: ``python -m tests.support.event_docs [--check]``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gateway.events.models import EVENTS

_PATH = Path("docs/events.md")
_BEGIN, _END = "<!-- event types: generated -->\n", "<!-- end -->\n"


def documented(text: str) -> str:
    """Return the file's text with its generated part as the models have it."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + "\n".join(_event(name) for name in EVENTS) + _END + after


def _event(name: str) -> str:
    schema = EVENTS[name].model_json_schema(mode="serialization")
    definitions = schema.get("$defs", {})
    lines = [f"### `{name}`\n", schema["description"] + "\n", "| field | type | |", "|---|---|---|"]
    for field, one in schema["properties"].items():
        lines.append(f"| `{field}` | {_kind(one, definitions)} | {one.get('description', '')} |")
    return "\n".join(lines) + "\n"


def _kind(one: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in one:
        return _kind(definitions[one["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in one:
        return " or ".join(_kind(each, definitions) for each in one["anyOf"])
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    return str(one.get("type", "any"))


def main() -> int:
    """Write the file, or with ``--check`` say whether it is as it would be written."""
    text = _PATH.read_text(encoding="utf-8")
    wanted = documented(text)
    if "--check" in sys.argv:
        return int(text != wanted)
    _PATH.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
