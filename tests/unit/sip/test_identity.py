"""Who calls, as our INVITE says it and as we read it."""

from __future__ import annotations

import pytest

from gateway.domain.numbers import CallerIdentity
from gateway.protocol.sip.events import ANONYMOUS, Caller
from tests.support.sip_lab import OFFER, lab, request_text, trusted

pytestmark = pytest.mark.unit

ASSERTED = ("P-Asserted-Identity", '"Ana" <sip:5511999990000@pbx.test>')


@pytest.mark.parametrize(
    ("identity", "from_", "headers"),
    [
        (CallerIdentity.ASSERTED, '"Ana" <sip:5511999990000@pbx.test>', [ASSERTED]),
        (CallerIdentity.PLAIN, '"Ana" <sip:5511999990000@pbx.test>', []),
        (CallerIdentity.PRIVATE, '"Anonymous" <sip:anonymous@anonymous.invalid>', [ASSERTED, ("Privacy", "id")]),
    ],
)
def test_a_caller(identity: CallerIdentity, from_: str, headers: list[tuple[str, str]]) -> None:
    assert Caller("5511999990000", "Ana", identity).headers("gw", "pbx.test") == (from_, headers)


@pytest.mark.parametrize("identity", list(CallerIdentity))
def test_nothing_is_asserted_of_a_caller_who_is_not_known(identity: CallerIdentity) -> None:
    assert Caller(ANONYMOUS, "Ana", identity).headers("gw", "pbx.test") == (
        '"Ana" <sip:anonymous@anonymous.invalid>', []
    )  # fmt: skip


@pytest.mark.parametrize("identity", list(CallerIdentity))
def test_the_account_calls_by_its_own_name(identity: CallerIdentity) -> None:
    assert Caller(identity=identity).headers("gw", "pbx.test") == ("<sip:gw@pbx.test>", [])
    assert Caller(identity=identity).headers("", "pbx.test") == ("<sip:anonymous@pbx.test>", [])


@pytest.mark.parametrize(
    ("privacy", "expected"),
    [
        ("none", ("1000", "")), ("id", ("", "")), ("header;id", ("", "")), ("user", ("", "")), ("Header", ("", "")),
        ("critical", ("1000", "")), ("session", ("1000", "")), (";;,", ("1000", "")),
    ],
)  # fmt: skip
def test_a_caller_who_asks_for_privacy_is_not_known(privacy: str, expected: tuple[str, str]) -> None:
    pbx = lab()
    pbx.agent.set_endpoint(trusted())
    headers = [f"Privacy: {privacy}", "P-Asserted-Identity: <sip:1000@192.0.2.20>"]
    pbx.feed(request_text(body=OFFER, headers=headers, from_="<sip:anonymous@anonymous.invalid>"))
    assert pbx.new_call().caller == expected
