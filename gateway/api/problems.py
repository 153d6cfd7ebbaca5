"""Errors as problem+json (RFC 9457), each with a stable ``code`` and the faults by field."""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.domain.bridge_config import FieldFault, InvalidBridgeConfig
from gateway.domain.errors import ConfigError, PonteError

WHOLE_BODY: Final = "body"
"""Stands for the field where the fault is the whole body's."""

_CODES: Final = {404: "not_found", 405: "method_not_allowed", 500: "internal"}
_DETAILS: Final = {
    404: "There is nothing at this path",
    405: "This path does not take this method; the Allow header names those it takes",
    500: "Something went wrong in the gateway; its log has the request id of this answer",
}


class Problem(PonteError):
    """A request that is answered with an error of the API itself.

    Args:
        status: HTTP status.
        code: stable slug.
        detail: one sentence for people, no secrets.
        faults: by field, where the body is to blame.
        headers: added to the answer.
        call_id: the call that the request is about.
        state: where that call, or the part that is to blame, is.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        faults: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
        call_id: str | None = None,
        state: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.problem_code = code
        self.faults = tuple(faults)
        self.headers = headers
        self.members = {name: value for name, value in (("call_id", call_id), ("state", state)) if value is not None}


def bad_body(detail: str) -> Problem:
    """Return the 400 for a body that is not a JSON object at all."""
    return Problem(400, "body_invalid", detail, faults=[FieldFault(WHOLE_BODY, detail)])


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    faults: Sequence[FieldFault] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer for a problem; *members* are its extension members (RFC 9457 section 3.2)."""
    content = {
        "type": f"urn:ponte:problem:{code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "errors": [{"field": fault.field, "message": fault.message} for fault in faults],
        **(members or {}),
    }
    return JSONResponse(content, status, headers, media_type="application/problem+json")


async def on_ponte_error(request: Request, error: Exception) -> Response:
    """Starlette exception handler for the gateway's own errors."""
    if isinstance(error, Problem):
        return problem_response(
            error.status,
            error.problem_code,
            str(error),
            faults=error.faults,
            headers=error.headers,
            members=error.members,
        )
    assert isinstance(error, PonteError)
    faults: tuple[FieldFault, ...] = ()
    if isinstance(error, InvalidBridgeConfig):
        faults = error.faults
    elif isinstance(error, ConfigError) and error.field is not None:
        faults = (FieldFault(error.field, str(error)),)
    members = {"state": error.refused_in} if error.refused_in is not None else None
    return problem_response(error.http_status, error.code, str(error), faults=faults, members=members)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette exception handler for what the router refuses."""
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "http_error")
    detail = _DETAILS.get(error.status_code, error.detail)
    return problem_response(error.status_code, code, detail, headers=error.headers)


def internal_error() -> Response:
    """Return the 500 that says nothing of the cause."""
    return problem_response(500, _CODES[500], _DETAILS[500])
