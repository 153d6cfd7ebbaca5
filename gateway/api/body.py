"""Request bodies: bounded in size and time, strict JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request

from gateway.api.problems import bad_body


async def read_json_object(
    request: Request, *, limit_bytes: int, timeout_s: float, optional: bool = False
) -> dict[str, Any]:
    """Return the JSON object in the body; the content type is not asked about.

    Args:
        request: a request whose body was not read yet.
        limit_bytes: larger bodies are refused, whether they announce their length or not.
        timeout_s: seconds for the whole body to arrive.
        optional: no body at all stands for an empty object.

    Raises:
        Problem: a 400 that says what is wrong.
    """
    try:
        async with asyncio.timeout(timeout_s):
            body = await _read(request, limit_bytes)
    except TimeoutError:
        raise bad_body(f"The body did not arrive within {timeout_s:g} s") from None
    if body is None:
        raise bad_body(f"The body is larger than {limit_bytes // 1024} KiB")
    if not body and optional:
        return {}
    if not body.strip():
        raise bad_body("The body is empty; send a JSON object")
    try:
        value = json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise bad_body(f"The body is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except UnicodeDecodeError:
        raise bad_body("The body is not valid UTF-8") from None
    except _NotStrict as error:
        raise bad_body(f"The body is not valid JSON: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; thousands of nested lists
        raise bad_body("The body is not JSON of a sensible size") from None
    if not isinstance(value, dict):
        raise bad_body("The body must be a JSON object")
    return value


class _NotStrict(ValueError):
    pass


async def _read(request: Request, limit_bytes: int) -> bytes | None:
    """Return the body, None where it is too large.

    A body that is somewhat too large is still read to its end, because a client that is writing when the connection
    closes sees a reset instead of the answer.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit_bytes:
            chunks.append(chunk)
        elif size > 16 * limit_bytes:
            break
    return b"".join(chunks) if size <= limit_bytes else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two values for one name, Python would silently keep the last: what the sender meant is not known.
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        double = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _NotStrict(f"the name {double[:64]!a} stands in it twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise _NotStrict(f"{name} is not a JSON number")
