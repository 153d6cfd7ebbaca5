"""REFER with its NOTIFYs, and INVITE with Replaces, on a virtual clock."""

from __future__ import annotations

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.engine import ReplacingCall
from gateway.protocol.sip.events import Ended, Refer
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.refer import ReferTo, parse_refer_to, parse_replaces
from gateway.protocol.sip.uac import ClientSession
from tests.support.sip_lab import ANSWER, OFFER, Lab, lab, protected, request_text, response_text, trusted
from tests.unit.sip.outbound import dialed, from_pbx, up

pytestmark = pytest.mark.unit

BLIND = "Refer-To: <sip:200@pbx.test>"


def refer(session: ClientSession, *headers: str, cseq: int = 10) -> str:
    return request_text(
        "REFER", uri="sip:gw@192.0.2.10:5080", branch=f"z9hG4bKr{cseq}", call_id=session.call_id, cseq=cseq,
        from_tag="pbx1", to_tag=session.dialog.local_tag, headers=headers,
    )  # fmt: skip


def referred() -> tuple[Lab, ClientSession, Refer, IncomingRequest]:
    """Give a call whose peer has sent REFER, and our first NOTIFY."""
    one, session, _ = up()
    one.feed(refer(session, BLIND, "Referred-By: <sip:100@pbx.test>"))
    accepted, notify = one.take()
    assert isinstance(accepted, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    assert (accepted.status, accepted.header("Contact")) == (202, "<sip:gw@192.0.2.10:5080>")
    (event,) = one.events()
    assert isinstance(event, Refer)
    assert (event.uri, event.replaces, event.referred_by) == ("sip:200@pbx.test", "", "<sip:100@pbx.test>")
    return one, session, event, notify


def told(notify: IncomingRequest) -> tuple[str, str | None]:
    assert (notify.method, notify.header("Event")) == ("NOTIFY", "refer;id=10")
    assert notify.header("Content-Type") == "message/sipfrag;version=2.0"
    return notify.body.decode().strip(), notify.header("Subscription-State")


def test_progress_is_told() -> None:
    one, session, event, notify = referred()
    assert told(notify) == ("SIP/2.0 100 Trying", "active;expires=180")
    session.refer_progress(event.request_id, 180, one.now)  # the first NOTIFY is not answered yet
    session.refer_progress(event.request_id, 183, one.now)
    one.drain()
    assert one.take() == []
    one.feed(response_text(notify, 200))
    second = one.request()
    assert told(second) == ("SIP/2.0 183 Session Progress", "active;expires=180")
    assert second.cseq == notify.cseq + 1
    one.feed(response_text(second, 200))
    assert one.take() == []
    session.refer_progress(event.request_id, 200, one.now)
    one.drain()
    last = one.request()
    assert told(last) == ("SIP/2.0 200 OK", "terminated;reason=noresource")
    one.feed(response_text(last, 200))
    session.refer_progress(event.request_id, 486, one.now)
    one.run(200)
    assert one.take() == []
    one.feed(refer(session, BLIND, cseq=11))  # the next one may come
    assert one.statuses() == ["202 REFER", "NOTIFY"]


def test_progress_is_told_after_the_call_is_over() -> None:
    one, session, event, notify = referred()
    one.feed(response_text(notify, 200))
    one.feed(from_pbx(session, "BYE", 11))
    assert one.statuses() == ["200 BYE"]
    assert one.events() == [Ended()]
    session.refer_progress(event.request_id, 603, one.now)
    one.drain()
    assert told(one.request()) == ("SIP/2.0 603 Decline", "terminated;reason=noresource")


def test_one_at_a_time() -> None:
    one, session, _, _ = referred()
    one.feed(refer(session, BLIND, cseq=11))
    assert one.response().status == 491


def test_nobody_says_how_it_goes() -> None:
    one, session, event, notify = referred()
    one.feed(response_text(notify, 200))
    one.run(179)
    session.refer_progress(event.request_id, 180, one.now)
    one.drain()
    ringing = one.request()
    assert told(ringing) == ("SIP/2.0 180 Ringing", "active;expires=1")
    one.feed(response_text(ringing, 200))
    one.run(1)
    assert told(one.request()) == ("SIP/2.0 408 Request Timeout", "terminated;reason=noresource")


@pytest.mark.parametrize("over", [False, True])
def test_a_subscriber_that_is_gone(over: bool) -> None:
    one, session, event, notify = referred()
    if over:
        session.refer_progress(event.request_id, 200, one.now)
    one.feed(response_text(notify, 481))
    session.refer_progress(event.request_id, 180, one.now)
    one.drain()
    assert one.take() == []
    one.run(200)
    assert one.take() == []


def test_a_referral_does_not_tell_what_is_over() -> None:
    _, session, event, _ = referred()
    assert session._referral is not None
    referral = session._referral[1]
    session.refer_progress(event.request_id, 486, 100.0)
    referral.tell(200, 100.0)
    assert referral._next == 486


def test_a_number_that_nobody_knows() -> None:
    one, session, event, notify = referred()
    one.feed(response_text(notify, 500))
    session.refer_progress(event.request_id + 1, 200, one.now)
    session.refer_progress(event.request_id, 399, one.now)
    one.drain()
    assert told(one.request())[0] == "SIP/2.0 399 Unknown"


def test_referred_before_the_answer() -> None:
    one, session, invite = dialed()
    one.feed(response_text(invite, 180))
    one.take()
    one.feed(
        request_text(
            "REFER", uri="sip:gw@192.0.2.10:5080", branch="z9hG4bKr", call_id=session.call_id, cseq=3, from_tag="pbx1",
            to_tag=session._local_tag, headers=[BLIND],
        )
    )  # fmt: skip
    assert one.response().status == 500
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER))
    called = one.new_call()
    one.take()
    one.feed(request_text("REFER", branch="z9hG4bKr", cseq=2, to_tag=called.dialog.local_tag, headers=[BLIND]))
    assert one.response().status == 491


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 400),
        ([BLIND, BLIND], 400),
        (["Refer-To: nonsense"], 400),
        (["Refer-To: <http://example.test>"], 416),
        (["Refer-To: <sip:200@pbx.test;method=SUBSCRIBE>"], 603),
        (["Refer-To: <sip:200@pbx.test?Replaces=abc>"], 400),
    ],
)
def test_refer_that_cannot_be_followed(headers: list[str], status: int) -> None:
    one, session, _ = up()
    one.feed(refer(session, *headers))
    assert one.response().status == status
    assert one.events() == []
    one.feed(refer(session, BLIND, cseq=11))
    assert one.take()[0].status == 202  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sip:200@pbx.test", ReferTo("sip:200@pbx.test")),
        ('"Bob" <sip:200@pbx.test;user=phone>;x=1', ReferTo("sip:200@pbx.test;user=phone")),
        ("<sip:200@pbx.test;method=INVITE;user=phone>", ReferTo("sip:200@pbx.test;user=phone")),
        ("<tel:+5511999990000>", ReferTo("tel:+5511999990000")),
        ("<sip:2@p?Subject=hi&Replaces=>", ReferTo("sip:2@p")),
        (
            "<sip:2@p?Evil=1&replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2%0D%0AX:%20y>",
            ReferTo("sip:2@p", "a@b;to-tag=1;from-tag=2X: y"),
        ),
    ],
)
def test_refer_to(value: str, expected: ReferTo) -> None:
    assert parse_refer_to([value]) == expected


@pytest.mark.parametrize("values", [["a;to-tag=1"], ["a;from-tag=1"], [";to-tag=1;from-tag=2"], ["a;to-tag=1"] * 2])
def test_replaces_that_is_none(values: list[str]) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_replaces(values)


def test_replaces() -> None:
    assert parse_replaces([]) is None
    replaces = parse_replaces(["a@b ;to-tag=1;from-tag=2;early-only"])
    assert replaces is not None
    assert (replaces.key, replaces.early_only) == (("a@b", "1", "2"), True)


def running(**endpoint: object) -> tuple[Lab, str]:
    """Give a call that is up and the Replaces value that names it."""
    one = lab()
    one.agent.set_endpoint(trusted(**endpoint))  # type: ignore[arg-type]
    one.feed(request_text(body=OFFER))
    session = one.new_call()
    session.answer(ANSWER, one.now)
    one.drain()
    one.take()
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=session.dialog.local_tag))
    return one, f"call-1;to-tag={session.dialog.local_tag};from-tag=ft1"


def replacing(value: str) -> str:
    return request_text(
        branch="z9hG4bKnew", call_id="call-2", from_tag="ft2", body=OFFER,
        headers=["Require: replaces", f"Replaces: {value}"],
    )  # fmt: skip


def test_an_invite_takes_the_place_of_a_call() -> None:
    one, value = running()
    one.feed(replacing(value))
    assert one.statuses() == ["100 INVITE"]
    (output,) = [output for output in one.told if isinstance(output, ReplacingCall)]
    assert output.replaced.call_id == "call-1"
    assert output.session.request.sdp == OFFER
    assert one.no_call()


@pytest.mark.parametrize(
    ("change", "status"), [("", 481), (";early-only", 486), ("nonsense", 400), ("other-endpoint", 481)]
)
def test_an_invite_that_may_not_take_it(change: str, status: int) -> None:
    one, value = running()
    if change == "other-endpoint":
        one.agent.remove_endpoint(1, one.now)
        one.agent.set_endpoint(trusted(2))
    elif change:
        value = value + change if change.startswith(";") else change
    else:
        value = value.replace("ft1", "ft9")
    one.feed(replacing(value))
    assert one.response().status == status
    assert not any(isinstance(output, ReplacingCall) for output in one.told)


def test_a_call_that_rings_or_ends_is_not_replaced() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(request_text(body=OFFER))
    session = one.new_call()
    one.take()
    value = f"call-1;to-tag={session.dialog.local_tag};from-tag=ft1"
    one.feed(replacing(value))
    assert one.response().status == 481
    session.answer(ANSWER, one.now)
    one.drain()
    one.feed(request_text("ACK", branch="z9hG4bKack", to_tag=session.dialog.local_tag))
    session.bye(None, one.now)
    one.drain()
    one.take()
    one.feed(replacing(value).replace("z9hG4bKnew", "z9hG4bKnew2"))
    assert one.response().status == 603


def test_a_stranger_is_challenged_before_it_replaces_anything() -> None:
    one, value = running()
    one.agent.set_endpoint(protected())
    one.feed(replacing(value))
    assert one.response().status == 401


def test_a_transfer_that_nobody_wants_to_hear_of() -> None:
    one, session, _ = up()
    one.feed(refer(session, BLIND, "Refer-Sub: false"))
    accepted = one.response()
    assert (accepted.status, accepted.header("Refer-Sub")) == (202, "false")
    (event,) = one.events()
    assert isinstance(event, Refer)
    one.feed(refer(session, BLIND, cseq=11))
    assert one.statuses() == ["491 REFER"]  # the first is still under way
    session.refer_progress(event.request_id, 200, one.now)
    one.run(200)
    assert "NOTIFY" not in one.statuses()
    one.feed(refer(session, BLIND, "Refer-Sub: true", cseq=12))
    assert one.statuses() == ["202 REFER", "NOTIFY"]
