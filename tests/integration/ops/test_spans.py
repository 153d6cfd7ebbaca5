"""Calls as OpenTelemetry traces: a real call, the real SDK, a real collector over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.accounts.call_book import CallBook
from gateway.accounts.call_spans import stages_of
from gateway.bridge.call import CallTimes
from gateway.config import Settings
from gateway.domain.errors import ConfigError
from gateway.events.hub import EventHub
from gateway.ops.metrics import Metrics
from gateway.ops.spans import CallSpans, TellSpans, open_spans
from gateway.store.store import Store
from tests.integration.bridge.rig import bridge_rig
from tests.integration.events.test_call_events import Written
from tests.support.otlp import Collector, collector

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@contextlib.asynccontextmanager
async def written(folder: Path, tell: TellSpans) -> AsyncIterator[Written]:
    store = await Store.open(Settings(state_dir=folder))
    try:
        account = (await store.keys.create("acme"))[0].account.id
        hub = EventHub(store)
        async with store.journal.running():
            yield Written(store, hub, CallBook(store.journal, Metrics(), hub, tell), account)
    finally:
        await store.close()


def otel(monkeypatch: pytest.MonkeyPatch, there: Collector, **more: str) -> None:
    for name, value in {"EXPORTER_OTLP_ENDPOINT": there.url, "BSP_SCHEDULE_DELAY": "50", **more}.items():
        monkeypatch.setenv(f"OTEL_{name}", value)


async def test_a_call_is_one_trace_that_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as there:
        otel(monkeypatch, there, RESOURCE_ATTRIBUTES="deployment.environment=test")
        async with open_spans("otlp") as tell, written(tmp_path, tell) as book, bridge_rig() as rig:
            call = await book.call(rig)
            root, *stages = await there.call(call.call_id)
    assert {one.trace_id for one in there.spans} == {hashlib.sha256(call.call_id.encode()).hexdigest()[:32]}
    assert (root.name, root.parent_id, root.error) == ("call", "", "")
    stages.sort(key=lambda one: one.began_s)
    assert [one.name for one in stages] == ["set-up", "ringing", "page answer", "talk", "closing"]
    # one after the other, without a gap, as long as the call
    assert [one.began_s for one in stages] == pytest.approx([root.began_s, *(one.ended_s for one in stages[:-1])])
    assert stages[-1].ended_s == pytest.approx(root.ended_s)
    assert root.attributes["ponte.reason"] == "hangup"
    assert root.attributes["ponte.answered"] is True
    assert there.resource["service.name"] == "ponte"
    assert there.resource["deployment.environment"] == "test"
    sent = b"".join(there.bodies)
    for personal in ("5511987654321", "Ana", "1000", "127.0.0.1", "m=audio"):  # number, name, extension, address, SDP
        assert personal.encode() not in sent, personal


async def test_a_collector_that_hangs_or_is_not_there_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collector() as there:
        otel(monkeypatch, there, BSP_MAX_QUEUE_SIZE="16", BSP_MAX_EXPORT_BATCH_SIZE="16")
        there.hangs = True
        one = CallSpans("c1", NOW, NOW + timedelta(seconds=1), "page_lost", {}, ())
        async with open_spans("otlp", close_s=0.2) as tell, written(tmp_path, tell) as book, bridge_rig() as rig:
            tell(one)
            await asyncio.wait_for(there.came.wait(), 20)
            longest_s = 0.0
            for _ in range(200):  # far more than may wait
                began_s = time.perf_counter()
                tell(one)
                longest_s = max(longest_s, time.perf_counter() - began_s)
            assert longest_s < 0.5  # the collector's time-out is 10 s
            call = await book.call(rig)
            assert call.times.answered is not None
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 8  # the rest of it is the store's and the rig's


async def test_a_fault_of_ours_is_an_error_of_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as there:
        otel(monkeypatch, there, SERVICE_NAME="bridge-2", EXPORTER_OTLP_COMPRESSION="gzip")
        async with open_spans("otlp") as tell:
            tell(CallSpans("c1", NOW, NOW + timedelta(seconds=1), "page_lost", {"ponte.reason": "page_lost"}, ()))
        [root] = await there.call("c1")  # what waits is sent at the end
        assert root.error == "page_lost"
        assert there.resource["service.name"] == "bridge-2"


async def test_it_is_off_until_it_is_asked_for_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as there:
        otel(monkeypatch, there)
        async with open_spans(Settings().traces) as tell:
            tell(CallSpans("c1", NOW, NOW, "", {}, ()))
        assert there.bodies == []
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"install ponte\[otel\]"):
        async with open_spans("otlp"):
            pass


def test_stages_of_calls_that_did_not_come_far() -> None:
    def at(seconds: int) -> datetime:
        return NOW + timedelta(seconds=seconds)

    refused = CallTimes(created=at(0), closing=at(1), ended=at(2))
    assert [(one.name, one.began, one.ended) for one in stages_of(refused)] == [
        ("set-up", at(0), at(1)), ("closing", at(1), at(2)),
    ]  # fmt: skip
    dialled = CallTimes(created=at(0), ringing=at(1), answered=at(5), closing=at(9), ended=at(10))
    assert [one.name for one in stages_of(dialled)] == ["set-up", "ringing", "talk", "closing"]
    clicked = CallTimes(created=at(0), picked_up=at(1), ringing=at(2), answered=at(5), closing=at(9), ended=at(9))
    assert [one.name for one in stages_of(clicked)] == ["set-up", "page answer", "ringing", "talk", "closing"]
