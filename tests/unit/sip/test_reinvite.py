"""Offers of ours in a call, on a virtual clock."""

from __future__ import annotations

import pytest

from gateway.domain.errors import LocalProtocolError
from gateway.protocol.sip.events import Ended, Reason, ReInvite, Ringing
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.session import SessionState
from tests.support.sip_lab import ANSWER, OFFER, response_text
from tests.unit.sip.outbound import CHALLENGE, dialed, from_pbx, reinvited, up

pytestmark = pytest.mark.unit


def test_reinvite() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    assert (invite.cseq, invite.to.tag, invite.sdp) == (2, "pbx1", OFFER)
    one.feed(response_text(invite, 200, body=ANSWER, contact="<sip:moved@192.0.2.20:5064>"))
    ack = one.request()
    assert (ack.method, ack.cseq, ack.uri.raw) == ("ACK", 2, "sip:moved@192.0.2.20:5064")
    assert one.reinvited() == [(200, ANSWER)]
    one.feed(response_text(invite, 200, body=ANSWER))
    assert one.request().method == "ACK"
    reinvited(one, session)
    with pytest.raises(LocalProtocolError):
        session.reinvite(OFFER, one.now)


def test_reinvite_challenged_and_refused() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(response_text(invite, 401, headers=[CHALLENGE]))
    ack, again = one.take()
    assert isinstance(again, IncomingRequest)
    assert (ack.method, again.cseq) == ("ACK", 3)
    one.feed(response_text(again, 488))
    assert one.reinvited() == [(488, None)]
    assert session.state is SessionState.CONFIRMED


@pytest.mark.parametrize("status", [408, 481])
def test_reinvite_that_says_the_call_is_gone(status: int) -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(response_text(invite, status))
    assert one.reinvited() == [(status, None)]
    *_, bye = one.take()
    assert isinstance(bye, IncomingRequest)
    one.feed(response_text(bye, 481))
    assert one.events() == [Ended(Reason("SIP", status, "The peer lost the call"))]


def test_reinvite_without_any_answer() -> None:
    one, session, _ = up()
    reinvited(one, session)
    one.run(70)
    assert one.reinvited() == [(408, None)]
    assert [type(event) for event in one.events()] == [Ended]


def test_reinvite_that_is_only_ever_being_tried() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(response_text(invite, 100))
    one.run(63.9)
    assert one.reinvited() == []
    one.run(40)
    assert one.reinvited() == [(408, None)]
    assert [type(event) for event in one.events()] == [Ended]


def test_reinvite_being_tried_when_the_call_ends() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(response_text(invite, 100))
    one.feed(from_pbx(session, "BYE"))
    one.take()
    one.feed(response_text(invite, 487))
    assert one.request().method == "ACK"
    one.run(70)
    assert one.agent.next_timeout() is None
    assert one.reinvited() == [(487, None)]


def test_glare_is_tried_again_then_given_up() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(from_pbx(session, "INVITE", body=OFFER))
    assert one.statuses() == ["491 INVITE"]  # ours is open
    one.feed(from_pbx(session, "ACK"))
    start = one.now
    for _ in range(4):
        one.feed(response_text(invite, 491))
        one.take()
        one.run(2.0)
        assert one.take() == []
        one.run(2.1)
        invite, *_ = (message for message in one.take() if isinstance(message, IncomingRequest))
        assert one.now - start > 2.1
    one.feed(response_text(invite, 491))
    assert one.reinvited() == [(491, None)]
    assert session.state is SessionState.CONFIRMED


def test_the_peers_offer_comes_while_glare_is_waited_out() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(response_text(invite, 491))
    one.feed(from_pbx(session, "INVITE", body=OFFER))
    (change,) = one.events()
    assert isinstance(change, ReInvite)
    with pytest.raises(LocalProtocolError):
        session.reinvite(OFFER, one.now)
    one.take()
    one.run(3.3)
    assert one.take() == []  # theirs first
    session.answer_reinvite(change.request_id, ANSWER, one.now)
    one.drain()
    one.feed(from_pbx(session, "ACK"))
    one.take()
    one.run(3.3)
    again = next(message for message in one.take() if isinstance(message, IncomingRequest))
    assert again.sdp == OFFER  # and then ours again
    one.feed(response_text(again, 200, body=ANSWER))
    assert one.reinvited() == [(200, ANSWER)]


def test_bye_while_a_reinvite_is_open() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(from_pbx(session, "BYE"))
    assert one.statuses() == ["200 BYE"]
    assert one.reinvited() == [(487, None)]
    one.feed(response_text(invite, 481))
    assert one.events() == [Ended()]


def test_a_reinvite_that_nobody_answers_after_the_call_ended() -> None:
    one, session, _ = up()
    reinvited(one, session)
    one.feed(from_pbx(session, "BYE"))
    one.run(70)
    assert one.events() == [Ended()]
    assert one.reinvited() == [(487, None)]


def test_a_reinvite_that_fails_while_we_hang_up() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    session.bye(None, one.now)
    one.drain()
    bye = one.request()
    one.feed(response_text(invite, 481))
    assert one.reinvited() == [(481, None)]
    one.take()
    one.feed(from_pbx(session, "BYE"))  # both hang up
    assert one.statuses() == ["200 BYE"]
    one.feed(response_text(bye, 481))
    assert one.events() == [Ended()]
    assert one.closed() == 1


def test_ringing_without_a_tag_and_reinvite_answer_without_contact() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 180, to_tag=""))
    assert one.events() == [Ringing(180)]
    one.feed(response_text(invite, 200, body=ANSWER))
    one.take()
    again = reinvited(one, session)
    one.feed(response_text(again, 200, body=ANSWER, contact=""))
    assert one.request().uri.raw == "sip:1000@192.0.2.20:5060"


def test_bye_while_glare_is_waited_out() -> None:
    one, session, _ = up()
    invite = reinvited(one, session)
    one.feed(response_text(invite, 491))
    one.feed(from_pbx(session, "BYE"))
    one.take()
    one.run(10)
    assert one.take() == []
    assert one.reinvited() == [(487, None)]


def test_update_of_ours() -> None:
    one, session, _ = up(headers=["Allow: INVITE, UPDATE"])
    session.reinvite(OFFER, one.now, method="UPDATE")
    one.drain()
    update = one.request()
    assert (update.method, update.cseq, update.sdp) == ("UPDATE", 2, OFFER)
    with pytest.raises(LocalProtocolError):
        session.reinvite(OFFER, one.now)
    one.feed(from_pbx(session, "UPDATE", 20))  # without an offer it meets none (RFC 3311 section 5.2)
    assert one.response().status == 200
    one.feed(from_pbx(session, "UPDATE", 21, OFFER))
    assert one.response().status == 491
    one.feed(response_text(update, 200, body=ANSWER))
    assert one.take() == []  # there is no ACK to an UPDATE
    assert one.reinvited() == [(200, ANSWER)]


def test_update_that_the_peer_does_not_take() -> None:
    one, session, _ = up(headers=["Allow: INVITE, BYE"])
    with pytest.raises(LocalProtocolError):
        session.reinvite(OFFER, one.now, method="UPDATE")
    one.feed(from_pbx(session, "UPDATE", 20, OFFER).replace("Max-Forwards: 70", "Allow: UPDATE"))
    (change,) = one.events()
    assert isinstance(change, ReInvite)
    session.answer_reinvite(change.request_id, ANSWER, one.now)
    one.drain()
    assert one.response().sdp == ANSWER
    session.reinvite(OFFER, one.now, method="UPDATE")
    one.drain()
    update = one.request()
    one.feed(response_text(update, 491))
    one.run(3.1)
    again = one.request()
    assert (again.method, again.cseq) == ("UPDATE", update.cseq + 1)
    one.feed(response_text(again, 504))
    assert one.reinvited() == [(504, None)]
