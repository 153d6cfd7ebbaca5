"""Messages of media workers: any bytes are messages or an error, and every value comes out as it went in."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.worker.wire import Deframer, frame, pack, unpack

pytestmark = pytest.mark.property

keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
values = st.recursive(
    keys | st.floats(allow_nan=False),
    lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(st.lists(values, max_size=4), st.integers(1, 40))
def test_what_goes_in_comes_out_however_it_is_cut(messages: list[object], step: int) -> None:
    stream = b"".join(frame(pack(one)) for one in messages)
    deframer = Deframer()
    found = [m for start in range(0, len(stream), step) for m in deframer.feed(stream[start : start + step])]
    assert [unpack(one) for one in found] == messages


@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_any_bytes_are_messages_or_no_message(pieces: list[bytes], framed: bool) -> None:
    deframer = Deframer()
    for piece in pieces:
        data = len(piece).to_bytes(4, "big") + piece if framed else piece
        with contextlib.suppress(ValueError):
            for message in deframer.feed(data):
                unpack(message)
