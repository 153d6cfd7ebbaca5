"""Reading bodies: whatever comes, an object or a 400."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from gateway.api.body import read_json_object
from gateway.api.problems import Problem

pytestmark = pytest.mark.unit


def request_of(chunks: list[bytes]) -> tuple[Request, list[int]]:
    left = list(chunks)
    taken: list[int] = []

    async def receive() -> Message:
        chunk = left.pop(0) if left else b""
        taken.append(len(chunk))
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive), taken


async def read(chunks: list[bytes], limit_bytes: int = 1024) -> dict[str, Any]:
    request, _ = request_of(chunks)
    return await read_json_object(request, limit_bytes=limit_bytes, timeout_s=5)


async def test_chunks_are_joined() -> None:
    assert await read([b'{"a"', b": [1", b", 2]}"]) == {"a": [1, 2]}


async def test_a_utf8_mark_is_no_fault() -> None:
    assert await read([b'\xef\xbb\xbf{"a": 1}']) == {"a": 1}


async def test_the_limit_is_exact() -> None:
    assert await read([b'{"a": 1}'], limit_bytes=8) == {"a": 1}
    with pytest.raises(Problem, match="larger than"):
        await read([b'{"a": 1} '], limit_bytes=8)


async def test_a_large_body_is_not_kept_and_not_read_for_ever() -> None:
    request, taken = request_of([b"x" * 100] * 1000)
    with pytest.raises(Problem, match="larger than"):
        await read_json_object(request, limit_bytes=1000, timeout_s=5)
    assert 16_000 <= sum(taken) <= 16_200


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_bytes_are_an_object_or_a_400(chunks: list[bytes]) -> None:
    try:
        value = asyncio.run(read(chunks))
    except Problem as problem:
        status, fields = problem.status, [fault.field for fault in problem.faults]
    else:
        assert isinstance(value, dict)
        return
    assert (status, fields) == (400, ["body"])
