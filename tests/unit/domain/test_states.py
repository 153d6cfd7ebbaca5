"""Every (state, event) pair of the call's machine."""

import itertools

import pytest

from gateway.domain.errors import IllegalTransition
from gateway.domain.states import (
    Answered,
    CallEvent,
    CallState,
    Dialed,
    EarlyMedia,
    PageState,
    RemoteRinging,
    Terminated,
    Terminating,
    next_call_state,
)

pytestmark = pytest.mark.unit

S = CallState
LEGAL = {
    (S.CREATED, Dialed): S.CONNECTING,
    (S.CREATED, Terminating): S.ENDING,
    (S.CONNECTING, RemoteRinging): S.RINGING,
    (S.CONNECTING, EarlyMedia): S.EARLY_MEDIA,
    (S.CONNECTING, Answered): S.ACTIVE,
    (S.CONNECTING, Terminating): S.ENDING,
    (S.RINGING, RemoteRinging): S.RINGING,
    (S.RINGING, EarlyMedia): S.EARLY_MEDIA,
    (S.RINGING, Answered): S.ACTIVE,
    (S.RINGING, Terminating): S.ENDING,
    (S.EARLY_MEDIA, RemoteRinging): S.EARLY_MEDIA,
    (S.EARLY_MEDIA, EarlyMedia): S.EARLY_MEDIA,
    (S.EARLY_MEDIA, Answered): S.ACTIVE,
    (S.EARLY_MEDIA, Terminating): S.ENDING,
    (S.ACTIVE, Terminating): S.ENDING,
    (S.ENDING, Terminated): S.ENDED,
}
EVENTS: list[type[CallEvent]] = [Dialed, RemoteRinging, EarlyMedia, Answered, Terminating, Terminated]


@pytest.mark.parametrize(("state", "event"), list(itertools.product(CallState, EVENTS)))
def test_each_pair_moves_or_raises(state: CallState, event: type[CallEvent]) -> None:
    expected = LEGAL.get((state, event))
    if expected is None:
        with pytest.raises(IllegalTransition, match=event.__name__):
            next_call_state(state, event())
    else:
        assert next_call_state(state, event()) is expected


def test_only_a_ready_page_is_healthy() -> None:
    assert [state for state in PageState if state.healthy] == [PageState.READY]
