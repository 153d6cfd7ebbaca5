"""`/call` over ASGI, on a real store, with a fake behind our own `Accounts` and `Control` protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from gateway.api.app import create_app
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import CallSummary
from gateway.domain.errors import PonteError
from gateway.domain.hops import CallPath, Hop, Reading
from gateway.domain.ids import CallId
from gateway.domain.offer import CallNotPossible, parse_extension
from gateway.domain.recording import RecordingFailed, RecordingUnavailable
from gateway.domain.states import CallState, Direction, Origin
from gateway.store.calls import CallRecord
from tests.integration.api.conftest import Api
from tests.integration.api.fakes import FakeControl
from tests.integration.api.test_bridge_api import faults
from tests.integration.api.test_calls_api import QUALITY, RECORDING

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACTIONS = ("hangup", "reject", "hold", "resume", "mute", "dtmf", "transfer", "record")
BODIES: dict[str, dict[str, Any]] = {"dtmf": {"digits": "1a#"}, "transfer": {"extension": "6002"}}


@pytest.fixture
async def control(api: Api) -> FakeControl:
    """A call in progress, c1, and its handle."""
    control = api.accounts.controls[CallId("c1")] = FakeControl()
    api.accounts.calls = (
        CallSummary(
            CallId("c1"), Direction.WHATSAPP_TO_SIP, CallState.ACTIVE, "5511987654321", START, START, ringing_at=START,
            origin=Origin.WHATSAPP, peer_name="Ana", sip_user="6001", sip_name="Desk", held=True,
            transfer=("6002", "trying"), quality=QUALITY, recording=RECORDING,
            path=CallPath(
                (Reading(Hop.PAGE_SPEAKER, 4000, -20.0), Reading(Hop.PAGE_TO_GATEWAY, 0, None, 1.5)),
                (Reading(Hop.PHONE_TO_GATEWAY, 50, -90.0),),
            ),
        ),
    )  # fmt: skip
    await api.store.configs.save(api.account, BridgeConfig(enabled=True, sip_server="pbx.example.com:5070"))
    return control


async def test_a_call_in_progress(api: Api, control: FakeControl) -> None:
    [listed] = (await api.client.get("/call")).json()["calls"]
    assert listed == (await api.client.get("/call/c1")).json() == {
        "id": "c1", "direction": "whatsapp_to_sip", "origin": "whatsapp", "state": "ACTIVE",
        "whatsapp": {"number": "5511987654321", "name": "Ana"}, "sip": {"user": "6001", "name": "Desk"},
        "created_at": "2026-11-23T12:00:00.000Z", "ringing_at": "2026-11-23T12:00:00.000Z",
        "answered_at": "2026-11-23T12:00:00.000Z", "ended_at": None, "held": True, "muted": False,
        "transfer": {"extension": "6002", "state": "trying"}, "quality": QUALITY,
            "recording": RECORDING, "ending": None,
            "path": {
                "wa_to_sip": [
                    {"hop": "page_speaker", "packets": 4000, "level_dbfs": -20.0, "silent": False, "delay_ms": None},
                    {"hop": "page_to_gateway", "packets": 0, "level_dbfs": None, "silent": None, "delay_ms": 1.5},
                ],
                "sip_to_wa": [
                    {"hop": "phone_to_gateway", "packets": 50, "level_dbfs": -90.0, "silent": True, "delay_ms": None},
                ],
                "broken": ["page_to_gateway"],
                "why": ["the page's sound does not come over WebRTC to Ponte"],
            },
    }  # fmt: skip


async def test_a_call_that_is_over_has_the_same_form(api: Api, control: FakeControl) -> None:
    ended = CallRecord(
        CallId("c0"), api.account, Direction.SIP_TO_WHATSAPP, CallState.ENDED, START, ended_at=START,
        result="upstream_error", reason="busy", sip_status=486, q850_cause=17,
    )  # fmt: skip
    await api.store.calls.save(ended)
    view = (await api.client.get("/call/c0")).json()
    assert set(view) == set((await api.client.get("/call/c1")).json())
    assert (view["state"], view["ending"]["reason"]) == ("ENDED", "busy")


@pytest.mark.parametrize(
    ("action", "body", "told"),
    [
        ("hangup", None, ("hangup",)),
        ("hangup", {}, ("hangup",)),
        ("reject", None, ("reject",)),
        ("hold", None, ("hold", True)),
        ("resume", None, ("hold", False)),
        ("mute", None, ("mute", True)),
        ("mute", {"muted": False}, ("mute", False)),
        ("dtmf", {"digits": "12a#"}, ("dtmf", "12A#", 160)),
        ("dtmf", {"digits": "1", "duration_ms": 50}, ("dtmf", "1", 50)),
        ("transfer", {"extension": "60#2"}, ("transfer", "60#2", "sip:60%232@pbx.example.com:5070")),
        ("transfer", {"extension": "sip:6002@PBX.example.com"}, ("transfer", "6002", "sip:6002@pbx.example.com:5070")),
    ],
)
async def test_what_people_do(
    api: Api, control: FakeControl, action: str, body: dict[str, Any] | None, told: tuple[object, ...]
) -> None:
    answer = (
        await api.client.post(f"/call/c1/{action}", json=body)
        if body is not None
        else await api.client.post(f"/call/c1/{action}")
    )
    assert answer.status_code == (202 if action in {"dtmf", "transfer"} else 200), answer.text
    assert control.told == [told]
    assert answer.json() == {"taken": len(told[1])} if action == "dtmf" else answer.json()["id"] == "c1"  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ACTIONS)
async def test_wrong_ids_states_and_bodies(api: Api, control: FakeControl, action: str) -> None:
    good = BODIES.get(action, {})
    _, other = await api.store.keys.create("other")
    await api.store.calls.save(
        CallRecord(CallId("c0"), api.account, Direction.SIP_TO_WHATSAPP, CallState.ENDED, START, ended_at=START)
    )
    for call_id in ("nope", "%00", "x" * 65, "a b"):
        missing = await api.client.post(f"/call/{call_id}/{action}", json=good)
        assert (missing.status_code, missing.json()["code"]) == (404, "call_not_found")
    api.accounts.controls.clear()
    foreign = await api.client.post(f"/call/c0/{action}", json=good, headers={"Authorization": f"Bearer {other}"})
    assert foreign.status_code == 404
    over = await api.client.post(f"/call/c0/{action}", json=good)
    assert (over.status_code, over.json()["code"]) == (409, "wrong_state")
    assert (over.json()["call_id"], over.json()["state"]) == ("c0", "ENDED")
    api.accounts.controls[CallId("c1")] = control
    control.wrong_state = CallState.RINGING
    wrong = await api.client.post(f"/call/c1/{action}", json=good)
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["state"]) == (409, "wrong_state", "RINGING")
    assert "not a field" in faults(await api.client.post(f"/call/c1/{action}", json=good | {"x": 1}))["x"]
    assert "body" in faults(await api.client.post(f"/call/c1/{action}", content=b"[]"))
    assert control.told == []


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        ("mute", {"muted": "yes"}, "muted"),
        ("record", {"recording": 1}, "recording"),
        ("dtmf", {}, "digits"),
        ("dtmf", {"digits": ""}, "digits"),
        ("dtmf", {"digits": "12E"}, "digits"),
        ("dtmf", {"digits": "1" * 65}, "digits"),
        ("dtmf", {"digits": 12}, "digits"),
        ("dtmf", {"digits": "1", "duration_ms": 5}, "duration_ms"),
        ("dtmf", {"digits": "1", "duration_ms": "160"}, "duration_ms"),
        ("transfer", {}, "extension"),
        ("transfer", {"extension": ""}, "extension"),
        ("transfer", {"extension": "60 01"}, "extension"),
        ("transfer", {"extension": "6001;x=y"}, "extension"),
        ("transfer", {"extension": "sip:6001@evil.example.com"}, "extension"),
        ("transfer", {"extension": "tel:+5511987654321"}, "extension"),
    ],
)
async def test_bad_bodies(api: Api, control: FakeControl, action: str, body: dict[str, Any], field: str) -> None:
    assert set(faults(await api.client.post(f"/call/c1/{action}", json=body))) == {field}
    assert control.told == []


@pytest.mark.parametrize(
    "why", [RecordingUnavailable("Recording is switched off"), RecordingFailed("There is no room for more")]
)
async def test_why_a_call_is_not_recorded(api: Api, control: FakeControl, why: PonteError) -> None:
    control.refuse_record = why
    answer = await api.client.post("/call/c1/record")
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (409, why.code, str(why))
    assert (answer.json()["call_id"], answer.json()["state"]) == ("c1", "ACTIVE")


async def test_recording_is_begun_and_stopped(api: Api, control: FakeControl) -> None:
    for body in ({}, {"recording": True}, {"recording": False}):
        assert (await api.client.post("/call/c1/record", json=body)).status_code == 200
    assert control.told == [("record", True), ("record", True), ("record", False)]


async def test_an_offer(api: Api) -> None:
    answer = await api.client.post("/call/offer", json={"number": "+5511987654321", "extension": "6001"})
    assert answer.status_code == 202
    [(account, offer)] = api.accounts.offers
    assert (account, offer.number, offer.extension) == (api.account, "5511987654321", "6001")
    assert answer.headers["location"] == f"/call/{offer.call_id}"
    assert (answer.json()["id"], answer.json()["origin"]) == (offer.call_id, "api")


async def test_an_offer_with_a_key_is_made_once(api: Api) -> None:
    key = {"Idempotency-Key": "order-17"}
    body = {"number": "+5511987654321"}
    first = await api.client.post("/call/offer", json=body, headers=key)
    again = await api.client.post("/call/offer", json={"number": "5511987654321"}, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(api.accounts.offers) == 1
    other = await api.client.post("/call/offer", json={"number": "4915112345678"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert other.json()["call_id"] == first.json()["id"]
    # the key is the account's own
    _, stranger = await api.store.keys.create("other")
    await api.client.post("/call/offer", json=body, headers=key | {"Authorization": f"Bearer {stranger}"})
    assert len(api.accounts.offers) == 2


async def test_an_offer_that_was_refused_leaves_its_key_free(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    api.accounts.refuse_offer = CallNotPossible("line_busy", "The account is already in a call", "ACTIVE", 30)
    busy = await api.client.post("/call/offer", json={"number": "5511987654321"}, headers=key)
    assert (busy.status_code, busy.json()["code"], busy.json()["state"]) == (409, "line_busy", "ACTIVE")
    assert busy.headers["retry-after"] == "30"
    api.accounts.refuse_offer = None
    assert (await api.client.post("/call/offer", json={"number": "5511987654321"}, headers=key)).status_code == 202
    assert len(api.accounts.offers) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"number"}),
        ({"number": 5511987654321, "extension": 6001, "from": "x"}, {"number", "extension", "from"}),
        ({"number": "11 98765-4321"}, {"number"}),
        ({"number": "+5511987654321", "extension": "a@b"}, {"extension"}),
        ({"number": "1" * 16}, {"number"}),
    ],
)
async def test_a_bad_offer(api: Api, body: dict[str, Any], fields: set[str]) -> None:
    assert set(faults(await api.client.post("/call/offer", json=body))) == fields
    bad_key = await api.client.post(
        "/call/offer", json={"number": "5511987654321"}, headers={"Idempotency-Key": "x" * 256}
    )
    assert set(faults(bad_key)) == {"Idempotency-Key"}
    assert api.accounts.offers == []


@pytest.fixture
async def limited(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(replace(api.deps, requests_per_s=0.01, offers_per_min=0.01))
    app.state.limits.requests._burst = 4
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://gateway", headers={"Authorization": f"Bearer {api.key}"}
    ) as client:
        yield client


async def test_too_many_requests(api: Api, limited: httpx2.AsyncClient) -> None:
    for _ in range(4):
        assert (await limited.get("/call")).status_code == 200
    answer = await limited.get("/call")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 90 <= int(answer.headers["retry-after"]) <= 100
    _, other = await api.store.keys.create("other")
    assert (await limited.get("/call", headers={"Authorization": f"Bearer {other}"})).status_code == 200


async def test_too_many_offers(api: Api, limited: httpx2.AsyncClient) -> None:
    assert (await limited.post("/call/offer", json={"number": "5511987654321"})).status_code == 202
    answer = await limited.post("/call/offer", json={"number": "5511987654321"})
    assert (answer.status_code, len(api.accounts.offers)) == (429, 1)


async def test_too_many_wrong_keys(api: Api) -> None:
    wrong = {"Authorization": "Bearer nope"}
    statuses = [(await api.client.get("/call", headers=wrong)).status_code for _ in range(25)]
    assert statuses[:20] == [401] * 20
    assert statuses[-1] == 429
    assert (await api.client.get("/call")).status_code == 200  # the right one is not held up


def test_extensions_and_addresses() -> None:
    assert parse_extension("6001", None) == "6001"
    assert parse_extension("sips:6001@[::1]:5062", "[::1]:5060;transport=tls") == "6001"
    assert parse_extension("sip:6001@pbx", "PBX.") == "6001"
