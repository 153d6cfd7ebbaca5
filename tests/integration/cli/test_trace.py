"""`ponte trace`, by the database and by a gateway that answers over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction
from gateway.domain.trace import Lane, Trace, TraceEntry, TraceKind
from gateway.store.calls import CallRecord, merge_record
from gateway.store.store import Store
from gateway.store.traces import merge_trace
from tests.integration.cli.conftest import Done
from tests.integration.cli.test_cli import serving
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
TRACE = Trace(START, (TraceEntry(0, Lane.PBX, Lane.PONTE, TraceKind.SIP, "INVITE", "SDP", "1"),))


async def filled(folder: Path) -> str:
    """Store two calls of one account, the later one without a time line, and one that runs; give its key."""
    store = await Store.open(Settings(state_dir=folder))
    try:
        key, plain = await store.keys.create("acme")

        def record(name: str, minutes: int, *, ended: bool = True) -> CallRecord:
            begun = START + timedelta(minutes=minutes)
            return CallRecord(
                CallId(name), AccountId(key.account.id), Direction.SIP_TO_WHATSAPP, CallState.ENDED, begun,
                ended_at=begun if ended else None, result="success", reason="hangup",
            )  # fmt: skip

        async with store.journal.running():
            store.journal.add(partial(merge_record, record=record("runs", -5, ended=False)))
            store.journal.add(partial(merge_record, record=record("first", 0)))
            store.journal.add(partial(merge_trace, call=CallId("first"), trace=TRACE))
            store.journal.add(partial(merge_record, record=record("last", 5)))
    finally:
        await store.close()
    return plain


def test_of_the_database(ponte: Callable[..., Done], tmp_path: Path) -> None:
    assert "no call yet" in ponte("trace", expect=1).stderr
    asyncio.run(filled(tmp_path / "state"))
    shown = ponte("trace", "first", "--width", "80", "--ascii").stdout
    assert shown.startswith("Call first, 2026-11-23T12:00:00.000+00:00\n")
    assert "INVITE (SDP) ------" in shown
    assert json.loads(ponte("trace", "first", "--json").stdout)["entries"][0]["text"] == "INVITE"
    assert "missing" in ponte("trace").stdout  # the last one left none
    assert "in progress" in ponte("trace", "runs", expect=1).stderr
    assert "no such call" in ponte("trace", "first", "--account", "other", expect=1).stderr
    assert "PONTE_API_KEY" in ponte("trace", "first", "--url", "http://127.0.0.1:1", expect=2).stderr


def test_of_a_gateway_by_http(
    ponte: Callable[..., Done], environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = asyncio.run(filled(tmp_path / "state"))
    with serving(environment, "--no-wasm") as (_, api_port):
        url = f"http://127.0.0.1:{api_port}"
        monkeypatch.setenv("PONTE_API_KEY", key)
        assert json.loads(ponte("trace", "first", "--json", "--url", url).stdout)["call_id"] == "first"
        assert json.loads(ponte("trace", "--json", "--api-port", str(api_port)).stdout)["call_id"] == "last"
        assert "no call of that id" in ponte("trace", "nothing", "--url", url, expect=1).stderr
        monkeypatch.setenv("PONTE_API_KEY", "ponte_wrong")
        assert "does not know the key" in ponte("trace", "first", "--url", url, expect=2).stderr
        assert key not in ponte("trace", "first", "--url", url, expect=2).stderr
    monkeypatch.setenv("PONTE_API_KEY", key)
    dead = f"http://127.0.0.1:{free_ports()}"
    assert "No gateway answers" in ponte("trace", "first", "--url", dead, expect=1).stderr
    # nobody was named: what the database has is as good
    assert "INVITE" in ponte("trace", "first", "--api-port", str(free_ports())).stdout
