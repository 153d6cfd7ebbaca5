"""The tables of docs/configuration.md, made of the settings' own fields."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from gateway.api.described import BridgeFields
from gateway.config import ENV_PREFIX, Settings, flag_of
from gateway.config.api import ApiSettings
from gateway.config.calls import CallSettings
from gateway.config.logs import LogSettings
from gateway.config.media import MediaSettings
from gateway.config.numbers import NumberSettings
from gateway.config.page import PageSettings
from gateway.config.recording import RecordingSettings
from gateway.config.sip import SipSettings
from gateway.config.store import StoreSettings

_SECTIONS: dict[str, type[BaseModel]] = {
    "HTTP API": ApiSettings,
    "SIP": SipSettings,
    "Audio": MediaSettings,
    "Calls": CallSettings,
    "Numbers": NumberSettings,
    "Pages and Chrome": PageSettings,
    "Recording": RecordingSettings,
    "Database, records, webhooks": StoreSettings,
    "Logs": LogSettings,
}
_UNITS = {"_per_min": "a minute", "_per_s": "a second", "_ms": "ms", "_s": "s", "_mb": "MB", "_days": "days"}
"""By the end of a name, the longer ones first."""
_MADE_UP = {"state_dir": "`~/.local/state/ponte`, or `ponte` in `XDG_STATE_HOME`"}
"""Defaults that depend on the machine."""


def config_parts() -> dict[str, str]:
    """The generated parts of docs/configuration.md, by name."""
    return {"settings": settings_part(), "fields of an account": fields_part()}


def settings_part() -> str:
    """Every setting of the process, by concern."""
    known = {name for model in _SECTIONS.values() for name in model.model_fields}
    missing = sorted(set(Settings.model_fields) - known)
    if missing:
        raise ValueError(f"settings of no section: {', '.join(missing)}; add their class to _SECTIONS")
    lines: list[str] = []
    for title, model in _SECTIONS.items():
        lines += [f"### {title}\n", (model.__doc__ or "").strip() + "\n"]
        lines += ["| variable, flag | values | default | what and why |", "|---|---|---|---|"]
        schema = model.model_json_schema()
        for name, field in schema["properties"].items():
            lines.append(_row(name, field, schema.get("$defs", {})))
        lines.append("")
    return "\n".join(lines)


def fields_part() -> str:
    """The fields of an account's configuration."""
    schema = BridgeFields.model_json_schema()
    lines = ["| field | values | what |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        needed = ", required" if name in schema.get("required", ()) else ""
        lines.append(f"| `{name}` | {values(field, schema.get('$defs', {}))}{needed} | {cell(field['description'])} |")
    return "\n".join(lines) + "\n"


def _row(name: str, field: dict[str, Any], definitions: dict[str, Any]) -> str:
    secret = "writeOnly" in str(field)
    ways = f"`{ENV_PREFIX}{name.upper()}`" + ("; no flag, since it is a secret" if secret else f"<br>`{flag_of(name)}`")
    return f"| {ways} | {values(field, definitions)} | {_default(name, field)} | {cell(field['description'])} |"


def _default(name: str, field: dict[str, Any]) -> str:
    if name in _MADE_UP:
        return _MADE_UP[name]
    value = field["default"]
    if value is None or value == "" or value == []:
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`{','.join(map(str, value))}`"
    if not isinstance(value, int | float):
        return f"`{value}`"
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")
    return f"`{value:.10g}` {unit}".rstrip()


def values(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The values that a field takes, in words."""
    if "$ref" in field:
        return values(definitions[field["$ref"].rpartition("/")[2]], definitions)
    for key in ("anyOf", "allOf"):
        if key in field:
            kinds = [values(kind, definitions) for kind in field[key] if kind != {"type": "null"}]
            return " or ".join(dict.fromkeys(kinds))
    if "const" in field:
        return f"`{field['const']}`" if field["const"] else "empty"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = field.get("type")
    if kind == "array":
        return f"list of {values(field['items'], definitions)}, by commas"
    if kind in {"integer", "number"}:
        return ("number" if kind == "integer" else "decimal number") + _limits(field)
    if kind == "boolean":
        return "`true`, `false`"
    return {"path": "path", "password": "secret"}.get(field.get("format", ""), "text")


def _limits(field: dict[str, Any]) -> str:
    if "exclusiveMinimum" in field:
        low = f" above {field['exclusiveMinimum']:g}"
    else:
        low = f" from {field['minimum']:g}" if "minimum" in field else ""
    return low + (f" to {field['maximum']:.10g}" if "maximum" in field else "")


def cell(text: str) -> str:
    """Return *text* as it can stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")
