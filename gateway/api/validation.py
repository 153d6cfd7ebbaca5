"""Bodies and queries against their pydantic schemas, with every fault at once and by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from gateway.api.problems import WHOLE_BODY, Problem
from gateway.domain.bridge_config import FieldFault

M = TypeVar("M", bound=BaseModel)

_MAX_FAULTS = 20  # an answer stays readable whatever the body
_MAX_NAME = 64


def parse_body(model: type[M], data: Mapping[str, object]) -> M:
    """Return a decoded JSON object as its schema has it.

    Raises:
        Problem: a 400 with the faults by field.
    """
    return _validate(model, data, "request_invalid")


def parse_query(model: type[M], request: Request) -> M:
    """Return the query of a request as its schema has it; a parameter must not come twice.

    Raises:
        Problem: a 400 with the faults by parameter.
    """
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    if len(values) != len(pairs):
        doubles = sorted({name for name, _ in pairs if sum(one == name for one, _ in pairs) > 1})
        raise invalid([FieldFault(_shown(name), "stands in the query twice") for name in doubles[:_MAX_FAULTS]])
    return _validate(model, values, "request_invalid")


def invalid(faults: list[FieldFault]) -> Problem:
    """Return the 400 for faults by field."""
    names = ", ".join(dict.fromkeys(fault.field for fault in faults))
    return Problem(400, "request_invalid", f"Invalid request: see {names}", faults=faults)


def _validate(model: type[M], data: Mapping[str, object], code: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
    raise invalid([FieldFault(_field(one["loc"]), _message(one["type"], one["msg"])) for one in found[:_MAX_FAULTS]])


def _field(path: tuple[int | str, ...]) -> str:
    return _shown(".".join(str(part) for part in path)) or WHOLE_BODY


def _shown(name: str) -> str:
    return ascii(name[:_MAX_NAME])[1:-1]


def _message(kind: str, message: str) -> str:
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a field of this request"
    text = message.removeprefix("Value error, ")
    return text.replace("Input should be", "must be", 1).replace("String should", "must", 1)
