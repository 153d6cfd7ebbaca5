"""Each event's schema, and whose data it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.domain.states import CallState, Direction, Origin
from gateway.events.hub import event_id, parse_event_id
from gateway.events.models import EVENTS, CallStateChanged, PageStateChanged

pytestmark = pytest.mark.unit

WANTED = (
    "call.incoming call.state call.ended call.recording page.state session.qr registration.state audio.one_way "
    "account.state"
)


def test_every_type_of_the_contract() -> None:
    assert " ".join(EVENTS) == WANTED


def test_events_of_a_call_know_whose_data_they_are() -> None:
    event = CallStateChanged(
        call_id="c", direction=Direction.SIP_TO_WHATSAPP, origin=Origin.API, whatsapp_number="5511987654321",
        whatsapp_name=None, sip_user="6001", state=CallState.RINGING,
    )  # fmt: skip
    assert event.number == "5511987654321"
    assert event.model_dump(mode="json")["state"] == "RINGING"
    assert PageStateChanged(state="READY", detail="").number is None


@pytest.mark.parametrize("text", ["", "evt_", "evt_x", "17", "evt_-1", "evt_17 ", "evt_" + "9" * 19, "evt_٣"])
def test_what_is_no_id(text: str) -> None:
    assert parse_event_id(text) is None
    assert parse_event_id(event_id(17)) == 17


def test_the_documentation_is_that_of_the_models() -> None:
    from tests.support.event_docs import documented

    text = Path("docs/events.md").read_text(encoding="utf-8")
    assert documented(text) == text, "run: python -m tests.support.event_docs"
