"""Calls that were sent on to us."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.diversion import Diverted, diversions
from gateway.protocol.sip.events import Reason, q850_cause
from gateway.protocol.sip.message import IncomingRequest, parse_message
from tests.support.sip_lab import request_text

pytestmark = pytest.mark.unit

HISTORY = "History-Info: <sip:100@pbx>;index=1, "


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ()),
        (["Diversion: <sip:100@pbx>;reason=user-busy;counter=1"], (Diverted("100", "user-busy"),)),
        (
            ['Diversion: "Desk" <sip:101@pbx>;reason="no-answer", <tel:+5511;x>', "Diversion: <sip:102@pbx>"],
            (Diverted("101", "no-answer"), Diverted("+5511"), Diverted("102")),
        ),
        (["Diversion: <sip:100@pbx>;privacy=full", "Diversion: <sip:101@pbx>;privacy=off"], (Diverted("101"),)),
        (['Diversion: <sip:100@pbx>;reason="a b"'], (Diverted("100"),)),
        (["Diversion: <sip:100@["], ()),
        ([HISTORY + "<sip:200@pbx;cause=486>;index=1.1"], (Diverted("100", "user-busy"),)),
        (
            [
                "History-Info: <sip:100@pbx?Reason=SIP%3Bcause%3D302>;index=1",
                "History-Info: <sip:200@pbx?Reason=SIP%3Bcause%3D408>;index=1.1;mp=1",
                "History-Info: <sip:300@pbx>;index=1.1.1;mp=1.1",
            ],
            (Diverted("200", "no-answer"), Diverted("100", "unconditional")),
        ),
        ([HISTORY + "<sip:200@pbx>;index=1.1;mp=1"], (Diverted("100"),)),
        ([HISTORY + "<sip:100@192.0.2.1>;index=1.1;rc=1"], ()),  # only routed
        (["History-Info: <sip:100@pbx?Privacy=history&Reason=SIP%3Bcause%3D302>;index=1, <sip:2@pbx>;index=1.1"], ()),
        ([HISTORY + "<sip:200@pbx;cause=599>;index=1.1"], (Diverted("100", "unknown"),)),
        (["History-Info: <sip:100@pbx>;index=1"], ()),
        ([f"Diversion: {', '.join(['<sip:1@pbx>'] * 21)}"], ()),
    ],
)
def test_where_a_call_was_sent_on_from(headers: list[str], expected: tuple[Diverted, ...]) -> None:
    request = parse_message(request_text(headers=headers).encode())
    assert isinstance(request, IncomingRequest)
    assert diversions(request) == expected


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (None, None), (Reason("Q.850", 17), 17), (Reason("q.850", 21), 21), (Reason("SIP", 486), None),
        (Reason("Q.850", 0), None), (Reason("Q.850", 128), None),
    ],
)  # fmt: skip
def test_the_cause_that_a_reason_tells(reason: Reason | None, cause: int | None) -> None:
    assert q850_cause(reason) == cause
