"""`/calls` over ASGI, on a real store."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from gateway.domain.bridge_status import CallSummary
from gateway.domain.ids import CallId
from gateway.domain.states import CallState, Direction, Origin
from gateway.domain.trace import Lane, Trace, TraceEntry, TraceKind
from gateway.store.calls import CallRecord, merge_record
from gateway.store.traces import merge_trace
from tests.integration.api.conftest import Api
from tests.integration.api.test_bridge_api import faults

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DIRECTION = {
    "packets": 500, "lost": 1, "jitter_ms": 0.5, "dropped": 0, "keys": 0, "mos": 4.4, "r": 92.8, "scale": "narrow",
    "loss_percent": 0.2, "burst_r": 1.0, "delay_ms": 61.5, "level_dbfs": -23.1, "concealed_ms": None,
}  # fmt: skip
QUALITY = {
    "codec": "PCMU", "wa_to_sip": DIRECTION, "sip_to_wa": DIRECTION, "round_trip_ms": None, "page_round_trip_ms": 1.5,
    "peer_lost": 0, "peer_jitter_ms": 0.0, "page_lost": 1, "page_jitter_ms": 0.3, "late_ms": 0.05,
}  # fmt: skip
RECORDING = {
    "file": "c001.opus", "format": "opus", "state": "done", "duration_s": 10.2, "bytes": 4321,
    "started_at": "2026-11-23T12:01:03.500Z", "reason": "", "detail": "",
}  # fmt: skip


def call(api: Api, number: int) -> CallRecord:
    begun = START + timedelta(minutes=number)
    return CallRecord(
        CallId(f"c{number:03}"), api.account, Direction.WHATSAPP_TO_SIP, CallState.ENDED, begun,
        answered_at=begun + timedelta(seconds=3), ended_at=begun + timedelta(seconds=13.5), result="success",
        reason="hangup", q850_cause=16, whatsapp_number="5511987654321", whatsapp_name="Zé",
        sip_user="6001", sip_name="Desk",
        ringing_at=begun + timedelta(seconds=1), origin=Origin.WHATSAPP, quality=QUALITY,
        recording=RECORDING if number == 1 else None,
    )  # fmt: skip


async def other_key(api: Api) -> dict[str, str]:
    _, key = await api.store.keys.create("other")
    return {"Authorization": f"Bearer {key}"}


async def test_a_record(api: Api) -> None:
    await api.store.calls.save(call(api, 1))
    assert (await api.client.get("/calls/c001")).json() == {
        "id": "c001",
        "direction": "whatsapp_to_sip",
        "origin": "whatsapp",
        "state": "ENDED",
        "whatsapp": {"number": "5511987654321", "name": "Zé"},
        "sip": {"user": "6001", "name": "Desk"},
        "created_at": "2026-11-23T12:01:00.000Z",
        "ringing_at": "2026-11-23T12:01:01.000Z",
        "answered_at": "2026-11-23T12:01:03.000Z",
        "ended_at": "2026-11-23T12:01:13.500Z",
        "duration_s": 10.5,
        "ending": {"result": "success", "reason": "hangup", "sip_status": None, "q850_cause": 16},
        "quality": QUALITY,
        "recording": RECORDING,
    }


async def test_a_record_that_an_earlier_version_wrote(api: Api) -> None:
    direction = {"packets": 500, "lost": 1, "jitter_ms": 0.5, "dropped": 0, "keys": 0}
    old = {
        "codec": "PCMU", "wa_to_sip": direction, "sip_to_wa": direction, "round_trip_ms": None, "peer_lost": 0,
        "peer_jitter_ms": 0.0,
    }  # fmt: skip
    await api.store.calls.save(replace(call(api, 1), quality=old))
    quality = (await api.client.get("/calls/c001")).json()["quality"]
    assert (quality["wa_to_sip"]["packets"], quality["wa_to_sip"]["mos"]) == (500, None)


async def test_a_wrong_id_and_that_of_another_account_cannot_be_told_apart(api: Api) -> None:
    await api.store.calls.save(call(api, 1))
    missing = await api.client.get("/calls/nope")
    foreign = await api.client.get("/calls/c001", headers=await other_key(api))
    for answer, name in ((missing, "nope"), (foreign, "c001")):
        body = answer.json()
        assert (answer.status_code, body["code"], body["call_id"]) == (404, "call_not_found", name)
    assert missing.json()["detail"] == foreign.json()["detail"]


async def test_pages(api: Api) -> None:
    for number in range(5):
        await api.store.calls.save(call(api, number))
    seen, cursor = [], ""
    for count in (2, 2, 1):
        page = (await api.client.get(f"/calls?limit=2{cursor}")).json()
        assert len(page["calls"]) == count
        seen += [one["id"] for one in page["calls"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert seen == ["c004", "c003", "c002", "c001", "c000"]
    assert (await api.client.get("/calls", headers=await other_key(api))).json() == {"calls": [], "next": None}


async def test_filters(api: Api) -> None:
    await api.store.calls.save(call(api, 1))
    await api.store.calls.save(replace(call(api, 2), whatsapp_number="4915112345678", answered_at=None))
    for query, found in (
        ("number=%2B5511987654321", ["c001"]),
        ("number=5511987654321", ["c001"]),
        ("answered=false", ["c002"]),
        ("answered=true&direction=whatsapp_to_sip&origin=whatsapp&state=ENDED&result=success", ["c001"]),
        ("since=2026-11-23T12:02:00Z", ["c002"]),
        ("until=2026-11-23T09:02:00-03:00", ["c001"]),
        ("reason=busy", []),
    ):
        answer = await api.client.get(f"/calls?{query}")
        assert [one["id"] for one in answer.json()["calls"]] == found, query


async def test_a_bad_query_names_every_parameter(api: Api) -> None:
    answer = await api.client.get(
        "/calls?limit=0&direction=up&since=yesterday&until=2026-11-23T09:02:00&number=abc&answered=maybe&page=2"
    )
    found = faults(answer)
    assert set(found) == {"limit", "direction", "since", "until", "number", "answered", "page"}
    assert answer.json()["code"] == "request_invalid"
    assert "not a field" in found["page"]
    for cursor in ("x", "e30", "WzEsMl0", "W10", "WyIyMDI2LTExLTIzIiwiYSJd"):
        assert "next" in faults(await api.client.get(f"/calls?cursor={cursor}"))["cursor"]
    assert "twice" in faults(await api.client.get("/calls?limit=1&limit=2"))["limit"]


async def test_csv_has_every_record_and_no_formula(api: Api) -> None:
    await api.store.calls.save(replace(call(api, 1), whatsapp_name='=HYPERLINK("http://x")', sip_user="+60\r\n01"))
    await api.store.calls.save(replace(call(api, 2), quality=None, ended_at=None, result=None, reason=None))
    answer = await api.client.get("/calls.csv?answered=true")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "calls.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["id"] for row in rows] == ["c002", "c001"]
    assert rows[1]["whatsapp_name"] == '\'=HYPERLINK("http://x")'
    assert rows[1]["sip_user"] == "'+60\r\n01"
    assert rows[1] | {"whatsapp_name": "", "sip_user": ""} == {
        "id": "c001", "direction": "whatsapp_to_sip", "origin": "whatsapp", "state": "ENDED",
        "whatsapp_number": "5511987654321", "whatsapp_name": "", "sip_user": "",
        "created_at": "2026-11-23T12:01:00.000Z", "ringing_at": "2026-11-23T12:01:01.000Z",
        "answered_at": "2026-11-23T12:01:03.000Z", "ended_at": "2026-11-23T12:01:13.500Z", "duration_s": "10.5",
        "result": "success", "reason": "hangup", "sip_status": "", "q850_cause": "16", "codec": "PCMU",
        **{
            f"{direction}_{figure}": value
            for direction in ("wa_to_sip", "sip_to_wa")
            for figure, value in {
                "packets": "500", "lost": "1", "jitter_ms": "0.5", "loss_percent": "0.2", "concealed_ms": "",
                "delay_ms": "61.5", "level_dbfs": "-23.1", "mos": "4.4", "r": "92.8", "scale": "narrow",
            }.items()
        },
        "round_trip_ms": "", "page_round_trip_ms": "1.5", "recording": "c001.opus",
    }  # fmt: skip
    assert "limit" in faults(await api.client.get("/calls.csv?limit=3"))


async def test_csv_of_more_than_one_page(api: Api) -> None:
    for number in range(501):
        api.store.journal.add(partial(merge_record, record=call(api, number)))
    assert await api.store.journal.flush(20)
    rows = list(csv.DictReader(io.StringIO((await api.client.get("/calls.csv")).text)))
    assert [row["id"] for row in rows] == [f"c{number:03}" for number in reversed(range(501))]


async def test_one_persons_data_is_deleted(api: Api) -> None:
    await api.store.calls.save(call(api, 1))
    await api.store.calls.save(replace(call(api, 2), whatsapp_number="4915112345678"))
    wrong = faults(await api.client.post("/calls/erase", json={"number": 5511987654321, "all": True}))
    assert set(wrong) == {"number", "all"}
    assert faults(await api.client.post("/calls/erase", json={})) == {"number": "is required"}
    assert "pattern" in faults(await api.client.post("/calls/erase", json={"number": "0' OR 1"}))["number"]
    answer = await api.client.post("/calls/erase", json={"number": "+5511987654321"})
    assert (answer.status_code, answer.json()["calls"]) == (200, 1)
    assert [one["id"] for one in (await api.client.get("/calls")).json()["calls"]] == ["c002"]


async def test_who_is_in_a_call_cannot_be_erased_yet(api: Api) -> None:
    api.accounts.calls = (
        CallSummary(CallId("c9"), Direction.SIP_TO_WHATSAPP, CallState.ACTIVE, "5511987654321", START),
    )
    answer = await api.client.post("/calls/erase", json={"number": "5511987654321"})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "call_in_progress")
    assert (body["call_id"], body["state"]) == ("c9", "ACTIVE")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/calls"), ("GET", "/calls.csv"), ("GET", "/calls/c001"), ("POST", "/calls/erase")],
)
async def test_without_a_key(api: Api, method: str, path: str) -> None:
    answer = await api.client.request(method, path, headers={"Authorization": "Bearer nope"}, content=b"{}")
    assert answer.status_code == 401


async def test_the_time_line_of_a_call(api: Api) -> None:
    entries = (
        TraceEntry(0, Lane.PBX, Lane.PONTE, TraceKind.SIP, "INVITE", "SDP", "1"),
        TraceEntry(20, Lane.PONTE, Lane.PAGE, TraceKind.PAGE, "dial"),
        TraceEntry(21, Lane.PONTE, Lane.PONTE, TraceKind.CALL, "CONNECTING"),
    )
    api.accounts.traces[CallId("live")] = Trace(START, entries)
    told = (await api.client.get("/calls/live/trace")).json()
    shown = {
        "started_at": "2026-11-23T12:00:00.000Z", "truncated": False,
        "entries": [
            {"at_ms": 0, "from": "pbx", "to": "ponte", "kind": "sip", "text": "INVITE", "detail": "SDP", "leg": "1"},
            {"at_ms": 20, "from": "ponte", "to": "page", "kind": "page", "text": "dial", "detail": "", "leg": ""},
            {"at_ms": 21, "from": "ponte", "to": "ponte", "kind": "call", "text": "CONNECTING", "detail": "",
             "leg": ""},
        ],
    }  # fmt: skip
    assert told == {"call_id": "live", **shown}
    # one that is over, whose time line is being written
    api.store.journal.add(partial(merge_record, record=call(api, 1)))
    api.store.journal.add(partial(merge_trace, call=CallId("c001"), trace=Trace(START, entries)))
    assert (await api.client.get("/calls/c001/trace")).json() == {"call_id": "c001", **shown}
    # one that left none: its gateway was killed, or was an older one
    await api.store.calls.save(call(api, 2))
    assert (await api.client.get("/calls/c002/trace")).json() == {
        "call_id": "c002", "started_at": "2026-11-23T12:02:00.000Z", "truncated": True, "entries": [],
    }  # fmt: skip
    for wrong, headers in (("nothing", {}), ("c001", await other_key(api)), ("x" * 65, {})):
        answer = await api.client.get(f"/calls/{wrong}/trace", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "call_not_found")
    assert (await api.client.get("/calls/c001/trace", headers={"Authorization": "Bearer x"})).status_code == 401
