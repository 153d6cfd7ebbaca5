"""WhatsApp's numbers become ringing, active and ended, each once, and every end has its reason."""

import pytest

from gateway.domain import termination as t
from gateway.domain.page_call import PageActive, PageCallEvent, PageCallProgress, PageEnded, PageRinging, WaCallState
from gateway.domain.termination import Termination

pytestmark = pytest.mark.unit


def play(progress: PageCallProgress, *states: int) -> list[PageCallEvent]:
    return [event for state in states if (event := progress.on_state(state)) is not None]


def test_an_outgoing_call_rings_and_is_answered_once() -> None:
    progress = PageCallProgress(outgoing=True)
    assert play(progress, 12, 1, 2, 2, 5, 6, 6) == [PageRinging(), PageActive()]
    assert progress.on_gone(None) == PageEnded(t.HANGUP)


def test_calling_alone_is_not_ringing() -> None:
    assert play(PageCallProgress(outgoing=True), WaCallState.CALLING, WaCallState.PRE_CALLING) == []


def test_an_incoming_call_is_active_only_when_both_sides_are() -> None:
    progress = PageCallProgress(outgoing=False)
    assert play(progress, WaCallState.RECEIVED_CALL, WaCallState.ACCEPT_SENT) == []
    assert play(progress, WaCallState.CALL_ACTIVE) == [PageActive()]


def test_states_that_no_version_knows_yet_are_ignored() -> None:
    assert play(PageCallProgress(outgoing=True), 99, -1) == []


@pytest.mark.parametrize(
    ("rang", "end_reason", "expected"),
    [
        (True, 1, t.NO_ANSWER),
        (True, 3, t.BUSY),
        (True, 4, t.UNREACHABLE),
        (True, 5, t.MEDIA_FAILED),
        (True, 2, t.DECLINED),
        (True, None, t.DECLINED),
        (False, None, t.UNREACHABLE),
        (False, 1, t.NO_ANSWER),
        (False, 77, t.UNREACHABLE),
    ],
)
def test_the_end_of_an_unanswered_outgoing_call(rang: bool, end_reason: int | None, expected: Termination) -> None:
    progress = PageCallProgress(outgoing=True)
    play(progress, 1, *([2] if rang else []))
    assert progress.on_gone(end_reason) == PageEnded(expected)


def test_the_end_of_an_unanswered_incoming_call() -> None:
    assert PageCallProgress(outgoing=False).on_gone(None) == PageEnded(t.CANCELLED)
    assert PageCallProgress(outgoing=False).on_gone(None, elsewhere=True) == PageEnded(t.ELSEWHERE)
    assert PageCallProgress(outgoing=False).on_state(WaCallState.CALL_ACTIVE_ELSEWHERE) == PageEnded(t.ELSEWHERE)


def test_an_ending_call_is_over_at_once_where_the_reason_is_known_already() -> None:
    active = PageCallProgress(outgoing=True)
    assert play(active, 2, 6, 13, 13) == [PageRinging(), PageActive(), PageEnded(t.HANGUP)]
    assert play(PageCallProgress(outgoing=False), 3, 13) == [PageEnded(t.CANCELLED)]
    unanswered = PageCallProgress(outgoing=True)
    assert play(unanswered, 2, 13) == [PageRinging()]
    assert unanswered.on_gone(1) == PageEnded(t.NO_ANSWER)


def test_after_the_end_nothing_comes() -> None:
    progress = PageCallProgress(outgoing=True)
    assert progress.on_lost(t.PAGE_LOST) == PageEnded(t.PAGE_LOST)
    assert progress.on_lost(t.PAGE_LOST) is None
    assert progress.on_gone(1) is None
    assert play(progress, 2, 6) == []


W = WaCallState
RINGING, ACTIVE = PageRinging(), PageActive()
CANCELLED, ELSEWHERE = PageEnded(t.CANCELLED), PageEnded(t.ELSEWHERE)

FIRST: dict[WaCallState, tuple[PageCallEvent | None, PageCallEvent | None]] = {
    W.NONE: (None, None),
    W.CALLING: (None, None),
    W.PREACCEPT_RECEIVED: (None, RINGING),
    W.RECEIVED_CALL: (None, None),
    W.ACCEPT_SENT: (None, None),
    W.ACCEPT_RECEIVED: (None, ACTIVE),
    W.CALL_ACTIVE: (ACTIVE, ACTIVE),
    W.CALL_ACTIVE_ELSEWHERE: (ELSEWHERE, PageEnded(t.UNREACHABLE)),
    W.RECEIVED_CALL_WITHOUT_OFFER: (None, None),
    W.REJOINING: (None, None),
    W.LINK: (None, None),
    W.CONNECTED_LONELY: (None, None),
    W.PRE_CALLING: (None, None),
    W.CALL_STATE_ENDING: (CANCELLED, None),
    W.CALL_B_CALL_STARTING: (None, None),
}
"""Every state as the first one of a call: what it gives an incoming call, and an outgoing one."""

IN_CALL = {W.CALL_ACTIVE_ELSEWHERE, W.CALL_STATE_ENDING}
"""What ends an active call by itself; everything else is a moment of it."""


@pytest.mark.parametrize("state", list(WaCallState))
def test_every_state_of_whatsapp_has_its_meaning(state: WaCallState) -> None:
    assert (
        PageCallProgress(outgoing=False).on_state(state),
        PageCallProgress(outgoing=True).on_state(state),
    ) == FIRST[state]


@pytest.mark.parametrize("outgoing", [False, True])
@pytest.mark.parametrize("state", list(WaCallState))
def test_every_state_in_an_active_call_is_the_call_or_its_end(state: WaCallState, outgoing: bool) -> None:
    progress = PageCallProgress(outgoing=outgoing)
    play(progress, W.CALL_ACTIVE)
    expected = PageEnded(t.HANGUP) if state in IN_CALL else None
    assert progress.on_state(state) == expected
