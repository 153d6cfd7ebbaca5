"""Inbound calls on a virtual clock."""

from __future__ import annotations

import pytest

from gateway.domain.errors import LocalProtocolError
from gateway.protocol.sip.events import Cancelled, Ended, Info, Reason, ReInvite
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.session import SessionState
from gateway.protocol.sip.uas import ServerSession
from tests.support.sip_lab import ANSWER, OFFER, PBX, TCP, Lab, describe, lab, request_text, trusted

pytestmark = pytest.mark.unit


def called(**request: object) -> tuple[Lab, ServerSession]:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, **request))  # type: ignore[arg-type]
    assert one.statuses() == ["100 INVITE"]
    return one, one.new_call()


def tag_of(one: Lab, session: ServerSession) -> str:
    return session.dialog.local_tag


def up(**request: object) -> tuple[Lab, ServerSession]:
    one, session = called(**request)
    session.answer(ANSWER, one.now)
    one.drain()
    one.take()
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=tag_of(one, session)))
    assert one.acked() == [None]
    assert one.take() == []
    return one, session


def test_ringing_answer_ack_bye() -> None:
    one, session = called(headers=["Record-Route: <sip:p1.test;lr>, <sip:p2.test;lr>"])
    session.ringing(one.now)
    one.drain()
    ringing = one.response()
    assert ringing.status == 180
    assert ringing.to.tag == tag_of(one, session)
    assert ringing.headers.getlist("Record-Route") == ["<sip:p1.test;lr>, <sip:p2.test;lr>"]
    assert ringing.header("Contact") == "<sip:gw@192.0.2.10:5080>"
    session.answer(ANSWER, one.now)
    one.drain()
    ok = one.response()
    assert (ok.status, ok.sdp, ok.to.tag) == (200, ANSWER, ringing.to.tag)
    assert ok.header("Allow") is not None
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=ok.to.tag, body=OFFER))
    assert one.acked() == [OFFER]
    one.run(100)
    assert one.take() == []  # acknowledged: nothing is repeated
    session.bye(Reason("Q.850", 16, "Normal"), one.now)
    one.drain()
    bye = one.request()
    assert bye.method == "BYE"
    assert bye.header("Reason") == 'Q.850;cause=16;text="Normal"'
    assert bye.uri.raw == "sip:pbx@192.0.2.20:5060"
    assert bye.headers.getlist("Route") == ["<sip:p1.test;lr>", "<sip:p2.test;lr>"]
    assert bye.to.tag == "ft1"
    assert session.state is SessionState.ENDING
    session.bye(None, one.now)  # once is enough
    one.feed(answer(bye, 200))
    assert one.events() == [Ended()]
    assert one.closed() == 1


def answer(request: IncomingRequest, status: int, **more: object) -> str:
    from tests.support.sip_lab import response_text

    return response_text(request, status, **more)  # type: ignore[arg-type]


def test_2xx_is_repeated_until_ack_then_bye() -> None:
    one, session = called()
    start = one.now
    session.answer(ANSWER, one.now)
    one.drain()
    one.times.clear()
    one.run(31.9)
    assert [at - start for at in one.times[:5]] == [0.5, 1.5, 3.5, 7.5, 11.5]  # T1 doubling up to T2
    assert {describe(message) for message in one.take()} == {"200 INVITE"}
    one.run(0.2)
    bye = one.request()
    assert bye.method == "BYE"
    one.run(40)
    assert one.events() == [Ended(Reason("SIP", 408, "No ACK"))]
    assert one.closed() == 1


def test_bye_waits_for_ack() -> None:
    one, session = called()
    session.answer(ANSWER, one.now)
    one.drain()
    one.take()
    session.bye(None, one.now)
    one.drain()
    assert one.take() == []
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=tag_of(one, session)))
    assert one.request().method == "BYE"


def test_ack_with_the_branch_of_the_invite_is_taken() -> None:
    one, session = called()
    session.answer(ANSWER, one.now)
    one.drain()
    one.feed(request_text("ACK", to_tag=tag_of(one, session)))
    assert one.acked() == [None]


def test_ack_of_another_cseq_is_ignored() -> None:
    one, session = called()
    session.answer(ANSWER, one.now)
    one.drain()
    one.feed(request_text("ACK", branch="z9hG4bKx", cseq=9, to_tag=tag_of(one, session)))
    assert one.acked() == []


def test_reject_is_repeated_until_ack() -> None:
    one, session = called()
    session.reject(486, Reason("Q.850", 17, "Busy"), 30, one.now)
    one.drain()
    busy = one.response()
    assert (busy.status, busy.header("Retry-After")) == (486, "30")
    assert busy.header("Reason") == 'Q.850;cause=17;text="Busy"'
    one.run(2)
    assert one.statuses() == ["486 INVITE", "486 INVITE"]
    one.feed(request_text())  # the INVITE again
    assert one.statuses() == ["486 INVITE"]
    one.feed(request_text("ACK", to_tag=busy.to.tag))
    one.feed(request_text("ACK", to_tag=busy.to.tag))
    one.run(60)
    assert one.take() == []
    assert one.agent.next_timeout() is None
    assert one.closed() == 1
    transaction = session._transaction
    transaction.respond(transaction.make(200), one.now)  # one final answer is all
    one.drain()
    assert one.take() == []
    with pytest.raises(LocalProtocolError):
        session.reject(500, None, None, one.now)
    with pytest.raises(LocalProtocolError):
        session.answer(ANSWER, one.now)
    with pytest.raises(LocalProtocolError):
        session.ringing(one.now)


def test_reject_without_ack_ends_after_timer_h() -> None:
    one, session = called()
    session.reject(480, None, None, one.now)
    one.run(31.9)
    assert len(one.take()) == 11
    one.run(60)
    assert one.take() == []


def test_no_timer_g_over_tcp() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER), TCP)
    one.take()
    one.new_call().reject(486, None, None, one.now)
    one.drain()
    assert one.response().status == 486
    one.run(10)
    assert one.take() == []
    one.feed(request_text("ACK", to_tag="x"), TCP)
    assert one.agent.next_timeout() is None  # timer I is 0 over TCP


def test_cancel() -> None:
    one, session = called()
    session.ringing(one.now)
    one.drain()
    one.take()
    one.feed(request_text("CANCEL", headers=['Reason: SIP;cause=200;text="Call completed elsewhere"']))
    assert one.statuses() == ["200 CANCEL", "487 INVITE"]
    assert one.events() == [Cancelled(Reason("SIP", 200, "Call completed elsewhere"))]
    one.feed(request_text("CANCEL"))  # its answer was lost
    assert one.statuses() == ["200 CANCEL"]
    assert one.events() == []
    assert session.state is SessionState.TERMINATED


def test_cancel_after_the_answer_changes_nothing() -> None:
    one, session = called()
    session.answer(ANSWER, one.now)
    one.drain()
    one.take()
    one.feed(request_text("CANCEL"))
    assert one.statuses() == ["200 CANCEL"]
    assert session.state is SessionState.CONFIRMED


def test_bye_in_an_early_dialog_gives_the_call_up() -> None:
    one, session = called()
    one.feed(request_text("BYE", branch="z9hG4bKb", cseq=2, to_tag=tag_of(one, session)))
    assert one.statuses() == ["200 BYE", "487 INVITE"]
    assert one.events() == [Cancelled()]


def test_ringing_is_refreshed_every_minute() -> None:
    one, session = called()
    one.run(61)
    assert one.take() == []  # nothing but 100 was sent yet
    session.ringing(one.now)
    one.drain()
    one.take()
    one.run(130)
    assert one.statuses() == ["180 INVITE", "180 INVITE"]


def test_bye_from_the_peer() -> None:
    one, session = up()
    one.feed(
        request_text("BYE", branch="z9hG4bKb", cseq=2, to_tag=tag_of(one, session), headers=["Reason: Q.850;cause=16"])
    )
    assert one.statuses() == ["200 BYE"]
    assert one.events() == [Ended(Reason("Q.850", 16))]
    one.feed(request_text("BYE", branch="z9hG4bKb", cseq=2, to_tag=tag_of(one, session)))
    assert one.statuses() == ["200 BYE"]  # repeated by the transaction
    one.feed(request_text("BYE", branch="z9hG4bKb2", cseq=3, to_tag=tag_of(one, session)))
    assert one.statuses() == ["481 BYE"]


def test_old_cseq_is_refused() -> None:
    one, session = up()
    one.feed(request_text("INFO", branch="z9hG4bKi", cseq=1, to_tag=tag_of(one, session)))
    assert one.statuses() == ["500 INFO"]


def test_info_options_and_methods_that_are_not_for_us() -> None:
    one, session = up()
    tag = tag_of(one, session)
    one.feed(
        request_text(
            "INFO", branch="z9hG4bK2", cseq=2, to_tag=tag, body="Signal=5\r\n", kind="Application/DTMF-Relay; x=1"
        )
    )
    assert one.statuses() == ["200 INFO"]
    assert one.events() == [Info("application/dtmf-relay", b"Signal=5\r\n")]
    one.feed(request_text("INFO", branch="z9hG4bK3", cseq=3, to_tag=tag))
    assert one.statuses() == ["200 INFO"]
    assert one.events() == []
    one.feed(request_text("OPTIONS", branch="z9hG4bK4", cseq=4, to_tag=tag))
    assert one.response().header("Accept") == "application/sdp"
    one.feed(request_text("MESSAGE", branch="z9hG4bK5", cseq=5, to_tag=tag))
    refused = one.response()
    assert (refused.status, "INVITE" in (refused.header("Allow") or "")) == (405, True)
    one.feed(request_text("INFO", branch="z9hG4bK6", cseq=6, to_tag=tag, headers=["Require: 100rel, x, y"]))
    refused = one.response()
    assert (refused.status, refused.header("Unsupported")) == (420, "x, y")


def reinvite(
    one: Lab, session: ServerSession, cseq: int, method: str = "INVITE", body: str = OFFER, **more: object
) -> None:
    one.feed(
        request_text(
            method,
            branch=f"z9hG4bKr{cseq}",
            cseq=cseq,
            to_tag=tag_of(one, session),
            body=body,
            **more,  # type: ignore[arg-type]
        )
    )


def test_reinvite_is_answered_and_moves_the_target() -> None:
    one, session = up()
    reinvite(one, session, 2, contact="<sip:other@192.0.2.20:5062>")
    assert one.statuses() == ["100 INVITE"]
    (change,) = one.events()
    assert isinstance(change, ReInvite)
    assert change.sdp == OFFER
    session.answer_reinvite(change.request_id, ANSWER, one.now)
    one.drain()
    ok = one.response()
    assert (ok.status, ok.sdp) == (200, ANSWER)
    reinvite(one, session, 3)  # before the ACK of the first
    refused = one.response()
    assert (refused.status, refused.header("Retry-After")) == (500, "5")
    one.feed(request_text("ACK", branch="z9hG4bKra", cseq=2, to_tag=tag_of(one, session)))
    session.bye(None, one.now)
    one.drain()
    flow, bye, _ = one.sent[0]
    assert isinstance(bye, IncomingRequest)
    assert bye.uri.raw == "sip:other@192.0.2.20:5062"
    assert flow.remote == (PBX[0], 5062)


def test_offerless_reinvite_gets_our_offer() -> None:
    one, session = up()
    reinvite(one, session, 2, body="")
    (change,) = one.events()
    assert isinstance(change, ReInvite)
    assert change.sdp is None
    session.answer_reinvite(change.request_id, OFFER, one.now)
    one.drain()
    one.feed(request_text("ACK", branch="z9hG4bKra", cseq=2, to_tag=tag_of(one, session), body=ANSWER))
    assert one.acked() == [None, ANSWER]


def test_reinvite_refused_cancelled_or_not_waiting() -> None:
    one, session = up()
    reinvite(one, session, 2)
    one.take()
    (change,) = one.events()
    assert isinstance(change, ReInvite)
    session.refuse_reinvite(change.request_id, 488, one.now)
    one.drain()
    assert one.response().status == 488
    with pytest.raises(LocalProtocolError):
        session.refuse_reinvite(change.request_id, 488, one.now)
    one.feed(request_text("ACK", branch="z9hG4bKr2", cseq=2, to_tag=tag_of(one, session)))
    reinvite(one, session, 3)
    one.take()
    one.feed(request_text("CANCEL", branch="z9hG4bKr3", cseq=3, to_tag=tag_of(one, session)))
    assert one.statuses() == ["200 CANCEL", "487 INVITE"]
    assert session.state is SessionState.CONFIRMED
    one.feed(request_text("ACK", branch="z9hG4bKr3", cseq=3, to_tag=tag_of(one, session)))
    reinvite(one, session, 4)
    one.take()
    one.feed(request_text("BYE", branch="z9hG4bKb", cseq=5, to_tag=tag_of(one, session)))
    assert one.statuses() == ["200 BYE", "487 INVITE"]


def test_second_reinvite_while_one_waits() -> None:
    one, session = up()
    reinvite(one, session, 2)
    one.take()
    reinvite(one, session, 3)
    assert one.response().status == 500


def test_update() -> None:
    one, session = up()
    reinvite(one, session, 2, "UPDATE", "")
    ok = one.response()
    assert (ok.status, ok.header("Contact")) == (200, "<sip:gw@192.0.2.10:5080>")
    reinvite(one, session, 3, "UPDATE")
    assert one.take() == []
    *_, change = one.events()
    assert isinstance(change, ReInvite)
    session.answer_reinvite(change.request_id, ANSWER, one.now)
    one.drain()
    assert one.response().sdp == ANSWER
    reinvite(one, session, 4, "UPDATE", "hello", kind="text/plain")
    refused = one.response()
    assert (refused.status, refused.header("Accept")) == (415, "application/sdp")


def test_update_in_an_early_dialog() -> None:
    one, session = called()
    reinvite(one, session, 2, "UPDATE", "")
    assert one.response().status == 200
    reinvite(one, session, 3, "UPDATE")
    assert one.response().status == 500


@pytest.mark.parametrize(
    ("headers", "from_", "expected"),
    [
        ([], '"Zo\xeb \\"Z\\"" <sip:+5511@x>', ("+5511", 'Zo\xeb "Z"')),
        (["P-Asserted-Identity: Boss <sip:200@pbx>, <tel:+4930>"], "<sip:1000@x>", ("200", "Boss")),
        (["P-Asserted-Identity: <tel:+4930;x=1>"], '"Anna" <sip:1000@x>', ("+4930", "Anna")),
        (["P-Asserted-Identity: <sip:pbx.test>"], "sip:1000@x", ("1000", "")),
        (['P-Asserted-Identity: "broken'], "<sip:1000@x>", ("1000", "")),
        ([], '"Anonymous" <sip:anonymous@anonymous.invalid>', ("", "")),
        ([], "<http://web.test>", ("", "")),
    ],
)
def test_caller(headers: list[str], from_: str, expected: tuple[str, str]) -> None:
    _, session = called(headers=headers, from_=from_)
    assert session.caller == expected


@pytest.mark.parametrize("contact", ["", "<tel:+49>", "*", "<sip:a@[>", "<sip:a@b:99999>"])
def test_invite_without_usable_contact(contact: str) -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, contact=contact))
    response = one.one()
    assert isinstance(response, IncomingResponse)
    assert response.status == 400
    assert one.no_call()


def test_invite_with_bad_record_route() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, headers=["Record-Route: <tel:1>"]))
    assert one.response().status == 400


def test_dialog_needs_a_dialog() -> None:
    from gateway.protocol.sip.session import Session
    from tests.support.sip_lab import UDP, credentials

    one = lab()
    bare = Session(one.agent._engine, UDP, credentials(), "", 0)
    with pytest.raises(LocalProtocolError):
        _ = bare.dialog
    with pytest.raises(LocalProtocolError):
        bare.reinvite(OFFER, one.now)
    with pytest.raises(LocalProtocolError):
        bare._move(SessionState.EARLY)
    bare.bye(None, one.now)
