"""The parts of docs/api-reference.md, made of the OpenAPI description that the gateway serves."""

from __future__ import annotations

from typing import Any

from gateway.api.openapi import describe
from tests.support.config_docs import cell

_SCHEMA = "#/components/schemas/"
_WORDS = {"string": "text", "integer": "number", "number": "decimal number", "boolean": "true, false"}


def api_parts() -> dict[str, str]:
    """The generated parts of docs/api-reference.md, by name."""
    description = describe()
    return {"operations": _operations(description), "schemas": _schemas(description["components"]["schemas"])}


def _operations(description: dict[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {tag["name"]: [] for tag in description["tags"]}
    for path, methods in description["paths"].items():
        for method, one in methods.items():
            by_tag[one["tags"][0]].append(_operation(method, path, one))
    return "\n".join(f"## {tag.capitalize()}\n\n" + "\n".join(found) for tag, found in by_tag.items())


def _operation(method: str, path: str, one: dict[str, Any]) -> str:
    lines = [f"### `{method.upper()} {path}`\n", f"{one['summary']}. {_key(one)}\n"]
    if one["parameters"]:
        lines += ["| parameter | in | values | |", "|---|---|---|---|"]
        for parameter in one["parameters"]:
            needed = "**required.** " if parameter.get("required") else ""
            text = cell(parameter.get("description", ""))
            kind = kind_of(parameter["schema"])
            lines.append(f"| `{parameter['name']}` | {parameter['in']} | {kind} | {needed}{text} |")
        lines.append("")
    if "requestBody" in one:
        body = one["requestBody"]
        kind = kind_of(body["content"]["application/json"]["schema"])
        lines.append(f"Body: {kind}{'' if body['required'] else ', may be left out'}.\n")
    lines += ["| status | answer | |", "|---|---|---|"]
    for status, answer in one["responses"].items():
        lines.append(
            f"| {status} | {_content(answer)} | {'' if answer['description'] == 'Well' else answer['description']} |"
        )
    return "\n".join(lines) + "\n"


def _key(one: dict[str, Any]) -> str:
    kinds = [name for need in one["security"] for name in need]
    if not kinds:
        return "No key."
    return "With an admin key." if "adminKey" in kinds else "With an account's key."


def _content(answer: dict[str, Any]) -> str:
    found = []
    for media, content in answer.get("content", {}).items():
        if media == "application/json":
            found.append(kind_of(content["schema"]))
        elif media == "application/problem+json":
            found.append("[problem](#problemview)")
        else:
            found.append(f"`{media}`")
    return ", ".join(found) or "nothing"


def _schemas(schemas: dict[str, Any]) -> str:
    return "\n".join(_schema(name, schema) for name, schema in schemas.items())


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n", cell(schema.get("description", "").replace("``", "`")) + "\n"]
    if "enum" in schema:
        return "\n".join([*lines, kind_of(schema) + "\n"])
    if not schema.get("properties"):
        return "\n".join(lines)
    lines += ["| field | values | |", "|---|---|---|"]
    asked = schema.get("additionalProperties") is False  # a body or query; what is answered is all there
    for field, one in schema["properties"].items():
        needed = "**required.** " if asked and field in schema.get("required", ()) else ""
        default = _default(one) if asked else ""
        text = cell(one.get("description", "").replace("``", "`"))
        lines.append(f"| `{field}` | {kind_of(one)} | {needed}{text}{'; ' if text and default else ''}{default} |")
    return "\n".join(lines) + "\n"


def _default(one: dict[str, Any]) -> str:
    value = one.get("default")
    if value is None or value == "" or value == []:
        return ""
    return f"default `{str(value).lower() if isinstance(value, bool) else value}`"


def kind_of(one: dict[str, Any]) -> str:
    """What a value may be, with links to the schemas."""
    if "$ref" in one:
        name = one["$ref"].removeprefix(_SCHEMA)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(kind_of(kind) for kind in one["anyOf"]))
    if "const" in one:
        return f"`{one['const']}`" if one["const"] else "empty text"
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    kind = one.get("type", "any")
    if kind == "array":
        return f"list of {kind_of(one.get('items', {}))}"
    if kind == "object":
        values = one.get("additionalProperties")
        return f"object of {kind_of(values)}" if isinstance(values, dict) else "object"
    return _WORDS.get(kind, str(kind)) + _limits(one)


def _limits(one: dict[str, Any]) -> str:
    if "pattern" in one:
        return f" like {_code(one['pattern'])}"
    low, high = one.get("minimum", one.get("exclusiveMinimum")), one.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if one.get("maxLength"):
        return f", {one['maxLength']} characters at most"
    return ""


def _code(text: str) -> str:
    """Return *text* as code in a table; a pattern may hold both backticks and bars."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text.replace('|', chr(92) + '|')}{fence}"
