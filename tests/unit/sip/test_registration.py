"""Registering on a virtual clock."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.registration import Registration, RegistrationConfig, RegistrationState
from tests.support.sip_lab import PBX, TCP, UDP, Lab, credentials, lab, response_text

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
