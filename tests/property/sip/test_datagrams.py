"""No datagram of any content stops a real listener."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.sip_lab import OFFER, request_text
from tests.support.sip_thread import ThreadedListener, threaded_listener
from tests.support.torture import VALID
from tests.support.torture_invalid import INVALID
from tests.support.torture_semantic import SEMANTIC

pytestmark = pytest.mark.property

SEEDS = [*VALID.values(), *INVALID.values(), *SEMANTIC.values(), request_text(body=OFFER).encode()]
BINARY = st.binary(max_size=1500)
STUN = st.binary(max_size=40).map(lambda tail: b"\x00\x01\x00\x08\x21\x12\xa4\x42" + tail)


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Draw a message with a piece replaced by any bytes, or joined to another message."""
    data = draw(st.sampled_from(SEEDS))
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, len(data)))
    return data[:start] + draw(st.binary(max_size=60) | st.sampled_from(SEEDS)) + data[end:]


@pytest.fixture(scope="module")
def listener() -> Iterator[ThreadedListener]:
    with threaded_listener() as one:
        yield one


@given(datagrams=st.lists(BINARY | STUN | broken(), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_datagram_stops_the_listener(listener: ThreadedListener, datagrams: list[bytes]) -> None:
    for data in datagrams:
        listener.send(data)
    listener.assert_alive()
