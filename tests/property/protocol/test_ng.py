"""rtpengine's ng: any value there and back, any bytes, and requests over a network that loses, repeats and reorders."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.ng import Answered, Failed, MediaServerSilent, NgRequests, NgTiming, Transmit
from gateway.protocol.ng.bencode import decode, encode

pytestmark = pytest.mark.property

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert decode(encode(value)) == value  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except RemoteProtocolError:
        return
    encode(value)


@given(VALUES, st.data())
def test_a_part_is_refused_and_a_damaged_one_does_no_harm(value: object, data: st.DataObject) -> None:
    whole = encode(value)  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])
    at = data.draw(st.integers(0, len(whole) - 1))
    test_any_bytes_are_read_or_refused.hypothesis.inner_test(  # type: ignore[attr-defined]
        whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    )


@given(st.integers(0, 2**32), st.floats(0, 0.9), st.integers(1, 12))
def test_every_request_ends_once_and_is_carried_out_once(seed: int, loss: float, count: int) -> None:
    """The server does what a cookie asks for the first time that it sees it, and repeats its answer after that."""
    chance = random.Random(seed)
    timing = NgTiming()
    core = NgRequests("me", timing)
    done: dict[bytes, int] = {}
    ended: dict[int, Answered | Failed] = {}
    wire: list[tuple[float, bool, bytes]] = []  # when, whether towards us, what

    def drain(now_s: float) -> None:
        for one in core.poll():
            if isinstance(one, Transmit):
                wire.extend((now_s + chance.random() * 0.5, False, one.data) for _ in range(chance.choice([1, 1, 2])))
            else:
                assert one.request not in ended
                ended[one.request] = one

    now_s = 0.0
    asked = {core.request({"command": "offer", "n": n}, now_s): n for n in range(count)}
    drain(now_s)
    while len(ended) < count:
        due = [when for when, *_ in wire]
        timeout_s = core.next_timeout()
        now_s = min([*due, *([timeout_s] if timeout_s is not None else [])])
        if timeout_s is not None and timeout_s <= now_s:
            core.handle_timeout(now_s)
        for packet in [one for one in wire if one[0] <= now_s]:
            wire.remove(packet)
            if chance.random() < loss:
                continue
            if packet[1]:
                core.receive(packet[2])
                continue
            cookie, _, body = packet[2].partition(b" ")
            command = decode(body)
            assert isinstance(command, dict)
            n = done.setdefault(cookie, command["n"])
            wire.append((now_s + chance.random() * 0.5, True, cookie + b" " + encode({"result": "ok", "n": n})))
        drain(now_s)
    assert now_s <= timing.give_up_s + 1e-6
    assert len(done) <= count
    for number, end in ended.items():
        if isinstance(end, Answered):
            assert end.answer["n"] == asked[number]
        else:
            assert isinstance(end.error, MediaServerSilent)
            assert now_s >= timing.give_up_s - 1e-6


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_any_datagram_is_taken(data: bytes, body: bytes) -> None:
    core = NgRequests("me")
    number = core.request({"command": "ping"}, 0.0)
    core.receive(data)
    core.receive(b"me_1 " + body)
    ends = [one for one in core.poll() if not isinstance(one, Transmit)]
    assert [one.request for one in ends] == [number]
