"""Watching an account: SUBSCRIBE, NOTIFY and dialog-info (RFC 6665, RFC 4235), on a virtual clock."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from gateway.domain.states import CallState, Direction
from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.dialog_info import DialogView, dialog_state, write_dialog_info
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from tests.support.sip_lab import Lab, authorization, lab, protected, request_text, response_text, trusted

pytestmark = pytest.mark.unit

NS = "{urn:ietf:params:xml:ns:dialog-info}"
RINGING = DialogView("c1", "early", "recipient")
TALKING = DialogView("c1", "confirmed", "recipient")
OVER = DialogView("c1", "terminated", "recipient")


def subscribe(
    one: Lab, *headers: str, expires: str = "600", event: str = "dialog", cseq: int = 1, to_tag: str = "",
    call_id: str = "sub-1", contact: str = "<sip:lamp@192.0.2.20:5060>",
) -> list[IncomingRequest | IncomingResponse]:  # fmt: skip
    one.feed(
        request_text(
            "SUBSCRIBE", uri="sip:gw@192.0.2.10:5080", branch=f"z9hG4bKs{call_id}{cseq}{to_tag}", call_id=call_id,
            cseq=cseq, to_tag=to_tag, contact=contact,
            headers=[*([f"Expires: {expires}"] if expires else []), *([f"Event: {event}"] if event else []), *headers],
        )
    )  # fmt: skip
    return one.take()


def watched(limits: CoreLimits | None = None) -> Lab:
    one = lab(AgentSettings(limits=limits or CoreLimits()))
    one.agent.set_endpoint(trusted())
    return one


def begun(one: Lab, **more: str) -> tuple[IncomingResponse, IncomingRequest]:
    """Subscribe; the 200 and the first NOTIFY, which is answered."""
    ok, notify = subscribe(one, **more)  # type: ignore[arg-type]
    assert isinstance(ok, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    one.feed(response_text(notify, 200))
    return ok, notify


def shown(notify: IncomingRequest) -> list[tuple[str, str]]:
    root = ElementTree.fromstring(notify.body.decode())
    assert root.tag == f"{NS}dialog-info"
    return [(dialog.get("id") or "", dialog.findtext(f"{NS}state") or "") for dialog in root]


def version(notify: IncomingRequest) -> int:
    return int(ElementTree.fromstring(notify.body.decode()).get("version") or -1)


def test_the_whole_life_of_a_lamp() -> None:
    one = watched()
    ok, notify = begun(one)
    assert (ok.status, ok.header("Expires")) == (200, "600")
    assert ok.to.tag == notify.from_.tag
    assert notify.to.tag == "ft1"
    assert (notify.header("Event"), notify.header("Content-Type")) == ("dialog", "application/dialog-info+xml")
    assert notify.header("Subscription-State") == "active;expires=600"
    assert notify.header("Contact") == "<sip:gw@192.0.2.10:5080>"
    assert str(notify.uri) == "sip:lamp@192.0.2.20:5060"
    assert (shown(notify), version(notify)) == ([("none", "terminated")], 0)
    assert ElementTree.fromstring(notify.body.decode()).get("entity") == "sip:gw@192.0.2.10:5080"
    for number, (view, state) in enumerate([(RINGING, "early"), (TALKING, "confirmed"), (OVER, "terminated")], 1):
        one.agent.show_dialogs(1, (view,), one.now)
        one.agent.show_dialogs(1, (view,), one.now)  # nothing new
        one.drain()
        notify = one.request()
        assert (shown(notify), version(notify), notify.cseq) == ([("c1", state)], number, number + 1)
        one.feed(response_text(notify, 200))


def test_a_change_while_a_notify_is_under_way_is_told_after_it_and_only_the_newest() -> None:
    one = watched()
    _, first = subscribe(one)
    assert isinstance(first, IncomingRequest)
    one.agent.show_dialogs(1, (RINGING,), one.now)
    one.agent.show_dialogs(1, (TALKING,), one.now)
    one.drain()
    assert one.take() == []
    one.feed(response_text(first, 200))
    assert shown(one.request()) == [("c1", "confirmed")]


def test_refresh_and_unsubscribe() -> None:
    one = watched()
    ok, _ = begun(one)
    one.run(500)
    refreshed, notify = subscribe(one, cseq=2, to_tag=ok.to.tag)
    assert isinstance(refreshed, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    assert (refreshed.status, notify.header("Subscription-State")) == (200, "active;expires=600")
    one.feed(response_text(notify, 200))
    one.run(500)
    assert one.take() == []  # the first 600 s are over
    assert one.agent.watchers == 1
    bye, notify = subscribe(one, cseq=3, to_tag=ok.to.tag, expires="0")
    assert isinstance(bye, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    assert (bye.status, bye.header("Expires")) == (200, "0")
    assert notify.header("Subscription-State") == "terminated;reason=timeout"
    assert one.agent.watchers == 0
    one.feed(response_text(notify, 200))
    one.agent.show_dialogs(1, (RINGING,), one.now)
    one.drain()
    assert one.take() == []
    (gone,) = subscribe(one, cseq=4, to_tag=ok.to.tag)
    assert isinstance(gone, IncomingResponse)
    assert gone.status == 481


def test_without_a_refresh_it_expires() -> None:
    one = watched()
    begun(one)
    one.run(601)
    notify = one.take()[0]
    assert isinstance(notify, IncomingRequest)
    assert notify.header("Subscription-State") == "terminated;reason=timeout"
    assert one.agent.watchers == 0


def test_asking_once() -> None:
    one = watched()
    one.agent.show_dialogs(1, (TALKING,), one.now)
    ok, notify = subscribe(one, expires="0")
    assert isinstance(ok, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    assert notify.header("Subscription-State") == "terminated;reason=timeout"
    assert shown(notify) == [("c1", "confirmed")]
    assert one.agent.watchers == 0


@pytest.mark.parametrize(("expires", "granted"), [("", "3600"), ("7200", "3600"), ("60", "60")])
def test_how_long(expires: str, granted: str) -> None:
    ok, _ = begun(watched(), expires=expires)
    assert ok.header("Expires") == granted


@pytest.mark.parametrize(
    ("changes", "status", "name", "value"),
    [
        ({"event": "presence"}, 489, "Allow-Events", "dialog"),
        ({"event": ""}, 489, "Allow-Events", "dialog"),
        ({"event": "dialog.winfo"}, 489, "Allow-Events", "dialog"),
        ({"expires": "59"}, 423, "Min-Expires", "60"),
        ({"expires": "soon"}, 400, "", ""),
        ({"event": 'dialog;id="'}, 400, "", ""),
        ({"contact": ""}, 400, "", ""),
        ({"to_tag": "other"}, 481, "", ""),
    ],
)
def test_refusals(changes: dict[str, str], status: int, name: str, value: str) -> None:
    one = watched()
    (answer,) = subscribe(one, **changes)  # type: ignore[arg-type]
    assert isinstance(answer, IncomingResponse)
    assert answer.status == status
    assert answer.to.tag
    if name:
        assert answer.header(name) == value
    assert one.agent.watchers == 0


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/pidf+xml", 406), ("application/dialog-info+xml", 200), ("text/plain, */*;q=0.1", 200)],
)
def test_what_the_watcher_takes(accept: str, status: int) -> None:
    answer = subscribe(watched(), f"Accept: {accept}")[0]
    assert isinstance(answer, IncomingResponse)
    assert answer.status == status


@pytest.mark.parametrize(("event", "told"), [("dialog;id=7", "dialog;id=7"), ("Dialog ;sla;ma", "dialog")])
def test_the_id_of_the_watcher_is_given_back(event: str, told: str) -> None:
    _, notify = begun(watched(), event=event)
    assert notify.header("Event") == told


@pytest.mark.parametrize(("status", "left"), [(481, 0), (489, 0), (None, 0), (500, 1), (200, 1)])
def test_a_watcher_that_is_gone(status: int | None, left: int) -> None:
    one = watched()
    begun(one)
    one.agent.show_dialogs(1, (RINGING,), one.now)
    one.drain()
    notify = one.request()
    if status is None:
        one.run(33)
    else:
        one.feed(response_text(notify, status))
    one.take()
    assert one.agent.watchers == left
    one.agent.show_dialogs(1, (TALKING,), one.now)
    one.drain()
    assert len(one.take()) == left


def test_a_watcher_whose_first_notify_fails_while_the_next_waits() -> None:
    one = watched()
    _, notify = subscribe(one)
    one.agent.show_dialogs(1, (RINGING,), one.now)
    assert isinstance(notify, IncomingRequest)
    one.feed(response_text(notify, 481))
    assert one.take() == []


def test_caps() -> None:
    one = watched(CoreLimits(max_watchers=2, max_subscriptions=3))
    one.agent.set_endpoint(trusted(2, sources=frozenset()))
    for number in range(2):
        begun(one, call_id=f"sub-{number}")
    (full,) = subscribe(one, call_id="sub-9")
    assert isinstance(full, IncomingResponse)
    assert (full.status, full.header("Retry-After")) == (503, "5")


def test_an_old_number_is_refused() -> None:
    one = watched()
    ok, _ = begun(one)
    one.feed(
        request_text(
            "SUBSCRIBE", branch="z9hG4bKold", call_id="sub-1", cseq=1, to_tag=ok.to.tag, headers=["Event: dialog"]
        )
    )  # fmt: skip
    assert one.statuses() == ["500 SUBSCRIBE"]


def test_who_may_not_call_may_not_watch() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    (challenge,) = subscribe(one)
    assert isinstance(challenge, IncomingResponse)
    assert challenge.status == 401
    header = authorization(challenge.header("WWW-Authenticate") or "", method="SUBSCRIBE", uri="sip:gw@192.0.2.10:5080")
    ok, notify = subscribe(one, header, cseq=2)
    assert isinstance(ok, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    assert ok.status == 200
    one.feed(response_text(notify, 200))
    # the dialog is proof enough for a refresh, until the password changes
    refreshed, notify = subscribe(one, cseq=3, to_tag=ok.to.tag)
    assert isinstance(refreshed, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    assert refreshed.status == 200
    one.feed(response_text(notify, 200))
    one.agent.drop_watchers(1, one.now)
    one.drain()
    assert one.request().header("Subscription-State") == "terminated;reason=probation;retry-after=5"
    (gone,) = subscribe(one, cseq=4, to_tag=ok.to.tag)
    assert isinstance(gone, IncomingResponse)
    assert gone.status == 481


@pytest.mark.parametrize(("changes", "status"), [({"event": "presence"}, 489), ({"expires": "5"}, 423)])
def test_a_refresh_that_asks_for_something_else(changes: dict[str, str], status: int) -> None:
    one = watched()
    ok, _ = begun(one)
    (answer,) = subscribe(one, cseq=2, to_tag=ok.to.tag, **changes)
    assert isinstance(answer, IncomingResponse)
    assert answer.status == status
    assert one.agent.watchers == 1


def test_a_malformed_refresh() -> None:
    one = watched()
    ok, _ = begun(one)
    (answer,) = subscribe(one, cseq=2, to_tag=ok.to.tag, expires="soon")
    assert isinstance(answer, IncomingResponse)
    assert answer.status == 400


def test_an_account_that_is_taken_away_ends_its_subscriptions() -> None:
    one = watched()
    begun(one)
    one.agent.remove_endpoint(1, one.now)
    one.drain()
    assert one.request().header("Subscription-State") == "terminated;reason=probation;retry-after=5"
    assert one.agent.watchers == 0


def test_a_watcher_behind_a_proxy() -> None:
    one = watched()
    ok, notify = subscribe(one, "Record-Route: <sip:192.0.2.20;lr>")
    assert isinstance(ok, IncomingResponse)
    assert isinstance(notify, IncomingRequest)
    assert ok.header("Record-Route") == notify.header("Route") == "<sip:192.0.2.20;lr>"


def test_subscribe_in_a_call_is_a_bad_event() -> None:
    one = watched()
    one.feed(request_text(body="v=0\r\n"))
    session = one.new_call()
    session.answer("v=0\r\n", one.now)
    one.drain()
    tag = one.take()[-1].to.tag
    one.feed(request_text("ACK", to_tag=tag))
    one.feed(request_text("SUBSCRIBE", branch="z9hG4bKin", to_tag=tag, cseq=2, headers=["Event: refer"]))
    assert one.statuses() == ["489 SUBSCRIBE"]


def test_options_tells_the_event() -> None:
    one = watched()
    one.feed(request_text("OPTIONS"))
    answer = one.response()
    assert answer.header("Allow-Events") == "dialog"
    assert "SUBSCRIBE" in (answer.header("Allow") or "")


def test_full_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    one = watched(CoreLimits(max_server_transactions=0))
    (busy,) = subscribe(one)
    assert isinstance(busy, IncomingResponse)
    assert busy.status == 503


@pytest.mark.parametrize(
    ("direction", "state", "expected"),
    [
        (Direction.WHATSAPP_TO_SIP, CallState.CREATED, ("early", "recipient")),
        (Direction.WHATSAPP_TO_SIP, CallState.CONNECTING, ("early", "recipient")),
        (Direction.WHATSAPP_TO_SIP, CallState.RINGING, ("early", "recipient")),
        (Direction.WHATSAPP_TO_SIP, CallState.ACTIVE, ("confirmed", "recipient")),
        (Direction.SIP_TO_WHATSAPP, CallState.CONNECTING, ("trying", "initiator")),
        (Direction.SIP_TO_WHATSAPP, CallState.RINGING, ("early", "initiator")),
        (Direction.SIP_TO_WHATSAPP, CallState.EARLY_MEDIA, ("early", "initiator")),
        (Direction.SIP_TO_WHATSAPP, CallState.ENDING, ("terminated", "initiator")),
        (Direction.SIP_TO_WHATSAPP, CallState.ENDED, ("terminated", "initiator")),
    ],
)
def test_states(direction: Direction, state: CallState, expected: tuple[str, str]) -> None:
    assert dialog_state(direction, state) == expected


def test_the_other_end_is_escaped() -> None:
    view = DialogView('"<&', "confirmed", "initiator", "sip:<a&b>@c", 'A "b" <c>\r\n&')
    root = ElementTree.fromstring(write_dialog_info('sip:x@y"&', 7, [view]))
    assert root.attrib == {"version": "7", "state": "full", "entity": 'sip:x@y"&'}
    identity = root.find(f"{NS}dialog/{NS}remote/{NS}identity")
    assert identity is not None
    assert (identity.text, identity.get("display")) == ("sip:<a&b>@c", 'A "b" <c>&')
    assert root.findtext(f"{NS}dialog/{NS}local/{NS}identity") == 'sip:x@y"&'
