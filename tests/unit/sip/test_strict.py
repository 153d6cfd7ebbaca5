"""What other stacks read closely: case of tokens, bodies that may be passed over, Timestamp, SIPS, tags, dead calls."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.digest import DigestClient, parse_auth
from gateway.protocol.sip.events import Ended, ReInvite
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.framing import StreamFramer
from gateway.protocol.sip.session import SessionState
from gateway.protocol.sip.uas import ServerSession
from tests.support.sip_lab import ANSWER, OFFER, OURS, PBX, Lab, lab, request_text, response_text, trusted

pytestmark = pytest.mark.unit

TLS = Flow("tls", 1, OURS, PBX)
OPTIONAL = "Content-Disposition: render; handling=optional"


def called(**request: object) -> tuple[Lab, ServerSession]:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(**{"body": OFFER, **request}))  # type: ignore[arg-type]
    return one, one.new_call()


def answered(one: Lab, session: ServerSession) -> str:
    session.answer(ANSWER, one.now)
    one.drain()
    one.take()
    return session.dialog.local_tag


def up() -> tuple[Lab, ServerSession, str]:
    one, session = called()
    tag = answered(one, session)
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=tag))
    return one, session, tag


def test_option_tags_know_no_case() -> None:
    one, session = called(headers=["Require: Timer, 100REL"])
    assert one.statuses() == ["100 INVITE"]
    session.ringing(one.now)
    one.drain()
    assert one.response().header("RSeq")
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, headers=["k: TIMER", "x: 60"]))
    assert one.statuses() == ["422 INVITE"]
    one.feed(request_text(body=OFFER, branch="z9hG4bKb", call_id="b", headers=["Require: Timer, Foo"]))
    assert one.response().header("Unsupported") == "Foo"


def test_a_body_that_is_optional_is_passed_over() -> None:
    one, session = called(body="hello", kind="text/plain", headers=[OPTIONAL])
    assert session.request.sdp is None
    one, session, tag = up()
    one.feed(
        request_text(
            "UPDATE", branch="z9hG4bK2", cseq=2, to_tag=tag, body="hello", kind="text/plain", headers=[OPTIONAL]
        )
    )
    answer = one.response()
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("disposition", ["render;handling=required", "session", 'render;handling="Required"'])
def test_a_body_that_is_not_optional_is_refused(disposition: str) -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body="hello", kind="text/plain", headers=[f"Content-Disposition: {disposition}"]))
    assert one.response().header("Accept") == "application/sdp"
    assert one.no_call()


def test_an_encoded_offer_in_a_call_is_refused() -> None:
    one, _, tag = up()
    one.feed(request_text(branch="z9hG4bK2", cseq=2, to_tag=tag, body=OFFER, headers=["Content-Encoding: gzip"]))
    refused = one.response()
    assert (refused.status, refused.header("Accept-Encoding")) == (415, "identity")
    assert not [event for event in one.events() if isinstance(event, ReInvite)]


def test_timestamp_comes_back_in_100() -> None:
    one, session = called(headers=["Timestamp: 54.3"])
    assert one.response().header("Timestamp") == "54.3"
    session.ringing(one.now)
    one.drain()
    assert one.response().header("Timestamp") is None


@pytest.mark.parametrize(
    ("request_uri", "headers", "contact"),
    [
        ("sips:5511999990000@192.0.2.10", (), "<sip:pbx@192.0.2.20>"),
        ("sip:5511999990000@192.0.2.10", (), "<sips:pbx@192.0.2.20>"),
        ("sip:5511999990000@192.0.2.10", ("Record-Route: <sips:p.test;lr>",), "<sip:pbx@192.0.2.20>"),
    ],
)
def test_a_sips_call_gets_a_sips_contact(request_uri: str, headers: tuple[str, ...], contact: str) -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(uri=request_uri, body=OFFER, headers=headers, contact=contact), TLS)
    one.take()
    one.new_call().ringing(one.now)
    one.drain()
    assert one.response().header("Contact") == "<sips:gw@192.0.2.10:5080>"


def test_a_sip_call_over_tls_keeps_a_sip_contact() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER), TLS)
    one.take()
    one.new_call().ringing(one.now)
    one.drain()
    assert one.response().header("Contact") == "<sip:gw@192.0.2.10:5080;transport=tls>"


def test_cancel_is_answered_with_the_tag_of_the_call() -> None:
    one, session = called()
    session.ringing(one.now)
    one.drain()
    one.take()
    one.feed(request_text("CANCEL"))
    tags = {message.to.tag for message in one.take()}
    assert tags == {session.dialog.local_tag}


def test_methods_in_a_call_that_are_not_for_us() -> None:
    one, _, tag = up()
    for cseq, (method, status) in enumerate([("NOTIFY", 481), ("FOO", 501), ("PUBLISH", 405)], 2):
        one.feed(request_text(method, branch=f"z9hG4bK{cseq}", cseq=cseq, to_tag=tag))
        assert one.response().status == status
    one.feed(request_text("OPTIONS", branch="z9hG4bK9", cseq=9, to_tag=tag))
    assert "timer" in (one.response().header("Supported") or "")


def unacked_and_dead() -> tuple[Lab, ServerSession, str]:
    """Give a call whose 2xx nobody acknowledged, and which the peer says it does not know; our BYE is out."""
    one, session = called(headers=["Allow: INVITE, ACK, BYE, UPDATE"])
    tag = answered(one, session)
    session.check_alive(one.now)
    one.drain()
    update = one.request()
    assert update.method == "UPDATE"
    one.feed(response_text(update, 481, to_tag=""))
    assert session.state is SessionState.ENDING
    assert one.request().method == "BYE"
    return one, session, tag


def test_a_dead_call_is_ended_once_though_its_ack_never_came() -> None:
    one, session, _ = unacked_and_dead()
    one.run(40)
    assert set(one.statuses()) == {"BYE"}  # no 2xx is repeated
    assert (session.state, one.closed()) == (SessionState.TERMINATED, 1)
    assert [type(event) for event in one.events()] == [Ended]


def test_an_ack_after_the_end_of_a_dead_call_changes_nothing() -> None:
    one, session = called(headers=["Allow: INVITE, ACK, BYE, UPDATE"])
    tag = answered(one, session)
    session.bye(None, one.now)  # waits for the ACK
    session.check_alive(one.now)
    one.drain()
    one.feed(response_text(one.request(), 481, to_tag=""))
    assert one.request().method == "BYE"
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=tag))
    assert one.take() == []
    assert session.state is SessionState.ENDING


def test_a_folded_content_length_is_read_in_a_stream() -> None:
    framer = StreamFramer()
    message = request_text("OPTIONS").replace("Content-Length: 0", "Content-Length:\r\n 2").encode() + b"hi"
    assert framer.feed(message + b"\r\n\r\n") == [message, b"\r\n\r\n"]


def test_a_comma_too_many_in_a_challenge() -> None:
    assert parse_auth('Digest realm="a", nonce="b",') == {"realm": "a", "nonce": "b"}
    one = lab()
    client = DigestClient("u", "p", lambda: "c")
    one.agent.options("sip:pbx.test", "<sip:u@pbx.test>", Flow("udp", 1, OURS, PBX), client, lambda *_: None, one.now)
    one.drain()
    challenge = 'WWW-Authenticate: Digest realm="a", nonce="b", , algorithm="MD5",'
    one.feed(response_text(one.request(), 401, headers=[challenge]))
    assert "algorithm=MD5" in (one.request().header("Authorization") or "")
