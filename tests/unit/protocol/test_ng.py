"""ng without a network: when requests are sent, and what answers mean."""

from __future__ import annotations

import pytest

from gateway.domain.errors import PonteError, RemoteProtocolError
from gateway.protocol.ng import (
    Answered,
    CallUnknown,
    Failed,
    MediaServerFull,
    MediaServerRefused,
    MediaServerSilent,
    NgRequests,
    NgTiming,
    Transmit,
)
from gateway.protocol.ng.bencode import MAX_DEPTH, decode, encode
from gateway.protocol.ng.errors import error_of

pytestmark = pytest.mark.unit


def test_a_request_as_it_stands_on_the_wire() -> None:
    core = NgRequests("abc")
    core.request({"command": "offer", "call-id": "k", "flags": ["a", "b"], "delete-delay": 0, "ICE": "force"}, 0.0)
    (sent,) = core.poll()
    wanted = b"abc_1 d3:ICE5:force7:call-id1:k7:command5:offer12:delete-delayi0e5:flagsl1:a1:bee"
    assert sent == Transmit(wanted)


def test_pauses_double_to_a_cap_and_end() -> None:
    core = NgRequests("abc", NgTiming(first_s=0.25, longest_s=1.0, give_up_s=4.0))
    number = core.request({"command": "ping"}, 10.0)
    sent, at = core.poll(), []
    ends = []
    while (due := core.next_timeout()) is not None:
        core.handle_timeout(due)
        at.append(round(due - 10, 2))
        out = core.poll()
        sent += [one for one in out if isinstance(one, Transmit)]
        ends += [one for one in out if isinstance(one, Failed)]
    assert at == [0.25, 0.75, 1.75, 2.75, 3.75, 4.0]
    assert len(sent) == 6
    assert len(set(sent)) == 1  # the cookie is the same: nothing is done twice
    assert [type(end.error) for end in ends] == [MediaServerSilent]
    assert ends[0].request == number


def test_one_that_is_not_waited_for_is_forgotten() -> None:
    core = NgRequests("abc")
    core.forget(core.request({"command": "ping"}, 0.0))
    core.poll()
    core.receive(b"abc_1 d6:result4:ponge")
    assert core.poll() == []
    assert core.next_timeout() is None


def test_an_answer_ends_it_once() -> None:
    core = NgRequests("abc")
    number = core.request({"command": "ping"}, 0.0)
    core.poll()
    core.receive(b"other_1 d6:result4:ponge")
    core.receive(b"abc_1 d6:result4:ponge")
    core.receive(b"abc_1 d6:result4:ponge")
    assert core.poll() == [Answered(number, {"result": "pong"})]


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ({"result": "error", "error-reason": "Unknown call-id"}, CallUnknown, "does not know the call"),
        ({"result": "ok", "warning": "Call-ID not found or tags didn't match"}, CallUnknown, "does not know"),
        ({"result": "error", "error-reason": "Ran out of ports"}, MediaServerFull, "Ran out of ports"),
        ({"result": "error", "error-reason": "Parallel session limit reached"}, MediaServerFull, "session limit"),
        ({"result": "load limit", "message": "Load limit exceeded"}, MediaServerFull, "Load limit"),
        ({"result": "load limit"}, MediaServerFull, "load limit"),
        ({"result": "error", "error-reason": "Unrecognized command"}, MediaServerRefused, "Unrecognized command"),
        ({"result": "error"}, MediaServerRefused, "did not say why"),
        ({"result": "error", "error-reason": "line\r\nline " + "x" * 500}, MediaServerRefused, "line line xx"),
        ({}, RemoteProtocolError, "without a result"),
        ({"result": 5}, RemoteProtocolError, "without a result"),
        ({"result": ["ok"]}, RemoteProtocolError, "without a result"),
        ({"result": {"ok": "ok"}}, RemoteProtocolError, "without a result"),
    ],
)
def test_answers_that_do_not_say_yes(answer: dict[str, object], kind: type[PonteError], says: str) -> None:
    error = error_of(answer)  # type: ignore[arg-type]
    assert type(error) is kind
    assert says in str(error)
    assert len(str(error)) < 300
    assert "\n" not in str(error)


def test_who_may_try_again() -> None:
    assert [one("").sip_status for one in (CallUnknown, MediaServerFull, MediaServerSilent)] == [503, 503, 503]
    assert [one("").retryable for one in (CallUnknown, MediaServerFull, MediaServerSilent)] == [True, True, True]
    assert not MediaServerRefused("").retryable


@pytest.mark.parametrize("answer", [{"result": "ok"}, {"result": "pong"}, {"result": "ok", "warning": "other"}])
def test_answers_that_say_yes(answer: dict[str, str]) -> None:
    assert error_of(answer) is None


@pytest.mark.parametrize("answer", [b"li1ee", b"d", b"5:ab", b"i5", b"", b"d3:abci1ee3:x", b"i--5e", b"ie", b"i 5e"])
def test_a_malformed_answer_is_said(answer: bytes) -> None:
    core = NgRequests("abc")
    core.request({"command": "ping"}, 0.0)
    core.poll()
    core.receive(b"abc_1 " + answer)
    (end,) = core.poll()
    assert isinstance(end, Failed)
    assert isinstance(end.error, RemoteProtocolError)


def test_bytes_that_are_no_text_stay_bytes() -> None:
    assert decode(b"2:\xff\xfe") == b"\xff\xfe"
    assert decode(b"d2:\xff\xfei1ee") == {"\xff\xfe": 1}
    assert encode(b"\xff") == b"1:\xff"


def test_depth_has_an_end() -> None:
    assert decode(b"l" * MAX_DEPTH + b"e" * MAX_DEPTH) is not None
    with pytest.raises(RemoteProtocolError, match="deep"):
        decode(b"l" * (MAX_DEPTH + 2) + b"e" * (MAX_DEPTH + 2))
