"""3xx: where a call is sent instead, how often, and never to another host."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.events import Answered, Failed, Ringing
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.uac import ClientSession, InviteSpec
from tests.support.sip_lab import ANSWER, OFFER, UDP, Lab, credentials, lab, response_text

pytestmark = pytest.mark.unit

SPEC = InviteSpec("sip:100@pbx.test", "<sip:gw@pbx.test>", OFFER, (), "gw")
CHALLENGE = 'WWW-Authenticate: Digest realm="pbx", nonce="n1", qop="auth"'


def dialed(most: int = 3) -> tuple[Lab, ClientSession, IncomingRequest]:
    one = lab(AgentSettings(limits=CoreLimits(max_redirects=most)))
    session = one.agent.invite(SPEC, UDP, credentials("gw", "pw"), one.now)
    one.drain()
    return one, session, one.request()


def redirect(one: Lab, invite: IncomingRequest, *contacts: str, status: int = 302) -> list[IncomingRequest]:
    """Answer 3xx and return the INVITEs that follow, after the ACK."""
    lines = [f"Contact: {contact}" for contact in contacts]
    one.feed(response_text(invite, status, contact="", headers=lines))
    ack, *rest = one.take()
    assert isinstance(ack, IncomingRequest)
    assert (ack.method, ack.uri) == ("ACK", invite.uri)
    return [message for message in rest if isinstance(message, IncomingRequest)]


def test_the_call_goes_on_at_the_other_uri_by_the_same_server() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 180, to_tag="first"))
    (again,) = redirect(one, invite, "<sip:200@10.9.8.7:5999;user=phone?Route=%3Csip:evil%3E>")
    assert str(again.uri) == "sip:200@10.9.8.7:5999;user=phone"
    assert again.to.uri == "sip:100@pbx.test"
    assert (again.call_id, again.from_.tag, again.cseq) == (invite.call_id, invite.from_.tag, invite.cseq + 1)
    assert again.via.branch != invite.via.branch
    assert {flow for flow, _, _ in one.sent} == set()
    one.feed(response_text(again, 180, to_tag="second"))
    one.feed(response_text(again, 200, to_tag="second", body=ANSWER))
    assert one.request().method == "ACK"
    assert one.events() == [Ringing(180), Ringing(180), Answered(ANSWER)]
    assert len(one.agent._engine.dialogs) == 1, "the early dialog of the first try is over"


def test_it_is_sent_to_the_server_and_nowhere_else() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 302, contact="<sip:200@203.0.113.66;maddr=203.0.113.67>"))
    assert {flow.remote for flow, _, _ in one.sent} == {UDP.remote}


def test_contacts_are_tried_in_their_order_of_preference() -> None:
    one, _, invite = dialed()
    (second,) = redirect(one, invite, "<sip:3@pbx.test>;q=0.1, <sip:1@pbx.test>;q=1.0", "<sip:2@pbx.test>;q=0.5")
    assert second.uri.user == "1"
    one.feed(response_text(second, 486))
    third = one.take()[-1]
    assert isinstance(third, IncomingRequest)
    assert third.uri.user == "2"
    (fourth,) = redirect(one, third, "<sip:20@pbx.test>")
    assert fourth.uri.user == "20"
    one.feed(response_text(fourth, 404, phrase="Not Found"))
    assert one.request().method == "ACK"
    assert one.events() == [Failed(404, "Not Found")]  # three others were tried: enough


def test_a_loop_ends() -> None:
    one, _, invite = dialed(10)
    (second,) = redirect(one, invite, "<sip:200@PBX.test>")
    assert redirect(one, second, "<sip:100@pbx.test;x=1>", "<sip:200@pbx.test;x=2>") == []
    assert one.events() == [Failed(302, "Whatever")]


@pytest.mark.parametrize(
    ("status", "contact"),
    [
        (302, "*"),
        (302, "<mailto:anna@pbx.test>"),
        (302, "<sips:200@pbx.test>"),
        (302, "<sip:@x>"),
        (302, '"half <sip:x@y>'),
        (305, "<sip:proxy.test>"),
        (380, "<sip:200@pbx.test>"),
    ],
)
def test_what_is_not_followed(status: int, contact: str) -> None:
    one, _, invite = dialed()
    assert redirect(one, invite, contact, status=status) == []
    assert one.events() == [Failed(status, "Whatever")]


def test_none_where_none_are_wanted() -> None:
    one, _, invite = dialed(0)
    assert redirect(one, invite, "<sip:200@pbx.test>") == []
    assert one.events() == [Failed(302, "Whatever")]


def test_a_6xx_speaks_for_all() -> None:
    one, _, invite = dialed()
    (second,) = redirect(one, invite, "<sip:1@pbx.test>", "<sip:2@pbx.test>")
    one.feed(response_text(second, 603, phrase="Decline"))
    assert one.request().method == "ACK"
    assert one.events() == [Failed(603, "Decline")]


def test_a_call_that_was_given_up_goes_nowhere() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 180))
    session.cancel(None, one.now)
    one.drain()
    one.take()
    assert redirect(one, invite, "<sip:200@pbx.test>") == []
    assert [type(event) for event in one.events()] == [Ringing, Failed]


def test_the_other_uri_may_ask_for_the_password_again() -> None:
    one, _, invite = dialed()
    one.feed(response_text(invite, 401, headers=[CHALLENGE]))
    again = one.take()[-1]
    assert isinstance(again, IncomingRequest)
    (elsewhere,) = redirect(one, again, "<sip:200@pbx.test>")
    assert 'uri="sip:200@pbx.test"' in (elsewhere.header("Authorization") or "")
    one.feed(response_text(elsewhere, 401, headers=[CHALLENGE.replace("n1", "n2")]))
    last = one.take()[-1]
    assert isinstance(last, IncomingRequest)
    assert 'nonce="n2"' in (last.header("Authorization") or "")
    one.feed(response_text(last, 200, body=ANSWER))
    assert one.events() == [Answered(ANSWER)]
