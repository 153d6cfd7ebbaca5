"""Registering on a virtual clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.outbound import Granted, Instance
from gateway.protocol.sip.registration import Registration, RegistrationConfig, RegistrationState
from gateway.protocol.sip.uac import InviteSpec
from tests.support.sip_lab import (
    OFFER,
    PBX,
    TCP,
    UDP,
    Lab,
    authorization,
    credentials,
    lab,
    request_text,
    response_text,
    trusted,
)  # fmt: skip

pytestmark = pytest.mark.unit

CONFIG = RegistrationConfig("sip:pbx.test", "sip:gw@pbx.test", "gw", expires_s=300)
CHALLENGE = 'WWW-Authenticate: Digest realm="pbx", nonce="n1", qop="auth", algorithm=MD5'
MINE = "<sip:gw@192.0.2.10:5080>"


def started(
    flow: Flow | None = UDP, config: RegistrationConfig = CONFIG, jitter: float = 0.5
) -> tuple[Lab, Registration]:
    one = lab(jitter=jitter)
    registration = one.agent.registration(config, credentials("gw", "pw"), lambda attempt: flow)
    assert registration.idle
    registration.start(one.now)
    one.drain()
    return one, registration


def registered(flow: Flow = UDP, **answer: object) -> tuple[Lab, Registration]:
    one, registration = started(flow)
    one.feed(response_text(one.request(), 200, contact=f"{MINE};expires=120", **answer))  # type: ignore[arg-type]
    assert registration.status.state is RegistrationState.REGISTERED
    return one, registration


def test_register_with_digest_and_refresh() -> None:
    one, registration = started()
    first = one.request()
    assert (first.method, first.uri.raw, first.to.raw) == ("REGISTER", "sip:pbx.test", "<sip:gw@pbx.test>")
    assert first.header("Contact") == f"{MINE};expires=300"
    assert first.header("Expires") == "300"
    assert registration.status.state == "trying"
    one.feed(response_text(first, 401, headers=[CHALLENGE]))
    again = one.request()
    assert (again.cseq, again.call_id) == (2, first.call_id)
    one.feed(
        response_text(
            again, 200, contact=f"<sip:gw@10.9.9.9:5060>;expires=9, {MINE};expires=120", headers=["Expires: 7"]
        )
    )
    assert registration.status.state == "registered"
    assert (registration.status.expires_s, registration.status.next_try_s) == (120, 84.0)
    one.run(83)
    assert one.take() == []
    one.run(1.2)
    refresh = one.request()
    assert refresh.cseq == 3
    assert "nc=00000002" in (refresh.header("Authorization") or "")  # no second challenge is needed
    one.feed(response_text(refresh, 401, headers=[CHALLENGE.replace("n1", "n2")]))
    again = one.request()
    assert 'nonce="n2"' in (again.header("Authorization") or "")


@pytest.mark.parametrize(
    ("contact", "headers", "expires_s"),
    [
        (f"{MINE};expires=60", ["Expires: 90"], 60),
        ("", ["Expires: 90"], 90),
        (MINE, ["Expires: 90"], 90),
        ("", [], 300),
        ("<sip:gw@[", [], 300),
        (f"{MINE};expires=soon", [], 300),
    ],
)
def test_granted_time(contact: str, headers: list[str], expires_s: int) -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 200, contact=contact, headers=headers))
    assert registration.status.expires_s == expires_s


def test_a_registration_dropped_at_once_has_failed() -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 200, contact=f"{MINE};expires=0"))
    assert registration.status.state is RegistrationState.FAILED


def test_wrong_password_is_refused_and_tried_again_slowly() -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 401, headers=[CHALLENGE]))
    one.feed(response_text(one.request(), 401, headers=[CHALLENGE]))
    assert registration.status.state is RegistrationState.REFUSED
    assert registration.status.next_try_s == 120.0
    assert "sipPass" in registration.status.detail
    one.run(120.2)
    assert one.request().method == "REGISTER"


@pytest.mark.parametrize(("status", "state"), [(403, "refused"), (404, "refused"), (500, "failed"), (503, "failed")])
def test_other_failures(status: int, state: str) -> None:
    one, registration = started()
    one.feed(response_text(one.request(), status))
    assert registration.status.state == state


def test_silence_backs_off_to_a_cap() -> None:
    one, registration = started()
    pauses = []
    for _ in range(9):
        one.run(32.1)
        assert registration.status.state is RegistrationState.FAILED
        pauses.append(registration.status.next_try_s)
        one.take()
        one.run(registration.status.next_try_s or 0)
    assert pauses == [2, 4, 8, 16, 32, 64, 120, 120, 120]


def test_retry_after_is_obeyed_within_reason() -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 503, headers=["Retry-After: 77 (busy);duration=5"]))
    assert registration.status.next_try_s == 77
    one, registration = started()
    one.feed(response_text(one.request(), 503, headers=["Retry-After: 99999"]))
    assert registration.status.next_try_s == 3600


def test_min_expires_is_taken_once() -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 423, headers=["Min-Expires: 600"]))
    again = one.request()
    assert again.header("Expires") == "600"
    one.feed(response_text(again, 423, headers=["Min-Expires: 700"]))
    assert registration.status.state is RegistrationState.FAILED


@pytest.mark.parametrize("header", ["Min-Expires: 10", "Min-Expires: soon", "Min-Expires: 999999", "X: y"])
def test_min_expires_that_makes_no_sense(header: str) -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 423, headers=[header]))
    assert registration.status.state is RegistrationState.FAILED


def test_unregister() -> None:
    one, registration = registered()
    registration.stop(one.now, "Withdrawn")
    one.drain()
    gone = one.request()
    assert gone.header("Contact") == f"{MINE};expires=0"
    assert (registration.status.state, registration.status.detail) == ("disabled", "Withdrawn")
    assert not registration.idle
    one.feed(response_text(gone, 401, headers=[CHALLENGE]))
    one.feed(response_text(one.request(), 200))
    assert registration.idle
    one.run(1000)
    assert one.take() == []
    registration.refresh(one.now)
    one.drain()
    assert one.take() == []


def test_stopped_while_on_its_way() -> None:
    one, registration = started()
    first = one.request()
    registration.stop(one.now, "x")
    one.drain()
    gone = one.request()
    assert gone.header("Expires") == "0"
    one.feed(response_text(first, 200, contact=f"{MINE};expires=120"))
    assert registration.status.state is RegistrationState.DISABLED
    one.run(33)
    assert registration.idle  # nobody answered; that is all that can be done


def test_started_twice() -> None:
    one, registration = registered()
    assert registration.bound == UDP
    registration.start(one.now)
    one.drain()
    assert one.take() == []


def test_stopped_while_waiting() -> None:
    one, registration = started(None)
    assert registration.status.state is RegistrationState.FAILED
    registration.stop(one.now, "x")
    assert registration.idle
    one.agent.forget_registration(registration)
    one.agent.forget_registration(registration)


def test_started_again_while_the_unregistration_is_open() -> None:
    one, registration = registered()
    registration.stop(one.now, "x")
    one.drain()
    gone = one.request()
    registration.start(one.now)
    one.drain()
    again = one.request()
    assert again.header("Expires") == "300"
    one.feed(response_text(gone, 200))
    one.feed(response_text(again, 200, contact=f"{MINE};expires=120"))
    assert registration.status.state is RegistrationState.REGISTERED
    one.run(84.2)
    assert isinstance(one.one(), IncomingRequest)


def test_lost_connection_registers_again() -> None:
    one, registration = registered(TCP)
    one.agent.flow_failed(UDP, one.now)
    one.drain()
    assert one.take() == []
    one.agent.flow_failed(TCP, one.now)
    one.drain()
    assert one.request().method == "REGISTER"
    one.agent.flow_failed(TCP, one.now)
    one.drain()
    assert registration.status.state is RegistrationState.FAILED
    assert "reached" in registration.status.detail


def test_another_address_is_tried_after_a_failure() -> None:
    one = lab()
    flows = [UDP, Flow("udp", 1, UDP.local, ("192.0.2.21", PBX[1]))]
    registration = one.agent.registration(CONFIG, credentials("gw", "pw"), lambda attempt: flows[attempt % 2])
    registration.start(one.now)
    one.run(40)
    assert {flow.remote[0] for flow, _, _ in one.sent} == {"192.0.2.20", "192.0.2.21"}


URN = "urn:uuid:7e6a4d2c-0000-5000-8000-000000000001"
OUTBOUND = replace(CONFIG, instance=Instance(URN, gruu=True))


def kept(one: Lab, registration: Registration, flow: Flow, *headers: str, params: str = "") -> IncomingRequest:
    """Answer a REGISTER of an instance with 200; the request."""
    request = one.request()
    contact = f'<sip:gw@192.0.2.99:1>;+sip.instance="<{URN.upper()}>";reg-id=1;expires=60{params}'
    other = '<sip:gw@192.0.2.10:5080>;+sip.instance="<urn:uuid:other>";expires=9'
    one.feed(response_text(request, 200, contact=f"{other}, {contact}", headers=headers), flow)
    return request


@pytest.mark.parametrize(
    ("flow", "supported", "contact"),
    [
        (UDP, "path, gruu", f'<sip:gw@192.0.2.10:5080>;+sip.instance="<{URN}>";expires=300'),
        (
            TCP, "path, gruu, outbound",
            f'<sip:gw@192.0.2.10:5080;transport=tcp>;+sip.instance="<{URN}>";reg-id=1;expires=300',
        ),
    ],
)  # fmt: skip
def test_the_instance_and_its_flow(flow: Flow, supported: str, contact: str) -> None:
    one, registration = started(flow, OUTBOUND)
    request = kept(one, registration, flow, "Require: outbound", "Flow-Timer: 100")
    assert (request.header("Supported"), request.header("Contact")) == (supported, contact)
    assert registration.status.expires_s == 60  # of our own Contact, known by its instance behind whatever address
    assert registration.binding.outbound is (flow is TCP)
    assert registration.binding.flow_timer_s == 100
    registration.stop(one.now, "off")
    one.drain()
    assert "+sip.instance" in (one.request().header("Contact") or "")


def test_without_an_instance_nothing_is_said() -> None:
    one, registration = started(TCP)
    request = one.request()
    assert (request.header("Supported"), request.header("Contact")) == (
        "path", "<sip:gw@192.0.2.10:5080;transport=tcp>;expires=300"
    )  # fmt: skip
    one.feed(
        response_text(request, 200, contact=f'{MINE};pub-gruu="sip:gw@pbx.test;gr=1"', headers=["Require: outbound"])
    )
    assert registration.binding == Granted()


def test_a_first_hop_without_outbound() -> None:
    one, registration = started(TCP, OUTBOUND)
    one.feed(response_text(one.request(), 439), TCP)
    again = kept(one, registration, TCP)
    assert "reg-id" not in (again.header("Contact") or "")
    assert again.header("Supported") == "path, gruu"
    assert registration.status.state is RegistrationState.REGISTERED


@pytest.mark.parametrize(
    ("params", "gruu"),
    [
        (';pub-gruu="sip:gw@pbx.test;gr=urn:uuid:1"', "sip:gw@pbx.test;gr=urn:uuid:1"),
        (';pub-gruu="tel:1"', ""), (';pub-gruu="sip:["', ""), (";pub-gruu", ""), ("", ""),
    ],
)  # fmt: skip
def test_gruu(params: str, gruu: str) -> None:
    one, registration = started(UDP, OUTBOUND)
    kept(one, registration, UDP, params=params)
    assert registration.binding.gruu == gruu


@pytest.mark.parametrize(
    ("headers", "routes"),
    [
        (
            ["Service-Route: <sip:a;lr>, <sip:b;lr>", "Service-Route: <sip:c;lr>"],
            ("<sip:a;lr>", "<sip:b;lr>", "<sip:c;lr>"),
        ),
        (["Service-Route: <sip:a>"], ()),
        (["Service-Route: <sip:[;lr>"], ()),
        ([f"Service-Route: {', '.join(['<sip:a;lr>'] * 11)}"], ()),
        (["Path: <sip:edge;lr>"], ()),
        ([], ()),
    ],
)
def test_service_route(headers: list[str], routes: tuple[str, ...]) -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 200, contact=MINE, headers=headers))
    assert registration.binding.routes == routes


@pytest.mark.parametrize(("text", "seconds"), [("120", 120), ("1", 10), ("soon", None)])
def test_flow_timer(text: str, seconds: int | None) -> None:
    one, registration = started()
    one.feed(response_text(one.request(), 200, contact=MINE, headers=[f"Flow-Timer: {text}"]))
    assert registration.binding.flow_timer_s == seconds


def test_a_malformed_contact_in_the_answer() -> None:
    one, registration = started(UDP, OUTBOUND)
    one.feed(response_text(one.request(), 200, contact='<sip:gw@[>;pub-gruu="sip:x@y"'))
    assert registration.binding.gruu == ""
    assert registration.status.expires_s == 300


@pytest.mark.parametrize(
    ("binding", "contact"),
    [
        (Granted(gruu="sip:gw@pbx.test;gr=1", outbound=True), "<sip:gw@pbx.test;gr=1>"),
        (Granted(outbound=True), "<sip:gw@192.0.2.10:5080;ob>"),
        (Granted(routes=("<sip:a;lr>", "<sip:b;lr>")), "<sip:gw@192.0.2.10:5080>"),
    ],
)
def test_a_call_uses_what_the_registrar_said(binding: Granted, contact: str) -> None:
    one = lab()
    spec = InviteSpec("sip:100@pbx.test", "<sip:gw@pbx.test>", OFFER, contact_user="gw", binding=binding)
    session = one.agent.invite(spec, UDP, credentials(), one.now)
    one.drain()
    invite = one.request()
    assert invite.header("Contact") == contact
    assert tuple(invite.headers.getlist("Route")) == binding.routes
    one.feed(response_text(invite, 180))
    session.cancel(None, one.now)
    one.drain()
    assert tuple(one.request().headers.getlist("Route")) == binding.routes  # RFC 3261 section 9.1


@pytest.mark.parametrize(
    ("host", "contact"), [(PBX[0], "<sip:gw@pbx.test;gr=1>"), ("192.0.2.77", "<sip:gw@192.0.2.10:5080>")]
)
def test_a_call_from_the_pbx_is_answered_with_the_gruu(host: str, contact: str) -> None:
    one = lab()
    one.agent.set_endpoint(trusted(gruu="sip:gw@pbx.test;gr=1", sources=frozenset({PBX[0]})))
    if host == PBX[0]:
        one.feed(request_text(body=OFFER))
    else:  # from elsewhere the dialog must not depend on a proxy that it never passed
        one.agent.set_endpoint(
            trusted(gruu="sip:gw@pbx.test;gr=1", sources=frozenset({PBX[0]}), listen_user="u", listen_secret="s")
        )
        flow = replace(UDP, remote=(host, 5060))
        one.feed(request_text(body=OFFER), flow)
        challenge = one.response().header("WWW-Authenticate") or ""
        header = authorization(challenge, user="u", password="s")
        one.feed(request_text(body=OFFER, headers=[header], branch="z9hG4bKb2", cseq=2), flow)
    session = one.new_call()
    one.take()
    session.ringing(one.now)
    one.drain()
    assert one.response().header("Contact") == contact
