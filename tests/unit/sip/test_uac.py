"""Outbound calls on a virtual clock."""

from __future__ import annotations

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.events import Answered, Ended, Failed, Info, Reason, Ringing
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.session import SessionState
from gateway.protocol.sip.uac import InviteSpec
from tests.support.sip_lab import (
    ANSWER,
    OFFER,
    TCP,
    UDP,
    credentials,
    lab,
    response_text,
)
from tests.unit.sip.outbound import CHALLENGE, SPEC, dialed, from_pbx, up

pytestmark = pytest.mark.unit


def test_invite_is_complete() -> None:
    _, _, invite = dialed()
    assert invite.uri.raw == "sip:100@pbx.test"
    assert invite.to.raw == "<sip:100@pbx.test>"
    assert (invite.from_.name, invite.from_.uri) == ("Zoë", "sip:5511@pbx.test")
    assert invite.header("Contact") == "<sip:gw@192.0.2.10:5080>"
    assert invite.header("P-Asserted-Identity") == "<sip:5511@pbx.test>"
    assert invite.header("Max-Forwards") == "70"
    assert invite.header("User-Agent") == "Ponte"
    assert invite.sdp == OFFER
    assert "rport" in invite.via.params


def test_ringing_answer_and_hangup() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 100, to_tag=""))
    assert one.events() == []
    one.feed(response_text(invite, 180))
    one.feed(response_text(invite, 183, body=ANSWER))
    assert one.events() == [Ringing(180), Ringing(183, ANSWER)]
    one.run(300)  # the far end may ring for long
    assert one.take() == []
    one.feed(response_text(invite, 200, headers=["Record-Route: <sip:p2.test;lr>, <sip:192.0.2.30;lr>"]))
    assert one.events() == [Answered(ANSWER)]  # the SDP came in the 183
    flow, ack, _ = one.sent[0]
    assert isinstance(ack, IncomingRequest)
    assert (ack.method, ack.cseq, ack.uri.raw) == ("ACK", invite.cseq, "sip:1000@192.0.2.20:5060")
    assert ack.headers.getlist("Route") == ["<sip:192.0.2.30;lr>", "<sip:p2.test;lr>"]
    assert ack.via.branch != invite.via.branch
    assert flow.remote == ("192.0.2.30", 5060)
    one.take()
    session.bye(None, one.now)
    one.drain()
    bye = one.request()
    assert (bye.method, bye.cseq) == ("BYE", 2)
    one.feed(response_text(bye, 200))
    assert one.events() == [Ended()]


def test_strict_router_gets_itself_in_the_request_uri() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 200, body=ANSWER, headers=["Record-Route: <sip:192.0.2.30>"]))
    ack = one.request()
    assert ack.uri.raw == "sip:192.0.2.30"
    assert ack.headers.getlist("Route") == ["<sip:1000@192.0.2.20:5060>"]


def test_answer_is_acknowledged_again() -> None:
    one, _, invite = up()
    one.feed(response_text(invite, 200, body=ANSWER))
    assert one.request().method == "ACK"
    assert one.events() == []


def test_second_phone_that_answers_is_hung_up() -> None:
    one, session, invite = up()
    one.feed(response_text(invite, 200, to_tag="other", body=ANSWER))
    ack, bye = one.take()
    assert isinstance(ack, IncomingRequest)
    assert isinstance(bye, IncomingRequest)
    assert (ack.method, ack.to.tag, bye.method, bye.to.tag) == ("ACK", "other", "BYE", "other")
    one.feed(response_text(bye, 200))
    one.feed(response_text(invite, 200, to_tag="other", body=ANSWER))
    assert one.request().method == "ACK"
    assert session.state is SessionState.CONFIRMED
    for number in range(20):
        one.feed(response_text(invite, 200, to_tag=f"fork{number}", body=ANSWER))
    assert len([message for message in one.take() if message.method == "ACK"]) == 14  # 16 forks in all


def test_answer_without_any_sdp() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 200))
    assert [message.method for message in one.take()] == ["ACK", "BYE"]
    assert one.events() == [Failed(488, "Not Acceptable Here")]


def test_answer_without_contact_goes_to_the_request_uri() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 200, body=ANSWER, contact=""))
    assert one.request().uri.raw == "sip:100@pbx.test"


def test_answer_with_bad_record_route() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 200, body=ANSWER, headers=["Record-Route: <tel:1>"]))
    assert [type(event) for event in one.events()] == [Failed]


@pytest.mark.parametrize(("status", "phrase"), [(404, "Not Found"), (486, "Busy Here"), (603, "")])
def test_failure(status: int, phrase: str) -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, status, phrase=phrase, headers=['Reason: Q.850;cause=17;text="busy"']))
    (failed,) = one.events()
    assert failed == Failed(status, phrase or "Decline", Reason("Q.850", 17, "busy"))
    ack = one.request()
    assert (ack.method, ack.via.branch, ack.to.tag) == ("ACK", invite.via.branch, "pbx1")
    one.feed(response_text(invite, status))
    assert one.request().method == "ACK"
    one.run(40)
    assert one.agent.next_timeout() is None
    assert session.state is SessionState.TERMINATED


def test_no_answer_at_all() -> None:
    one, _, _ = dialed()
    start = one.now
    one.times.clear()
    one.run(31.9)
    assert [at - start for at in one.times] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]  # timer A
    one.run(0.2)
    assert one.events() == [Failed(408, "Request Timeout")]


def test_transport_failure() -> None:
    one, _, _ = dialed(tcp=True)
    one.agent.flow_failed(TCP, one.now)
    one.drain()
    assert one.events() == [Failed(503, "Service Unavailable")]


def test_nothing_is_repeated_over_tcp() -> None:
    one, _, invite = dialed(tcp=True)
    one.run(20)
    assert one.take() == []
    one.feed(response_text(invite, 486), TCP)
    assert one.request().method == "ACK"


@pytest.mark.parametrize("status", [401, 407])
def test_challenge_is_answered_once(status: int) -> None:
    one, _, invite = dialed()
    header = CHALLENGE if status == 401 else CHALLENGE.replace("WWW", "Proxy")
    one.feed(response_text(invite, status, headers=[header]))
    ack, again = one.take()
    assert isinstance(again, IncomingRequest)
    assert ack.method == "ACK"
    name = "Authorization" if status == 401 else "Proxy-Authorization"
    credential = again.header(name) or ""
    assert (again.cseq, again.call_id, again.from_.tag, again.to.tag) == (2, invite.call_id, invite.from_.tag, "")
    assert "qop=auth," in credential
    assert "nc=00000001" in credential
    one.feed(response_text(again, status, headers=[header]))
    assert one.request().method == "ACK"
    assert one.events() == [Failed(status, "Whatever")]


def test_stale_nonce_is_followed_once_more() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 401, headers=[CHALLENGE]))
    *_, again = one.take()
    assert isinstance(again, IncomingRequest)
    one.feed(response_text(again, 401, headers=[CHALLENGE.replace("n1", "n2") + ", stale=TRUE"]))
    *_, third = one.take()
    assert isinstance(third, IncomingRequest)
    assert 'nonce="n2"' in (third.header("Authorization") or "")
    one.feed(response_text(third, 401, headers=[CHALLENGE + ", stale=true"]))
    assert [type(event) for event in one.events()] == [Failed]


def test_401_and_407_in_one_call() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 407, headers=[CHALLENGE.replace("WWW", "Proxy")]))
    *_, again = one.take()
    assert isinstance(again, IncomingRequest)
    one.feed(response_text(again, 401, headers=[CHALLENGE.replace('"pbx"', '"inner"')]))
    *_, third = one.take()
    assert isinstance(third, IncomingRequest)
    assert third.header("Authorization") is not None
    assert third.header("Proxy-Authorization") is not None
    one.feed(response_text(third, 200, body=ANSWER))
    ack = one.request()  # RFC 3261 13.2.2.4: the ACK repeats the credentials
    assert ack.header("Authorization") == third.header("Authorization")
    assert ack.header("Proxy-Authorization") == third.header("Proxy-Authorization")


def test_challenge_without_password() -> None:
    one, _, invite = dialed(user="")
    one.feed(response_text(invite, 401, headers=[CHALLENGE]))
    assert one.events() == [Failed(401, "Whatever")]


def test_cancel_waits_for_a_provisional_response() -> None:
    one, session, invite = dialed()
    reason = Reason("SIP", 200, "Call completed elsewhere")
    session.cancel(reason, one.now)
    one.drain()
    assert one.take() == []
    one.feed(response_text(invite, 100, to_tag=""))
    cancel = one.request()
    assert (cancel.method, cancel.via.branch, cancel.cseq) == ("CANCEL", invite.via.branch, invite.cseq)
    assert cancel.header("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    one.feed(response_text(invite, 180))
    session.cancel(None, one.now)  # asked twice, sent once
    one.drain()
    assert one.take() == []
    one.feed(response_text(cancel, 200))
    one.feed(response_text(invite, 487))
    assert one.request().method == "ACK"
    assert one.events() == [Failed(487, "Whatever")]
    assert session.state is SessionState.TERMINATED


def test_cancel_crossing_a_challenge_does_not_call_again() -> None:
    one, session, invite = dialed()
    session.cancel(None, one.now)
    one.feed(response_text(invite, 401, headers=[CHALLENGE]))
    assert one.request().method == "ACK"
    assert [type(event) for event in one.events()] == [Failed]


def test_cancel_crossing_the_answer() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 180))
    one.events()
    session.cancel(Reason("SIP", 200, "x"), one.now)
    one.drain()
    cancel = one.request()
    one.feed(response_text(invite, 200, body=ANSWER))
    ack, bye = one.take()
    assert isinstance(bye, IncomingRequest)
    assert (ack.method, bye.method, bye.header("Reason")) == ("ACK", "BYE", 'SIP;cause=200;text="x"')
    assert one.events() == [Failed(487, "Request Terminated", Reason("SIP", 200, "x"))]
    one.feed(response_text(cancel, 481))
    one.feed(response_text(invite, 200, body=ANSWER))
    assert one.request().method == "ACK"


def test_cancel_that_nobody_answers() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 180))
    session.cancel(None, one.now)
    one.run(33)
    assert one.events() == [Ringing(180), Failed(487, "Request Terminated")]
    one.run(40)
    assert one.agent.next_timeout() is None


def test_requests_in_an_early_dialog() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 180))
    one.take()
    one.feed(from_pbx(session, "UPDATE", 5))
    one.feed(from_pbx(session, "UPDATE", 6, OFFER))
    assert one.statuses() == ["200 UPDATE", "500 UPDATE"]
    one.feed(response_text(invite, 486))
    one.take()
    one.feed(from_pbx(session, "UPDATE", 7))
    assert one.statuses() == ["481 UPDATE"]


def test_bye_challenged() -> None:
    one, session, _ = up()
    session.bye(None, one.now)
    one.drain()
    bye = one.request()
    one.feed(response_text(bye, 407, headers=[CHALLENGE.replace("WWW", "Proxy")]))
    again = one.request()
    assert (again.method, again.cseq) == ("BYE", bye.cseq + 1)
    assert again.header("Proxy-Authorization") is not None
    one.feed(response_text(again, 200))
    assert one.events() == [Ended()]


def test_bye_that_nobody_answers_ends_all_the_same() -> None:
    one, session, _ = up()
    session.bye(None, one.now)
    one.drain()
    start = one.now
    one.times.clear()
    one.run(31.9)
    # timer E: T1 doubling up to T2
    assert [at - start for at in one.times] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    one.run(1)
    assert one.events() == [Ended()]


def test_bye_in_proceeding_is_repeated_at_t2() -> None:
    one, session, _ = up()
    session.bye(None, one.now)
    one.drain()
    bye = one.request()
    one.feed(response_text(bye, 100))
    one.times.clear()
    start = one.now
    one.run(9)
    assert [at - start for at in one.times] == [0.5, 4.5, 8.5]


def test_late_responses_change_nothing() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 486))
    one.take()
    one.events()
    one.feed(response_text(invite, 180))
    assert (one.take(), one.events()) == ([], [])
    one, session, invite = up()
    one.feed(response_text(invite, 486))
    session.bye(None, one.now)
    one.drain()
    bye = one.request()
    one.feed(response_text(bye, 200))
    one.feed(response_text(bye, 200))
    assert one.events() == [Ended()]


def test_info_from_the_pbx() -> None:
    one, session, _ = up()
    one.feed(from_pbx(session, "INFO", body="x"))
    assert one.events() == [Info("application/sdp", b"x")]


def test_bad_request_uri() -> None:
    one = lab()
    with pytest.raises(RemoteProtocolError):
        one.agent.invite(InviteSpec("sip:a b@c", "<sip:x@y>", OFFER), UDP, credentials(), one.now)


def test_stray_responses_are_dropped() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 200).replace(invite.via.branch, "z9hG4bKother"))
    assert one.take() == []
    assert one.agent.counts["stray_responses"] == 1


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ("<sip:a@192.168.1.9:5060>", ("8.8.4.4", 5060)),  # behind NAT: its source is followed
        ("<sip:a@8.8.8.8:5062>", ("8.8.8.8", 5062)),
        ("<sip:a@pbx.test>", ("pbx.test", 5060)),
        ("<sip:a@8.8.4.4:5060;transport=ws>", ("8.8.4.4", 5060)),
    ],
)
def test_next_hop(contact: str, expected: tuple[str, int]) -> None:
    from dataclasses import replace

    one = lab()
    flow = replace(UDP, remote=("8.8.4.4", 5060))
    one.agent.invite(SPEC, flow, credentials(), one.now)
    one.drain()
    invite = one.request()
    one.feed(response_text(invite, 200, body=ANSWER, contact=contact), flow)
    assert one.sent[0][0].remote == expected


def test_next_hop_over_tcp() -> None:
    one, _, invite = dialed(tcp=True)
    one.feed(response_text(invite, 200, body=ANSWER, contact="<sip:a@192.0.2.20:5062;transport=TCP>"), TCP)
    flow = one.sent[0][0]
    assert (flow.remote, flow.fallback) == (TCP.remote, ("192.0.2.20", 5062))
    one, _, invite = dialed(tcp=True)
    one.feed(response_text(invite, 200, body=ANSWER, contact="<sip:a@192.0.2.20:5062;transport=udp>"), TCP)
    assert (one.sent[0][0].transport, one.sent[0][0].remote) == ("udp", ("192.0.2.20", 5062))


def test_the_next_requests_of_a_dialog_carry_what_both_asked_for() -> None:
    one, session, invite = dialed()
    proxy = CHALLENGE.replace("WWW", "Proxy")
    one.feed(response_text(invite, 407, headers=[proxy]))
    *_, again = one.take()
    assert isinstance(again, IncomingRequest)
    one.feed(response_text(again, 401, headers=[CHALLENGE.replace('"pbx"', '"inner"')]))
    *_, third = one.take()
    assert isinstance(third, IncomingRequest)
    one.feed(response_text(third, 200, body=ANSWER))
    one.take()
    session.bye(None, one.now)
    one.drain()
    bye = one.request()
    for name in ("Authorization", "Proxy-Authorization"):
        assert "nc=0000000" in (bye.header(name) or "")
        assert bye.header(name) != third.header(name), "the count goes on"
    # the proxy's nonce is old by now, then the far end's
    one.feed(response_text(bye, 407, headers=[proxy.replace("n1", "n7") + ", stale=true"]))
    second = one.request()
    assert 'nonce="n7"' in (second.header("Proxy-Authorization") or "")
    one.feed(response_text(second, 401, headers=[CHALLENGE.replace('"pbx"', '"inner"').replace("n1", "n8")]))
    last = one.request()
    assert 'nonce="n8"' in (last.header("Authorization") or "")
    assert 'nonce="n7"' in (last.header("Proxy-Authorization") or "")
    one.feed(response_text(last, 200))
    assert [type(event) for event in one.events()] == [Answered, Ended]
