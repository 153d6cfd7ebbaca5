"""Who may call, and what everybody else is answered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.digest_server import AuthLimits
from gateway.protocol.sip.engine import CoreLimits, NewCall
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.sources import SourceLimits
from gateway.protocol.sip.text import sip_uri
from tests.support.sip_lab import (
    ANSWER,
    OFFER,
    STRANGER,
    UDP,
    Lab,
    authorization,
    credentials,
    lab,
    protected,
    request_text,
    response_text,
    trusted,
)

pytestmark = pytest.mark.unit

FOREIGN = replace(UDP, remote=STRANGER)


def challenged(one: Lab, **request: object) -> str:
    one.feed(request_text(body=OFFER, **request))  # type: ignore[arg-type]
    response = one.response()
    assert response.status == 401
    return response.header("WWW-Authenticate") or ""


def test_every_invite_is_challenged_when_a_listen_user_is_set() -> None:
    one = lab()
    one.agent.set_endpoint(protected(sources=frozenset({UDP.remote[0]})))  # its own server too
    challenge = challenged(one)
    assert 'qop="auth"' in challenge
    assert one.no_call()
    assert one.agent.next_timeout() is None  # nothing is kept for a stranger
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", cseq=2, headers=[authorization(challenge)]))
    assert one.statuses() == ["100 INVITE"]
    session = one.new_call()
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", cseq=2, headers=[authorization(challenge)]))
    assert one.statuses() == ["100 INVITE"]  # a retransmission is not a replay
    assert one.no_call()
    session.reject(486, None, None, one.now)


def test_stateless_answers_have_the_same_tag_each_time() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    one.feed(request_text(body=OFFER))
    one.feed(request_text(body=OFFER))
    first, second = one.take()
    assert first.to.tag
    assert first.to.tag == second.to.tag
    one.feed(request_text("ACK", to_tag=first.to.tag))
    assert one.take() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "falsch"},
        {"user": "nobody"},
        {"qop": "auth-int"},
        {"cnonce": ""},
        {"method": "BYE"},
    ],
)
def test_wrong_credentials_never_call(wrong: dict[str, str]) -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    challenge = challenged(one)
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", headers=[authorization(challenge, **wrong)]))  # type: ignore[arg-type]
    response = one.response()
    assert response.status == 401
    assert "stale" not in (response.header("WWW-Authenticate") or "")
    assert one.no_call()
    assert one.agent.counts["auth_wrong"] == 1


def test_replayed_credentials_are_refused() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    good = authorization(challenged(one))
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", headers=[good]))
    one.new_call()
    one.take()
    one.feed(request_text(body=OFFER, branch="z9hG4bK3", call_id="call-2", headers=[good]))
    response = one.response()
    assert response.status == 401
    assert "stale=true" in (response.header("WWW-Authenticate") or "")
    assert one.no_call()


def test_expired_nonce_is_stale() -> None:
    one = lab(AgentSettings(auth=AuthLimits(nonce_life_s=60)))
    one.agent.set_endpoint(protected())
    good = authorization(challenged(one))
    one.run(61)
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", headers=[good]))
    assert "stale=true" in (one.response().header("WWW-Authenticate") or "")
    assert one.no_call()


def test_too_many_failures_block_the_source_and_only_it() -> None:
    one = lab(AgentSettings(sources=SourceLimits(failures=3)))
    one.agent.set_endpoint(protected())
    for number in range(3):
        wrong = authorization(challenged(one), password="falsch")
        one.feed(request_text(body=OFFER, branch=f"z9hG4bKw{number}", headers=[wrong]))
        assert one.response().status == 401
    one.feed(request_text(body=OFFER, branch="z9hG4bK2"))
    assert one.response().status == 403
    one.feed(request_text(body=OFFER, branch="z9hG4bKf"), FOREIGN)
    challenge = one.response().header("WWW-Authenticate") or ""
    one.feed(request_text(body=OFFER, branch="z9hG4bKg", headers=[authorization(challenge)]), FOREIGN)
    one.new_call()
    one.run(61)
    one.take()
    good = authorization(challenged(one, branch="z9hG4bKh", call_id="h"))
    one.feed(request_text(body=OFFER, branch="z9hG4bKi", call_id="h", headers=[good]))
    one.new_call()


def test_a_nonce_is_good_only_where_it_was_sent() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    stolen = authorization(challenged(one), password="falsch")
    for _ in range(20):
        one.feed(request_text(body=OFFER, branch="z9hG4bKs", headers=[stolen]), FOREIGN)
        assert "stale=true" in (one.response().header("WWW-Authenticate") or "")
    assert one.agent.counts["auth_wrong"] == 0


@pytest.mark.parametrize("header", ["Authorization: Basic eDp5", "Authorization: Digest broken", "Authorization: x"])
def test_other_credentials_are_challenged(header: str) -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    one.feed(request_text(body=OFFER, headers=[header]))
    assert one.response().status == 401


def test_sha256_where_it_is_offered() -> None:
    one = lab()
    one.agent.set_endpoint(protected(algorithms=("SHA-256", "MD5")))
    one.feed(request_text(body=OFFER))
    response = one.response()
    first, second = response.headers.getlist("WWW-Authenticate")
    assert "algorithm=SHA-256" in first
    assert "algorithm=MD5" in second
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", headers=[authorization(first)]))
    one.new_call()


def test_an_algorithm_that_was_not_offered_is_wrong() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    challenge = challenged(one).replace("algorithm=MD5", "algorithm=SHA-256")
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", headers=[authorization(challenge)]))
    assert one.response().status == 401
    unknown = authorization(challenge).replace("algorithm=SHA-256", "algorithm=SHA3")
    one.feed(request_text(body=OFFER, branch="z9hG4bK3", headers=[unknown]))
    assert one.response().status == 401


def test_the_digest_user_picks_the_account() -> None:
    one = lab()
    one.agent.set_endpoint(protected(1, listen_user="anna", listen_secret="a"))
    one.agent.set_endpoint(protected(2, listen_user="bert", listen_secret="b"))
    challenge = challenged(one)
    good = authorization(challenge, user="bert", password="b")
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", headers=[good]))
    (call,) = [output for output in one.told if isinstance(output, NewCall)]
    assert call.endpoint == 2
    assert one.agent.endpoint(2) is not None
    crossed = authorization(challenge, user="anna", password="b", nc=2)
    one.take()
    one.feed(request_text(body=OFFER, branch="z9hG4bK3", call_id="c3", headers=[crossed]))
    assert one.response().status == 401


def test_without_a_listen_user_only_the_server_may_call() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER), FOREIGN)
    assert one.response().status == 403
    assert one.no_call()
    one.feed(request_text(body=OFFER))
    one.new_call()
    one.agent.remove_endpoint(1, one.now)
    one.take()
    one.feed(request_text(body=OFFER, branch="z9hG4bKn", call_id="c2"))
    assert one.response().status == 403


def test_two_accounts_without_listen_user_cannot_share_a_server() -> None:
    one = lab()
    one.agent.set_endpoint(trusted(1))
    one.agent.set_endpoint(trusted(2))
    one.feed(request_text(body=OFFER))
    assert one.response().status == 403


def test_an_account_with_and_one_without_listen_user() -> None:
    one = lab()
    one.agent.set_endpoint(trusted(1))
    one.agent.set_endpoint(protected(2))
    one.feed(request_text(body=OFFER))
    one.new_call()  # from the first one's server
    one.take()
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", call_id="c2"), FOREIGN)
    assert one.response().status == 401
    one.agent.set_endpoint(protected(2, sources=frozenset({UDP.remote[0]})))
    one.feed(request_text(body=OFFER, branch="z9hG4bK3", call_id="c3"))
    assert one.response().status == 401  # the server of both: who is meant, only the password tells


def test_a_listener_is_not_anothers() -> None:
    one = lab()
    one.agent.set_endpoint(replace(trusted(), listener=7))
    one.agent.set_endpoint(replace(trusted(2), listener=0))
    one.feed(request_text(body=OFFER))
    assert one.response().status == 403


def test_unavailable_endpoint() -> None:
    one = lab()
    one.agent.set_endpoint(trusted(available=False, unavailable_text="WhatsApp Web is not ready"))
    one.feed(request_text(body=OFFER))
    response = one.response()
    assert (response.status, response.header("Retry-After")) == (503, "10")
    assert response.header("Reason") == 'Q.850;cause=41;text="WhatsApp Web is not ready"'
    one.feed(request_text("OPTIONS", branch="z9hG4bKo"))
    assert one.response().status == 503
    one.agent.set_endpoint(trusted(2, contact_user="other"))
    one.feed(request_text("OPTIONS", branch="z9hG4bKo", uri="sip:gw@192.0.2.10"))
    assert one.response().status == 503
    one.feed(request_text("OPTIONS", branch="z9hG4bKo", uri="sip:other@192.0.2.10"))
    assert one.response().status == 200
    # a stranger learns nothing about the accounts
    one.feed(request_text("OPTIONS", branch="z9hG4bKo", uri="sip:gw@192.0.2.10"), FOREIGN)
    assert one.response().status == 200


def test_options_reveals_nothing() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    one.feed(request_text("OPTIONS"), FOREIGN)
    response = one.response()
    assert response.status == 200
    names = {name.lower() for name in response.headers.keys()}  # noqa: SIM118  (not a dict)
    assert names == {"via", "from", "to", "call-id", "cseq", "allow", "accept", "supported", "allow-events",
                     "content-length"}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("REGISTER", [], 405),
        ("SUBSCRIBE", [], 489),
        ("PUBLISH", [], 405),
        ("MESSAGE", [], 405),
        ("BYE", [], 481),
        ("INFO", [], 481),
        ("UPDATE", [], 481),
        ("NOTIFY", [], 481),
        ("CANCEL", [], 481),
        ("DANCE", [], 501),
        ("INVITE", ["Require: 100rel, dance"], 420),
        ("PRACK", [], 481),
        ("REFER", [], 403),
    ],
)
def test_methods(method: str, headers: list[str], status: int) -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(method, headers=headers))
    response = one.response()
    assert response.status == status
    assert response.to.tag
    if status in {405, 501}:
        assert "INVITE" in (response.header("Allow") or "")
    if status == 420:
        assert response.header("Unsupported") == "dance"


def test_in_dialog_request_without_dialog() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text("BYE", to_tag="nothing"))
    assert one.statuses() == ["481 BYE"]
    one.feed(request_text("ACK", to_tag="nothing"))
    assert one.take() == []


def test_max_forwards() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER).replace("Max-Forwards: 70", "Max-Forwards: 0"))
    assert one.response().status == 483
    one.feed(request_text(body=OFFER, branch="z9hG4bK2").replace("Max-Forwards: 70", "Max-Forwards: 300"))
    assert one.response().status == 400
    one.feed(request_text(body=OFFER, branch="z9hG4bK3").replace("Max-Forwards: 70\r\n", ""))
    one.new_call()


def test_malformed_requests_are_answered_where_they_can_be() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER).replace("Content-Length: ", "Content-Length: 9"))
    response = one.response()
    assert (response.status, bool(response.to.tag)) == (400, True)
    one.feed(" leading fold\r\n" + request_text(body=OFFER))
    assert one.take() == []
    assert one.agent.counts == {"malformed_answered": 1, "malformed_dropped": 1}


def test_ack_with_a_fault_is_dropped() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text("ACK").replace("Max-Forwards: 70", "Max-Forwards: x").replace("CSeq: 1", "CSeq: x"))
    assert one.take() == []


def test_bodies_that_are_not_understood() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body="hello", kind="text/plain"))
    response = one.response()
    assert (response.status, response.header("Accept")) == (415, "application/sdp")
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", headers=["Content-Encoding: gzip"]))
    assert one.response().status == 415
    one.feed(request_text(body="", branch="z9hG4bK3"))
    assert one.new_call().request.sdp is None


def test_no_extensions() -> None:
    one = lab(AgentSettings(supported=frozenset()))
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER))
    one.new_call().ringing(one.now)
    one.drain()
    assert one.take()[-1].header("Supported") is None


def test_a_header_in_a_dialog_that_cannot_be_read() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER))
    tag = one.new_call().dialog.local_tag
    one.take()
    one.feed(request_text("INFO", branch="z9hG4bK2", cseq=2, to_tag=tag, headers=['Require: "']))
    assert one.response().status == 400


def test_supported_extensions() -> None:
    one = lab(AgentSettings(supported=frozenset({"timer"})))
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, headers=["Require: timer"]))
    session = one.new_call()
    one.take()
    session.ringing(one.now)
    one.drain()
    assert one.response().header("Supported") == "timer"
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", call_id="c2", headers=['Require: "']))
    assert one.response().status == 400


def test_merged_request() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER))
    one.new_call()
    one.take()
    one.feed(request_text(body=OFFER, branch="z9hG4bKother"))
    assert one.response().status == 482


def test_full_tables() -> None:
    one = lab(AgentSettings(limits=CoreLimits(max_sessions=1)))
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER))
    session = one.new_call()
    one.take()
    one.feed(request_text(body=OFFER, branch="z9hG4bK2", call_id="c2"))
    response = one.response()
    assert (response.status, response.header("Retry-After")) == (503, "5")
    tag = session.dialog.local_tag
    session.answer(ANSWER, one.now)
    one.drain()
    one.take()
    one.agent._engine.layer._max_server = 1
    one.feed(request_text("BYE", branch="z9hG4bK3", cseq=2, to_tag=tag))
    assert one.response().status == 503


def test_peers_without_the_magic_cookie() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    via = "Via: SIP/2.0/UDP 192.0.2.20:5060"
    one.feed(request_text(body=OFFER, via=via))
    session = one.new_call()
    one.take()
    one.feed(request_text(body=OFFER, via=via))
    assert one.statuses() == ["100 INVITE"]
    assert one.no_call()
    session.reject(486, None, None, one.now)
    one.drain()
    one.feed(request_text("ACK", via=via, to_tag="x"))
    one.take()
    one.run(60)
    assert one.take() == []


@pytest.mark.parametrize(
    ("via", "expected_via", "port"),
    [
        ("192.0.2.20:5060;branch=z9hG4bK1;rport", ";branch=z9hG4bK1;rport=40000;received=192.0.2.20", 40000),
        ("192.0.2.20:5060;rport;branch=z9hG4bK1", ";rport=40000;branch=z9hG4bK1;received=192.0.2.20", 40000),
        ("10.0.0.1:5070;branch=z9hG4bK1", ";branch=z9hG4bK1;received=192.0.2.20", 5070),
        ("10.0.0.1;branch=z9hG4bK1", ";branch=z9hG4bK1;received=192.0.2.20", 5060),
        ("192.0.2.20:40000;branch=z9hG4bK1", ";branch=z9hG4bK1", 40000),
        ("name.test;branch=z9hG4bK1;received=1.2.3.4;maddr=9.9.9.9", "maddr=9.9.9.9", 5060),
    ],
)
def test_answers_go_to_the_source(via: str, expected_via: str, port: int) -> None:
    one = lab()
    flow = replace(UDP, remote=("192.0.2.20", 40000))
    one.feed(request_text("OPTIONS", via=f"Via: SIP/2.0/UDP {via}\r\nVia: SIP/2.0/TCP next.test"), flow)
    sent_on, response, _ = one.sent[0]
    assert isinstance(response, IncomingResponse)
    assert response.via.raw.endswith(expected_via)
    assert response.headers.getlist("Via")[1] == "SIP/2.0/TCP next.test"
    assert sent_on.remote == ("192.0.2.20", port)


def test_answers_over_tcp_go_back_on_the_connection() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    flow = replace(UDP, transport="tcp", remote=("192.0.2.20", 40000), connectable=False)
    via = "Via: SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK1"
    one.feed(request_text("OPTIONS", via=via), flow)
    assert one.sent[0][0] == flow  # nobody is connected to for a stranger
    one.take()
    one.feed(request_text(body=OFFER, via=via), flow)
    one.new_call().answer(ANSWER, one.now)
    one.drain()
    assert one.sent[-1][0].fallback == ("192.0.2.20", 5070)  # RFC 3261 18.2.2, should the connection close


def test_options_asked_by_us() -> None:
    one = lab()
    answers: list[int] = []
    one.agent.options(
        "sip:pbx.test", "<sip:gw@pbx.test>", UDP, credentials("gw", "pw"),
        lambda response, cause, now: answers.append(response.status if response else 0), one.now,
    )  # fmt: skip
    one.drain()
    asked = one.request()
    assert isinstance(asked, IncomingRequest)
    one.feed(response_text(asked, 401, headers=['WWW-Authenticate: Digest realm="x", nonce="n"']))
    again = one.request()
    assert (again.cseq, "Digest" in (again.header("Authorization") or "")) == (2, True)
    one.feed(response_text(again, 200))
    assert answers == [200]


def test_sip_uri() -> None:
    assert sip_uri("a b@c", "pbx.test:5070") == "sip:a%20b%40c@pbx.test:5070"
    assert sip_uri("", "pbx.test") == "sip:pbx.test"
    assert sip_uri("+49\r\nX: y", "h") == "sip:+49X%3A%20y@h"


def test_who_takes_no_sdp_cannot_be_answered() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER, headers=["Accept: text/plain, application/pidf+xml"]))
    assert one.response().status == 406
    for number, accept in enumerate(("application/SDP;level=1, text/plain", "*/*", "application/*")):
        one.feed(
            request_text(body=OFFER, branch=f"z9hG4bK{number}", call_id=f"{number}", headers=[f"Accept: {accept}"])
        )
        one.new_call()


def test_a_caller_of_rfc_2543_is_called_back_where_from_says() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    text = request_text(body=OFFER, contact="", via="Via: SIP/2.0/UDP 192.0.2.20").replace(";tag=ft1", "")
    one.feed(text)
    session = one.new_call()
    assert session.dialog.remote_target == "sip:1000@192.0.2.20"
    one.feed(request_text(body=OFFER, contact="", branch="z9hG4bKx", call_id="x"))
    assert one.take()[-1].status == 400  # type: ignore[union-attr]
