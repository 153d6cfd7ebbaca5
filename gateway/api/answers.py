"""Answers made of pydantic models."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import Response


def json_answer(model: BaseModel, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return *model* as JSON that nobody may keep: most of it is personal data."""
    return Response(
        model.model_dump_json(by_alias=True),
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
