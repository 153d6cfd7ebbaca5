"""``/openapi.json`` (OpenAPI 3.1), made of `gateway.api.operations` and the pydantic models that they name."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.api.described import ProblemView
from gateway.api.operations import OPERATIONS, Content, Operation

_REF: Final = "#/components/schemas/{model}"
_PROBLEM: Final = "application/problem+json"
_PHRASES: Final = {
    400: "The request is wrong; every fault by field",
    401: "No valid API key",
    403: "The key of an account, where an admin key is needed",
    404: "The account has nothing of that id",
    409: "The state does not allow it; `state` says which",
    429: "Too many requests; Retry-After says when to come back",
    500: "The database cannot be used, or a fault of ours",
    503: "Unfit, or draining",
}
_PARAMETERS: Final = {
    "id": "Its id",
    "delivery": "The delivery's id",
    "name": "The account's name or id",
    "key": "The key's id",
}
Mode = Literal["validation", "serialization"]


def describe() -> dict[str, Any]:
    """Return the description of the API."""
    asked = {model for one in OPERATIONS for model in (one.body, one.query) if model is not None}
    contents = [content for one in OPERATIONS for answer in one.answers.values() for content in _contents(answer)]
    given = {content for content in contents if isinstance(content, type)} | {ProblemView}
    wanted: list[tuple[type[BaseModel], Mode]] = [(model, "validation") for model in asked]
    wanted += [(model, "serialization") for model in given]
    wanted.sort(key=lambda pair: (pair[0].__name__, pair[1]))
    refs, definitions = models_json_schema(wanted, ref_template=_REF)
    schemas = definitions["$defs"]
    paths: dict[str, Any] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one, refs, schemas)
    for model in {one.query for one in OPERATIONS if one.query is not None}:
        schemas.pop(refs[model, "validation"]["$ref"].rpartition("/")[2], None)  # stands as parameters
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ponte",
            "version": __version__,
            "summary": "Bridges the calls of a WhatsApp Web session to SIP",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name} for name in dict.fromkeys(one.tag for one in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`ponte keys create` makes keys"},
                "adminKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`ponte admin-keys create` makes admin keys",
                },
            },
        },
    }


def _operation(one: Operation, refs: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.tag],
        "summary": one.summary,
        "security": [{"adminKey" if one.admin else "key": []}] if one.key else [],
        "parameters": _path_parameters(one.path) + _query_parameters(one, refs, schemas) + _headers(one),
        "responses": _responses(one, refs),
    }
    if one.body is not None:
        required = any(field.is_required() for field in one.body.model_fields.values())
        content = {"application/json": {"schema": refs[one.body, "validation"]}}
        described["requestBody"] = {"required": required, "content": content}
    return described


def _contents(answer: Content | tuple[Content, ...] | None) -> tuple[Content, ...]:
    if answer is None:
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {"name": name, "in": "path", "required": True, "description": _PARAMETERS[name], "schema": {"type": "string"}}
        for name in names
    ]


def _query_parameters(one: Operation, refs: Any, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    schema = schemas[refs[one.query, "validation"]["$ref"].rpartition("/")[2]]
    found = []
    for name, field in schema["properties"].items():
        kind = _without_null(field)
        parameter = {"name": name, "in": "query", "required": False, "schema": kind}
        if "description" in field:
            parameter["description"] = field["description"]
        found.append(parameter)
    return found


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is not null."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if kinds:
        return dict(kinds[0]) if len(kinds) == 1 else {"anyOf": kinds}
    return {name: value for name, value in field.items() if name not in {"title", "description"}}


def _headers(one: Operation) -> list[dict[str, Any]]:
    found = []
    if one.idempotent:
        text = "The same key with the same body begins no second call for a day"
        schema = {"type": "string", "pattern": "^[!-~]{1,255}$"}
        found.append({"name": "Idempotency-Key", "in": "header", "description": text, "schema": schema})
    return found


def _responses(one: Operation, refs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, wanted in one.answers.items():
        answer: dict[str, Any]
        found[str(status)] = answer = {"description": _PHRASES.get(status, "Well")}
        content = {}
        for kind in _contents(wanted):
            if isinstance(kind, str):
                content[kind] = {"schema": {"type": "string"}}
            else:
                content["application/json"] = {"schema": refs[kind, "serialization"]}
        if content:
            answer["content"] = content
    every = (401, 429, 500, *((403,) if one.admin else ())) if one.key else (500,)
    for status in sorted({*one.errors, *every}):
        problem = {_PROBLEM: {"schema": refs[ProblemView, "serialization"]}}
        found[str(status)] = {"description": _PHRASES[status], "content": problem}
        if status == 429:
            found["429"]["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds"}}
    return found
