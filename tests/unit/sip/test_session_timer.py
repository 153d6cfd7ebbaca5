"""Session timers (RFC 4028) in both roles, on a virtual clock."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.events import Answered, Ended, Failed, Reason
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.session import SessionState
from gateway.protocol.sip.session_timer import parse_min_se, parse_session_expires
from gateway.protocol.sip.uac import ClientSession
from gateway.protocol.sip.uas import ServerSession
from tests.support.sip_lab import ANSWER, OFFER, UDP, Lab, credentials, lab, request_text, response_text, trusted
from tests.unit.sip.outbound import SPEC, dialed, from_pbx

pytestmark = pytest.mark.unit

TIMED = ["Supported: timer, 100rel", "Allow: INVITE, ACK, BYE, UPDATE"]
GONE = Ended(Reason("SIP", 408, "The peer lost the call"))


def called(*headers: str, settings: AgentSettings | None = None) -> tuple[Lab, ServerSession, IncomingResponse]:
    """Give a call that came in and was answered and acknowledged, and our 200."""
    one = lab(settings)
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, headers=headers))
    session = one.new_call()
    session.answer(ANSWER, one.now)
    one.drain()
    ok = one.take()[-1]
    assert isinstance(ok, IncomingResponse)
    assert ok.status == 200
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=ok.to.tag))
    return one, session, ok


def placed(*headers: str) -> tuple[Lab, ClientSession, IncomingRequest]:
    """Give a call of ours that was answered with *headers*, and its INVITE."""
    one, session, invite = dialed()
    one.feed(response_text(invite, 200, body=ANSWER, headers=headers))
    assert one.events() == [Answered(ANSWER)]
    one.take()
    return one, session, invite


def sent(one: Lab) -> IncomingRequest:
    """Take what was sent and return its first request."""
    return next(message for message in one.take() if isinstance(message, IncomingRequest))


def waited(one: Lab, most: float = 1000) -> float:
    """Let time pass until something is sent; return how long that took."""
    start = one.now
    while not one.sent and one.now < start + most:
        one.run(0.25)
    return one.now - start


@pytest.mark.parametrize(
    ("asked", "expires", "require"),
    [
        ([*TIMED, "Session-Expires: 1800"], "600;refresher=uas", "timer"),
        ([*TIMED, "Session-Expires: 1800;refresher=uac"], "600;refresher=uac", "timer"),
        ([*TIMED, "Session-Expires: 1800;refresher=UAS", "Min-SE: 900"], "900;refresher=uas", "timer"),
        ([*TIMED, "Session-Expires: 120;refresher=nobody"], "120;refresher=uas", "timer"),
        (TIMED, "600;refresher=uas", "timer"),
        (["Session-Expires: 200;refresher=uac"], "200;refresher=uas", None),  # a proxy asked, the phone cannot
        (["x: 30"], "90;refresher=uas", None),
        ([], None, None),
        ([*TIMED, "Session-Expires: soon"], "600;refresher=uas", "timer"),
        (['Supported: "timer'], None, None),
    ],
)
def test_what_a_caller_is_answered(asked: list[str], expires: str | None, require: str | None) -> None:
    _, _, ok = called(*asked)
    assert (ok.header("Session-Expires"), ok.header("Require")) == (expires, require)
    assert ok.header("Supported") == "100rel, norefersub, replaces, timer"


def test_too_short_an_interval_is_refused() -> None:
    one = lab(AgentSettings(limits=CoreLimits(min_se_s=120)))
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, headers=[*TIMED, "Session-Expires: 100"]))
    refused = one.response()
    assert (refused.status, refused.header("Min-SE")) == (422, "120")
    assert one.no_call()
    one, _, ok = called(*TIMED, "Session-Expires: 100")
    one.feed(
        request_text("UPDATE", branch="z9hG4bKu", cseq=2, to_tag=ok.to.tag, headers=[*TIMED, "Session-Expires: 60"])
    )
    refused = one.response()
    assert (refused.status, refused.header("Min-SE")) == (422, "90")


def test_no_timers_wanted() -> None:
    quiet = AgentSettings(limits=CoreLimits(session_expires_s=0))
    one, _, ok = called(*TIMED, settings=quiet)
    assert ok.header("Session-Expires") is None
    one.run(4000)
    assert one.take() == []
    _, _, ok = called(*TIMED, "Session-Expires: 1800", settings=quiet)
    assert ok.header("Session-Expires") == "1800;refresher=uas"
    one = lab(quiet)
    one.agent.invite(SPEC, UDP, credentials(), one.now)
    one.drain()
    assert one.request().header("Session-Expires") is None


def test_we_refresh_by_update() -> None:
    one, session, _ = called(*TIMED, "Session-Expires: 200")
    assert waited(one) == 100
    update = one.request()
    assert (update.method, update.sdp, update.header("Session-Expires")) == ("UPDATE", None, "200;refresher=uac")
    one.feed(response_text(update, 200, headers=["Session-Expires: 200;refresher=uac"]))
    assert waited(one) == 100
    again = one.request()
    assert again.cseq == update.cseq + 1
    one.feed(response_text(again, 200, headers=["Session-Expires: 300;refresher=uas"]))
    one.run(260)  # now it is the peer's
    assert one.take() == []
    assert session.state is SessionState.CONFIRMED
    assert 7 < waited(one) < 9
    assert one.request().method == "BYE"


def test_we_refresh_by_the_same_offer_where_the_peer_takes_no_update() -> None:
    one, session, _ = called("Supported: timer", "Session-Expires: 200", "Allow: INVITE, ACK, BYE")
    assert waited(one) == 100
    invite = one.request()
    assert (invite.method, invite.sdp, invite.header("Session-Expires")) == ("INVITE", ANSWER, "200;refresher=uac")
    one.feed(response_text(invite, 200, body=OFFER, headers=["Session-Expires: 200;refresher=uac"]))
    assert one.request().method == "ACK"
    assert one.reinvited() == []
    assert one.events() == []
    assert waited(one) == 100
    one.feed(response_text(one.request(), 488))
    assert one.statuses() == ["ACK"]
    assert one.reinvited() == []
    assert 30 < waited(one) < 40
    assert one.request().method == "INVITE"
    session.bye(None, one.now)  # its end drops the open refresh
    one.drain()
    assert one.request().method == "BYE"


def test_a_refresh_waits_for_an_open_offer() -> None:
    one, session, _ = called("Supported: timer", "Session-Expires: 200", "Allow: INVITE, ACK, BYE")
    one.run(99)
    session.reinvite(OFFER, one.now)
    one.drain()
    mine = one.request()
    one.feed(response_text(mine, 100))
    one.run(10)
    assert one.take() == []
    one.feed(response_text(mine, 200, body=ANSWER, headers=["Session-Expires: 200;refresher=uac"]))
    assert one.reinvited() == [(200, ANSWER)]
    assert one.statuses() == ["ACK"]
    assert waited(one) == 100
    assert one.request().sdp == OFFER  # what was agreed on last


@pytest.mark.parametrize("answer", [None, 408, 481])
def test_a_dead_peer_is_noticed_by_the_refresh(answer: int | None) -> None:
    one, session, _ = called(*TIMED, "Session-Expires: 200")
    one.run(100)
    update = one.request()
    if answer:
        one.feed(response_text(update, answer))
    else:
        one.run(33)  # a few retransmissions, then 64*T1 are over
    byes = [message for message in one.take() if isinstance(message, IncomingRequest) and message.method == "BYE"]
    assert byes[0].header("Reason") == f"SIP;cause={answer or 408}"
    assert session.state is SessionState.ENDING
    one.feed(response_text(byes[0], 200))
    assert one.events() == [Ended(Reason("SIP", answer or 408, "The peer lost the call"))]


def test_a_refused_refresh_is_tried_again_until_the_session_expires() -> None:
    one, _, _ = called(*TIMED, "Session-Expires: 200")
    one.run(100)
    tries = 0
    while (message := sent(one)).method == "UPDATE":
        tries += 1
        one.feed(response_text(message, 500))
        one.take()
        while not one.sent:
            one.run(0.5)
    assert tries > 3
    assert message.method == "BYE"
    assert 165 < one.now - 100 < 170
    one.feed(response_text(message, 200))
    assert one.events() == [GONE]


@pytest.mark.parametrize("status", [405, 501])
def test_a_peer_that_does_not_keep_its_word_about_update(status: int) -> None:
    one, _, _ = called(*TIMED, "Session-Expires: 200")
    one.run(100)
    one.feed(response_text(one.request(), status))
    one.run(40)
    assert one.take()[0].method == "INVITE"


def test_a_refresh_learns_a_longer_interval() -> None:
    one, _, _ = called(*TIMED, "Session-Expires: 200")
    one.run(100)
    one.feed(response_text(one.request(), 422, headers=["Min-SE: 500"]))
    update = one.request()
    assert (update.header("Session-Expires"), update.header("Min-SE")) == ("500;refresher=uac", "500")
    one.feed(response_text(update, 422, headers=["Min-SE: 400"]))  # nothing new
    assert one.take() == []


def test_a_reinvite_learns_a_longer_interval() -> None:
    one, session, _ = placed("Session-Expires: 600;refresher=uas")
    session.reinvite(OFFER, one.now)
    one.drain()
    one.feed(response_text(one.request(), 422, headers=["Min-SE: 700"]))
    ack, again = one.take()
    assert isinstance(again, IncomingRequest)
    assert (ack.method, again.method, again.header("Session-Expires")) == ("ACK", "INVITE", "700;refresher=uas")
    one.feed(response_text(again, 200, body=ANSWER))
    assert one.reinvited() == [(200, ANSWER)]


def test_the_peer_refreshes() -> None:
    one, session, ok = called(*TIMED, "Session-Expires: 300;refresher=uac")
    for number in range(2, 5):
        one.run(150)
        one.feed(
            request_text(
                "UPDATE", branch=f"z9hG4bK{number}", cseq=number, to_tag=ok.to.tag,
                headers=[*TIMED, "Session-Expires: 300"],
            )
        )  # fmt: skip
        refreshed = one.response()
        assert (refreshed.status, refreshed.header("Session-Expires")) == (200, "300;refresher=uac")
    assert 267 < waited(one) < 269
    assert session.state is SessionState.ENDING
    assert one.request().method == "BYE"


def test_the_peer_refreshes_by_reinvite() -> None:
    one, session, ok = called(*TIMED, "Session-Expires: 300;refresher=uac")
    one.run(150)
    headers = [*TIMED, "Session-Expires: 300;refresher=uac"]
    one.feed(request_text(branch="z9hG4bK2", cseq=2, to_tag=ok.to.tag, body=OFFER, headers=headers))
    event = one.events()[0]
    session.answer_reinvite(event.request_id, ANSWER, one.now)  # type: ignore[union-attr]
    one.drain()
    refreshed = one.take()[-1]
    assert refreshed.header("Session-Expires") == "300;refresher=uac"
    one.feed(request_text("ACK", branch="z9hG4bK3", cseq=2, to_tag=ok.to.tag))
    one.run(200)
    assert session.state is SessionState.CONFIRMED


def test_our_invite_asks_and_follows_422() -> None:
    one, _, invite = dialed()
    assert (invite.header("Session-Expires"), invite.header("Min-SE")) == ("600", None)
    assert invite.header("Supported") == "100rel, norefersub, replaces, timer"
    one.feed(response_text(invite, 422, headers=["Min-SE: 900"]))
    ack, second = one.take()
    assert ack.method == "ACK"
    assert isinstance(second, IncomingRequest)
    assert (second.cseq, second.call_id) == (2, invite.call_id)
    assert (second.header("Session-Expires"), second.header("Min-SE")) == ("900", "900")
    one.feed(response_text(second, 422, headers=["Min-SE: 900"]))  # asks for what it was given
    assert one.events() == [Failed(422, "Whatever")]


def test_422_without_end() -> None:
    one, _, invite = dialed()
    for least in range(1000, 1010):
        one.feed(response_text(invite, 422, headers=[f"Min-SE: {least}"]))
        invites = [one for one in one.take() if isinstance(one, IncomingRequest) and one.method == "INVITE"]
        if not invites:
            break
        invite = invites[0]
    assert least == 1005
    assert one.events() == [Failed(422, "Whatever")]


def test_the_phone_that_we_called_refreshes() -> None:
    one, session, _ = placed("Session-Expires: 400;refresher=uas", "Require: timer")
    one.run(366)
    assert one.take() == []
    one.feed(from_pbx(session, "UPDATE", 11))
    assert one.response().status == 200
    assert session.state is SessionState.CONFIRMED
    assert waited(one) == 300  # that one came without a timer: the phone is asked from now on
    assert one.request().method == "OPTIONS"


def test_a_phone_without_timers_is_asked() -> None:
    one, session, _ = placed()
    assert waited(one) == 300
    options = one.request()
    assert (options.method, options.to.tag) == ("OPTIONS", "pbx1")
    one.feed(response_text(options, 501))
    assert waited(one) == 300
    options = one.request()
    one.feed(response_text(options, 481))
    assert one.request().method == "BYE"
    assert session.state is SessionState.ENDING


def test_a_question_that_is_overtaken() -> None:
    one, session, _ = placed()
    assert waited(one) == 300
    options = one.request()
    session.bye(None, one.now)
    one.drain()
    bye = one.request()
    one.feed(response_text(options, 481))
    one.feed(response_text(bye, 200))
    assert one.take() == []
    one, session, _ = placed()
    assert waited(one) == 300
    options = one.request()
    session.reinvite(OFFER, one.now)
    one.drain()
    one.feed(response_text(one.request(), 200, body=ANSWER, headers=["Session-Expires: 200;refresher=uas"]))
    one.take()
    one.feed(response_text(options, 200))  # does not put off the timer that was agreed on meanwhile
    assert 167 < waited(one) < 169
    assert one.request().method == "BYE"


def test_a_refresh_that_is_overtaken_by_the_end() -> None:
    one, session, _ = placed("Session-Expires: 200;refresher=uac", "Allow: UPDATE")
    assert waited(one) == 100
    update = one.request()
    session.bye(None, one.now)
    one.drain()
    one.request()
    one.feed(response_text(update, 481))
    assert one.take() == []


def test_a_refresh_dies_with_the_call() -> None:
    one, session, _ = placed("Session-Expires: 200;refresher=uac")
    assert waited(one) == 100
    assert one.request().method == "INVITE"
    one.feed(from_pbx(session, "BYE", 11))
    assert one.response().status == 200
    assert one.reinvited() == []
    one.run(300)
    assert one.closed() == 1


def test_a_refused_refresh_after_the_peer_switched_the_timer_off() -> None:
    one, session, _ = placed("Session-Expires: 200;refresher=uac", "Allow: UPDATE")
    assert waited(one) == 100
    update = one.request()
    one.feed(from_pbx(session, "UPDATE", 11))
    assert one.response().header("Session-Expires") is None
    one.feed(response_text(update, 500))
    assert waited(one) == 300
    assert one.request().method == "OPTIONS"


@pytest.mark.parametrize("value", [None, "", "abc", "-1", '90;refresher="'])
def test_values_that_make_no_sense(value: str | None) -> None:
    assert parse_session_expires(value) is None


def test_min_se() -> None:
    assert (parse_min_se(None), parse_min_se("x"), parse_min_se("10"), parse_min_se("120;a=b")) == (90, 90, 90, 120)


@pytest.mark.parametrize(("headers", "method"), [(TIMED, "UPDATE"), ([], "OPTIONS")])
@pytest.mark.parametrize("status", [200, 500, 481, 408, None])
def test_a_silent_phone_is_asked_once_at_a_time(headers: list[str], method: str, status: int | None) -> None:
    one, session, _ = called(*headers)
    one.take()
    session.check_alive(one.now)
    session.check_alive(one.now)
    one.drain()
    question = one.request()
    assert question.method == method
    if status is not None:
        one.feed(response_text(question, status))
    else:
        one.run(33)
    alive = status in {200, 500}
    assert (session.state is SessionState.CONFIRMED) is alive
    if alive:
        assert one.take() == []
        session.check_alive(one.now)
        one.drain()
        assert one.request().method == method
    else:
        bye = sent(one) if status is not None else one.take()[-1]
        assert isinstance(bye, IncomingRequest)
        assert bye.header("Reason") == f"SIP;cause={status or 408}"
        session.check_alive(one.now)
        one.drain()
        assert one.take() == []
