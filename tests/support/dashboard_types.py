"""The API's schemas as TypeScript, for the dashboard: ``python -m tests.support.dashboard_types [--check]``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from gateway.api.openapi import describe
from gateway.events.models import EVENTS

TARGET: Final = Path(__file__).resolve().parents[2] / "gateway" / "api" / "dashboard" / "src" / "api.gen.ts"
_HEAD: Final = (
    "// Made by `python -m tests.support.dashboard_types` of the API's schemas; a test holds it to them.\n"
    "/* eslint-disable */\n"
)
_PLAIN: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def render() -> str:
    """Return the whole file."""
    schemas: dict[str, Any] = describe()["components"]["schemas"]
    told, definitions = models_json_schema(
        [(model, "serialization") for model in EVENTS.values()], ref_template="#/components/schemas/{model}"
    )
    schemas = schemas | definitions["$defs"]
    names = f"export const EVENT_TYPES = [{', '.join(json.dumps(name) for name in EVENTS)}] as const;\n"
    parts = [_HEAD, names, "export type EventType = (typeof EVENT_TYPES)[number];\n"]
    for name in sorted(schemas):
        schema = schemas[name]
        if schema.get("type") == "object" and "properties" in schema:
            parts.append(f"export interface {_name(name)} {_object(schema)}\n")
        else:
            parts.append(f"export type {_name(name)} = {_type(schema)};\n")
    lines = [f"  {json.dumps(name)}: {_type(dict(told[model, 'serialization']))};\n" for name, model in EVENTS.items()]
    parts.append(f"export interface EventData {{\n{''.join(lines)}}}\n")
    return "\n".join(parts)


def _object(schema: dict[str, Any], indent: str = "") -> str:
    required = set(schema.get("required", ()))
    lines = []
    for name, value in schema["properties"].items():
        mark = "" if name in required else "?"
        lines.append(f"{indent}  {name}{mark}: {_type(value, indent + '  ')};")
    return "{\n" + "".join(f"{line}\n" for line in lines) + f"{indent}}}"


def _type(schema: dict[str, Any], indent: str = "") -> str:
    if "$ref" in schema:
        return _name(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(dict.fromkeys(_type(one, indent) for one in schema[several]))
    if "allOf" in schema:
        return " & ".join(_type(one, indent) for one in schema["allOf"])
    kind = schema.get("type")
    if kind == "array":
        items = _type(schema.get("items", {}), indent)
        return f"({items})[]" if "|" in items or "&" in items else f"{items}[]"
    if kind == "object":
        if "properties" in schema:
            return _object(schema, indent)
        extra = schema.get("additionalProperties")
        return f"Record<string, {_type(extra, indent) if isinstance(extra, dict) else 'unknown'}>"
    return _PLAIN.get(str(kind), "unknown")


def _name(name: str) -> str:
    return name.replace("-", "").replace(".", "")


def main() -> int:
    """Write the file, or say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 where it would")
    if parser.parse_args().check:
        if TARGET.read_text(encoding="utf-8") == render():
            return 0
        print("api.gen.ts is behind: run python -m tests.support.dashboard_types", file=sys.stderr)
        return 1
    TARGET.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
