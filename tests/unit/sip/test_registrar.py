"""The registrar for phones that register with us."""

from __future__ import annotations

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.engine import PhonesChanged
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import IncomingRequest, parse_message
from gateway.protocol.sip.registrar import Registrar, RegistrarLimits
from gateway.protocol.sip.timers import TimerHeap
from tests.support.sip_lab import Lab as AgentLab
from tests.support.sip_lab import authorization, lab, protected, request_text, trusted

pytestmark = pytest.mark.unit

LIMITS = RegistrarLimits(max_contacts=3, min_expires_s=60, max_expires_s=3600, default_expires_s=600)
SOCKET = Flow("ws", 9, ("127.0.0.1", 80), ("127.0.0.1", 50_001), connectable=False)
OTHER_SOCKET = Flow("ws", 9, ("127.0.0.1", 80), ("127.0.0.1", 50_002), connectable=False)
DATAGRAMS = Flow("udp", 9, ("127.0.0.1", 5080), ("203.0.113.7", 40_000))
WEBSOCKET = Flow("ws", 1, ("192.0.2.10", 80), ("192.0.2.20", 50_001), connectable=False)
BROWSER = "<sip:q1w2@a1b2.invalid;transport=ws>"
PHONE = "<sip:alice@10.0.0.7:5060>"


class Lab:
    """A registrar and its clock."""

    def __init__(self) -> None:
        self.heap = TimerHeap()
        self.changed: list[int] = []
        self.registrar = Registrar(self.heap, LIMITS, self.changed.append)
        self.cseq = 0

    def register(
        self, *contacts: str, flow: Flow = SOCKET, now: float = 0.0, call_id: str = "one", cseq: int = 0,
        expires: str = "", to: str = "sip:alice@ponte.example", account: int = 1,
    ) -> tuple[int, list[str], dict[str, str]]:  # fmt: skip
        self.cseq = cseq or self.cseq + 1
        lines = [
            "REGISTER sip:ponte.example SIP/2.0", "Via: SIP/2.0/WS a.invalid;branch=z9hG4bK1", f"To: <{to}>",
            "From: <sip:alice@ponte.example>;tag=1", f"Call-ID: {call_id}", f"CSeq: {self.cseq} REGISTER",
            *(f"Contact: {contact}" for contact in contacts), *([f"Expires: {expires}"] if expires else []), "", "",
        ]  # fmt: skip
        request = parse_message("\r\n".join(lines).encode())
        assert isinstance(request, IncomingRequest)
        answer = self.registrar.register(account, "alice", request, flow, now)
        contacts_now = [value for name, value in answer.headers if name == "Contact"]
        return answer.status, contacts_now, dict(answer.headers)

    def uris(self, account: int = 1) -> list[str]:
        return [binding.uri for binding in self.registrar.bindings(account)]

    def run_to(self, now: float) -> None:
        while (callback := self.heap.pop_due(now)) is not None:
            callback(now)


def test_a_phone_is_bound_to_the_way_that_it_came_by() -> None:
    lab = Lab()
    status, contacts, _ = lab.register(BROWSER, expires="120")
    assert (status, contacts) == (200, ["<sip:q1w2@a1b2.invalid;transport=ws>;expires=120"])
    (binding,) = lab.registrar.bindings(1)
    assert binding.flow is SOCKET
    assert lab.changed == [1]


def test_a_query_changes_nothing() -> None:
    lab = Lab()
    lab.register(BROWSER)
    assert lab.register(now=100.0)[1] == ["<sip:q1w2@a1b2.invalid;transport=ws>;expires=500"]
    assert lab.changed == [1]


def test_several_phones_of_one_account_and_none_of_another() -> None:
    lab = Lab()
    lab.register(BROWSER)
    _, contacts, _ = lab.register(PHONE, flow=DATAGRAMS, call_id="two")
    assert len(contacts) == 2
    assert lab.uris() == ["sip:q1w2@a1b2.invalid;transport=ws", "sip:alice@10.0.0.7:5060"]
    assert lab.uris(2) == []


@pytest.mark.parametrize(
    ("contact", "header", "granted"),
    [
        (BROWSER, "", 600),
        (BROWSER, "90", 90),
        (f"{BROWSER};expires=70", "90", 70),
        (BROWSER, "999999", 3600),
        (BROWSER, "soon", 600),
    ],
)
def test_seconds_granted(contact: str, header: str, granted: int) -> None:
    lab = Lab()
    assert lab.register(contact, expires=header)[1] == [f"{BROWSER};expires={granted}"]


def test_an_interval_that_is_too_brief_is_told_the_least() -> None:
    lab = Lab()
    status, _, headers = lab.register(BROWSER, expires="10")
    assert (status, headers) == (423, {"Min-Expires": "60"})
    assert lab.uris() == []


def test_a_binding_ends_with_its_time_unless_it_is_refreshed() -> None:
    lab = Lab()
    lab.register(BROWSER, expires="100")
    lab.register(PHONE, flow=DATAGRAMS, expires="100", call_id="two", cseq=1)
    lab.register(PHONE, flow=DATAGRAMS, expires="100", now=70.0, call_id="two", cseq=2)
    lab.run_to(101.0)
    assert lab.uris() == ["sip:alice@10.0.0.7:5060"]
    lab.run_to(171.0)
    assert lab.uris() == []
    assert lab.changed == [1, 1, 1, 1]  # the refresh changed nothing


def test_a_binding_ends_with_its_connection_and_not_with_another() -> None:
    lab = Lab()
    lab.register(BROWSER)
    lab.register("<sip:z@z.invalid>", flow=OTHER_SOCKET, call_id="two")
    lab.registrar.flow_failed(SOCKET, 1.0)
    assert lab.uris() == ["sip:z@z.invalid"]
    lab.register(PHONE, flow=DATAGRAMS, call_id="three")
    lab.registrar.flow_failed(DATAGRAMS, 1.0)  # a datagram that did not get through says little
    assert len(lab.uris()) == 2


def test_a_phone_unregisters_itself_or_all() -> None:
    lab = Lab()
    lab.register(BROWSER)
    lab.register(PHONE, call_id="two")
    assert lab.register(f"{PHONE};expires=0", call_id="two", cseq=9)[1] == [f"{BROWSER};expires=600"]
    assert lab.register("*", expires="0", call_id="three")[:2] == (200, [])
    assert lab.uris() == []


@pytest.mark.parametrize(
    ("contacts", "expires", "status"),
    [
        (("*",), "", 400),
        (("*",), "100", 400),
        (("*", BROWSER), "0", 400),
        (("<tel:+5511999990000>",), "", 400),
        (("<mailto:a@b.example>",), "", 416),
        ((f"<sip:{'a' * 600}@b.invalid>",), "", 400),
    ],
)
def test_what_cannot_be_taken_changes_nothing(contacts: tuple[str, ...], expires: str, status: int) -> None:
    lab = Lab()
    lab.register(PHONE, call_id="kept")
    with pytest.raises(RemoteProtocolError) as caught:
        lab.register(*contacts, expires=expires)
    assert caught.value.status == status
    assert lab.uris() == ["sip:alice@10.0.0.7:5060"]


def test_an_older_request_that_comes_late_changes_nothing() -> None:
    lab = Lab()
    lab.register(BROWSER, cseq=5)
    for contacts, expires in (((f"{BROWSER};expires=0",), ""), (("*",), "0")):
        with pytest.raises(RemoteProtocolError) as caught:
            lab.register(*contacts, expires=expires, cseq=5)
        assert caught.value.status == 500
    assert len(lab.uris()) == 1


def test_nobody_registers_for_another() -> None:
    lab = Lab()
    with pytest.raises(RemoteProtocolError) as caught:
        lab.register(BROWSER, to="sip:bob@ponte.example")
    assert caught.value.status == 404


def test_only_so_many_phones_register_and_those_that_did_may_refresh() -> None:
    lab = Lab()
    for n in range(3):
        assert lab.register(f"<sip:p{n}@x.invalid>", call_id=str(n))[0] == 200
    assert lab.register("<sip:p3@x.invalid>", call_id="3")[0] == 403
    assert lab.register("<sip:p2@x.invalid>", call_id="2", cseq=9)[0] == 200
    assert len(lab.uris()) == 3


def test_the_same_phone_by_another_connection_replaces_itself() -> None:
    lab = Lab()
    instance = ';+sip.instance="<urn:uuid:11>";reg-id=1'
    lab.register(f"<sip:old@x.invalid>{instance}")
    lab.register(f"<sip:new@y.invalid>{instance}", flow=OTHER_SOCKET, call_id="two")
    assert lab.uris() == ["sip:new@y.invalid"]


def test_the_same_contact_by_another_way_is_a_change() -> None:
    lab = Lab()
    lab.register(BROWSER)
    lab.register(BROWSER, flow=OTHER_SOCKET, cseq=2)
    assert lab.registrar.bindings(1)[0].flow is OTHER_SOCKET
    assert lab.changed == [1, 1]


# through the agent: who may register


def register_text(*headers: str, user: str = "pbx", branch: str = "z9hG4bKr1", cseq: int = 1) -> str:
    return request_text(
        "REGISTER", uri=f"sip:{user}@192.0.2.10:5080", branch=branch, call_id="reg", cseq=cseq,
        contact="<sip:pbx@a.invalid;transport=ws>", headers=headers,
    )  # fmt: skip


def registered(one: AgentLab, *, flow: Flow = WEBSOCKET, cseq: int = 2, **wrong: str) -> int:
    """Register in two steps; return the last status."""
    user = wrong.pop("to", "pbx")
    one.feed(register_text(user=user, branch=f"z9hG4bKx{cseq}", cseq=cseq - 1), flow)
    challenge = one.response().header("WWW-Authenticate") or ""
    answer = authorization(challenge, method="REGISTER", uri="sip:192.0.2.10", **wrong)  # type: ignore[arg-type]
    one.feed(register_text(answer, user=user, branch=f"z9hG4bKy{cseq}", cseq=cseq), flow)
    return one.response().status


def test_a_phone_registers_with_the_accounts_password() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    assert registered(one) == 200
    assert [binding.flow for binding in one.agent.phones(1)] == [WEBSOCKET]
    assert PhonesChanged(1) in one.told


@pytest.mark.parametrize("wrong", [{"password": "falsch"}, {"user": "nobody"}, {"method": "INVITE"}])
def test_no_phone_registers_without(wrong: dict[str, str]) -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    one.feed(register_text(), WEBSOCKET)
    challenge = one.response().header("WWW-Authenticate") or ""
    values = {"method": "REGISTER", "uri": "sip:192.0.2.10", **wrong}
    one.feed(register_text(authorization(challenge, **values), branch="z9hG4bKr2", cseq=2), WEBSOCKET)  # type: ignore[arg-type]
    assert one.response().status == 401
    assert one.agent.phones(1) == []


def test_an_address_alone_registers_nobody() -> None:
    one = lab()
    one.agent.set_endpoint(trusted())
    one.feed(register_text())
    assert one.response().status == 405
    assert one.agent.phones(1) == []


def test_a_phone_of_another_name_is_not_found() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    assert registered(one, to="other") == 404
    assert one.agent.phones(1) == []


def test_a_repeated_request_gets_the_same_answer() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    one.feed(register_text())
    answer = authorization(one.response().header("WWW-Authenticate") or "", method="REGISTER", uri="sip:192.0.2.10")
    for _ in range(2):
        one.feed(register_text(answer, branch="z9hG4bKr2", cseq=2))
        assert one.response().status == 200
    assert len(one.agent.phones(1)) == 1


@pytest.mark.parametrize("ends", [False, True], ids=["another password", "the account's end"])
def test_phones_are_forgotten_with_what_let_them_in(ends: bool) -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    assert registered(one) == 200
    one.agent.set_endpoint(protected(available=False))
    assert len(one.agent.phones(1)) == 1
    if ends:
        one.agent.remove_endpoint(1, one.now)
    else:
        one.agent.set_endpoint(protected(listen_secret="neu"))
    assert one.agent.phones(1) == []


def test_a_closed_connection_forgets_its_phone() -> None:
    one = lab()
    one.agent.set_endpoint(protected())
    registered(one)
    one.agent.flow_failed(WEBSOCKET, one.now)
    assert one.agent.phones(1) == []
