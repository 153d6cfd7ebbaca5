"""Reliable provisional responses and PRACK (RFC 3262), on a virtual clock."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.events import Answered, Cancelled, Reason, Ringing
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.uas import ServerSession
from tests.support.sip_lab import ANSWER, OFFER, Lab, lab, request_text, response_text, trusted
from tests.unit.sip.outbound import dialed

pytestmark = pytest.mark.unit


def invited(body: str = OFFER) -> tuple[Lab, ServerSession]:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=body, headers=["Require: 100rel", "Supported: 100rel"]))
    session = one.new_call()
    assert one.response().status == 100
    return one, session


def rang(one: Lab, session: ServerSession, status: int = 180) -> IncomingResponse:
    session.ringing(one.now, status)
    one.drain()
    return one.response()


def prack(ringing: IncomingResponse, *, cseq: int = 2, rack: str | None = None, body: str = "") -> str:
    rack = rack if rack is not None else f"{ringing.header('RSeq')} 1 INVITE"
    return request_text(
        "PRACK", branch=f"z9hG4bKpr{cseq}", cseq=cseq, to_tag=ringing.to.tag, headers=[f"RAck: {rack}"], body=body
    )


def test_a_caller_that_requires_it_gets_reliable_ringing() -> None:
    one, session = invited()
    ringing = rang(one, session)
    assert (ringing.header("Require"), ringing.status) == ("100rel", 180)
    assert 0 < int(ringing.header("RSeq") or 0) < 2**31
    one.run(4)  # at 0.5, 1.5 and 3.5 s
    assert one.statuses() == ["180 INVITE"] * 3
    one.feed(prack(ringing))
    assert one.statuses() == ["200 PRACK"]
    one.run(50)
    assert one.take() == []
    one.run(20)  # the minute's reminder, with a number of its own
    again = one.take()[0]
    assert again.header("RSeq") == str(int(ringing.header("RSeq") or 0) + 1)
    session.answer(ANSWER, one.now)
    one.drain()
    ok = one.response()
    assert (ok.status, ok.header("RSeq"), ok.header("Require")) == (200, None, None)


def test_one_at_a_time() -> None:
    one, session = invited()
    ringing = rang(one, session)
    session.ringing(one.now, 183)
    one.drain()
    assert one.take() == []
    one.feed(prack(ringing))
    progress, ok = one.take()
    assert isinstance(progress, IncomingResponse)
    assert isinstance(ok, IncomingResponse)
    assert (progress.status, ok.status) == (183, 200)
    one.feed(prack(progress, cseq=3))
    assert one.statuses() == ["200 PRACK"]


@pytest.mark.parametrize(
    ("rack", "status"),
    [("1 1 INVITE", 481), ("{0} 2 INVITE", 481), ("{0} 1 BYE", 481), ("", 400), ("1 1", 400), ("x 1 INVITE", 400)],
)
def test_pracks_that_fit_nothing(rack: str, status: int) -> None:
    one, session = invited()
    ringing = rang(one, session)
    one.feed(prack(ringing, rack=rack.format(ringing.header("RSeq"))))
    assert one.response().status == status
    one.feed(prack(ringing, cseq=3))
    assert one.response().status == 200
    one.feed(prack(ringing, cseq=4))
    assert one.response().status == 481


def test_prack_where_nothing_was_reliable() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, headers=["Supported: 100rel"]))
    session = one.new_call()
    one.take()
    ringing = rang(one, session)
    assert (ringing.header("RSeq"), ringing.header("Require")) == (None, None)
    one.feed(prack(ringing, rack="1 1 INVITE"))
    assert one.statuses() == ["481 PRACK"]


def test_an_offer_in_prack_changes_nothing() -> None:
    one, session = invited()
    ringing = rang(one, session)
    one.feed(prack(ringing, body=OFFER))
    assert one.statuses() == ["488 PRACK"]


def test_a_final_answer_ends_the_repeats() -> None:
    one, session = invited()
    ringing = rang(one, session)
    session.answer(ANSWER, one.now)
    one.drain()
    ok = one.response()
    one.feed(request_text("ACK", branch="z9hG4bKa", to_tag=ok.to.tag))
    one.run(40)
    assert one.take() == []
    one.feed(prack(ringing))
    assert one.statuses() == ["200 PRACK"]


def test_a_final_answer_forgets_what_waited() -> None:
    one, session = invited()
    ringing = rang(one, session)
    session.ringing(one.now, 183)
    session.answer(ANSWER, one.now)
    one.drain()
    one.take()
    one.feed(prack(ringing))
    assert one.statuses() == ["200 PRACK"]


def test_nobody_acknowledges() -> None:
    one, session = invited()
    rang(one, session)
    one.run(32.1)
    statuses = one.statuses()
    assert statuses[:6] == ["180 INVITE"] * 6
    assert statuses[6] == "504 INVITE"
    assert one.events() == [Cancelled(Reason("SIP", 504, "No PRACK"))]
    assert one.closed() == 1


def test_without_an_offer_there_is_no_reliable_ringing() -> None:
    one, session = invited(body="")
    session.ringing(one.now)
    one.drain()
    assert one.take() == []
    session.answer(OFFER, one.now)
    one.drain()
    assert one.response().status == 200


RELIABLE = ["Require: 100rel", "RSeq: 77", "Record-Route: <sip:proxy.test;lr>"]


def test_we_acknowledge() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 183, body=ANSWER, headers=RELIABLE))
    assert one.events() == [Ringing(183, ANSWER)]
    first = one.request()
    assert (first.method, first.header("RAck"), first.cseq, first.to.tag) == ("PRACK", "77 1 INVITE", 2, "pbx1")
    assert (first.uri.raw, first.header("Route")) == ("sip:1000@192.0.2.20:5060", "<sip:proxy.test;lr>")
    one.feed(response_text(first, 200))
    one.feed(response_text(invite, 183, body=ANSWER, headers=RELIABLE))  # it comes again
    assert one.take() == []
    one.feed(response_text(invite, 180, headers=["Require: 100rel", "RSeq: 79"]))  # 78 is under way
    assert (one.take(), one.events()) == ([], [])
    one.feed(response_text(invite, 180, headers=["Require: 100rel", "RSeq: 78"]))
    assert one.events() == [Ringing(180)]
    second = one.request()
    assert (second.header("RAck"), second.cseq) == ("78 1 INVITE", 3)
    one.feed(response_text(invite, 200))  # the answer came in the 183
    assert one.events() == [Answered(ANSWER)]
    assert one.request().method == "ACK"
    session.bye(None, one.now)
    one.drain()
    assert one.request().cseq == 4


@pytest.mark.parametrize("headers", [["Require: 100rel"], ["RSeq: 1"], ["Require: 100rel", "RSeq: x"], ['Require: "']])
def test_what_wants_no_prack(headers: list[str]) -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 180, headers=headers))
    assert one.take() == []
    assert one.events() == [Ringing(180)]


def test_100_is_never_reliable() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 100, headers=["Require: 100rel", "RSeq: 1"]))
    assert one.take() == []


def test_a_broken_route_gets_no_prack() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 180, headers=["Require: 100rel", "RSeq: 1", "Record-Route: <tel:1>"]))
    assert (one.take(), one.events()) == ([], [])


def test_each_fork_counts_for_itself() -> None:
    one, _, invite = dialed()
    for number in range(20):
        one.feed(response_text(invite, 180, to_tag=f"fork{number}", headers=["Require: 100rel", "RSeq: 5"]))
    pracks = [message for message in one.take() if isinstance(message, IncomingRequest)]
    assert len(pracks) == 16  # more phones than that are not believed
    assert {one.header("RAck") for one in pracks} == {"5 1 INVITE"}
    one.feed(response_text(invite, 180, to_tag="fork3", headers=["Require: 100rel", "RSeq: 6"]))
    assert one.request().header("RAck") == "6 1 INVITE"


def test_another_try_counts_anew() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 180, headers=["Require: 100rel", "RSeq: 5"]))
    one.feed(response_text(one.request(), 200))
    one.feed(response_text(invite, 422, headers=["Min-SE: 900"]))
    _, again = one.take()
    assert isinstance(again, IncomingRequest)
    one.feed(response_text(again, 180, headers=["Require: 100rel", "RSeq: 2"]))
    assert one.request().header("RAck") == "2 2 INVITE"
