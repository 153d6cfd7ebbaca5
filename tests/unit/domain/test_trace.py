"""The time line of a call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.trace import HeadAndTail, Lane, SipLine, TimeLine, Trace, TraceEntry, TraceKind

pytestmark = pytest.mark.unit

MADE = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_bounded_list_keeps_how_it_began_and_how_it_ended() -> None:
    kept: HeadAndTail[int] = HeadAndTail(6)
    for number in range(4):
        kept.add(number)
    assert (list(kept), kept.dropped) == ([0, 1, 2, 3], 0)
    for number in range(4, 10):
        kept.add(number)
    assert (list(kept), kept.dropped) == ([0, 1, 2, 3, 8, 9], 4)


def test_messages_and_notes_stand_in_the_order_of_time_from_the_first_on() -> None:
    line = TimeLine(MADE, 100.0)
    dialog = [SipLine(99.98, False, ("INVITE",), "INVITE", "SDP", times=2)]
    line.follow(dialog)
    line.add(100.25, Lane.PONTE, Lane.PONTE, TraceKind.CALL, "CONNECTING")
    line.add(100.1, Lane.PONTE, Lane.PAGE, TraceKind.PAGE, "dial")
    dialog.append(SipLine(100.2, True, ("180",), "180 Ringing", times=3))  # as it grows, the time line does
    line.follow([SipLine(101.0, True, ("INVITE",), "INVITE")])
    assert line.view() == Trace(
        MADE - timedelta(milliseconds=20),
        (
            TraceEntry(0, Lane.PBX, Lane.PONTE, TraceKind.SIP, "INVITE", "SDP, 2 times", "1"),
            TraceEntry(120, Lane.PONTE, Lane.PAGE, TraceKind.PAGE, "dial"),
            TraceEntry(220, Lane.PONTE, Lane.PBX, TraceKind.SIP, "180 Ringing", "3 times", "1"),
            TraceEntry(270, Lane.PONTE, Lane.PONTE, TraceKind.CALL, "CONNECTING"),
            TraceEntry(1020, Lane.PONTE, Lane.PBX, TraceKind.SIP, "INVITE", "", "2"),
        ),
    )


def test_a_call_of_which_nothing_is_known_began_when_it_was_made() -> None:
    assert TimeLine(MADE, 5.0).view() == Trace(MADE)


@pytest.mark.parametrize("by_sip", [False, True])
def test_too_many_entries_leave_the_first_and_the_last(by_sip: bool) -> None:
    line = TimeLine(MADE, 0.0, most=30)
    if by_sip:
        line.follow([SipLine(0.001 * n, True, (str(n),), str(n)) for n in range(100)])
    else:
        for n in range(100):
            line.add(0.001 * n, Lane.PBX, Lane.PBX, TraceKind.CALL, str(n))
    view = line.view()
    assert view.truncated
    assert [int(entry.text) for entry in view.entries] == [*range(20), *range(90, 100)]
