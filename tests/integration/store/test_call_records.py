"""Call records on SQLite and on PostgreSQL: lists, retention, the deletion of one person."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.config import Settings
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction, Origin
from gateway.domain.termination import HANGUP, INTERNAL, Result
from gateway.domain.trace import Lane, Trace, TraceEntry, TraceKind
from gateway.store.calls import CallFilter, CallRecord, Place, merge_record
from gateway.store.errors import ConstraintError
from gateway.store.models import Base
from gateway.store.retention import purge
from gateway.store.store import Store
from gateway.store.traces import merge_trace

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
ANA, BOB = "5511987654321", "4915112345678"


def call(account: AccountId, number: int, **changes: object) -> CallRecord:
    record = CallRecord(
        CallId(f"c{number:03}"), account, Direction.WHATSAPP_TO_SIP, CallState.ENDED,
        START + timedelta(minutes=number), answered_at=START + timedelta(minutes=number, seconds=3),
        ended_at=START + timedelta(minutes=number, seconds=60), result=HANGUP.result.value, reason="hangup",
        q850_cause=16, whatsapp_number=ANA, whatsapp_name="Zé", sip_user="6001", sip_name="Desk",
        ringing_at=START + timedelta(minutes=number, seconds=1), origin=Origin.WHATSAPP,
        quality={"codec": "PCMU", "round_trip_ms": None}, recording={"file": "a.wav", "duration_s": 1.5},
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


async def test_a_record_comes_back_as_it_was(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    other, _ = await any_store.keys.create("other")
    began = call(key.account.id, 1, state=CallState.RINGING, ended_at=None, result=None, reason=None, quality=None)
    await any_store.calls.save(began)
    assert await any_store.calls.get(key.account.id, began.id) == began
    ended = call(key.account.id, 1)
    await any_store.calls.save(ended)
    assert await any_store.calls.get(key.account.id, ended.id) == ended
    assert await any_store.calls.get(other.account.id, ended.id) is None
    odd = call(key.account.id, 2, whatsapp_name="Zé \ud800\0" + "x" * 400, sip_user=None)
    await any_store.calls.save(odd)
    stored = await any_store.calls.get(key.account.id, odd.id)
    assert stored is not None
    assert stored.whatsapp_name == "Zé ?" + "x" * 250


async def test_pages_miss_nothing_and_repeat_nothing(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    account = key.account.id
    records = [call(account, n) for n in range(7)]
    records += [call(account, n, created_at=START) for n in range(10, 15)]  # begun at the same instant
    for record in records:
        await any_store.calls.save(record)
    seen: list[str] = []
    after: Place | None = None
    while page := await any_store.calls.page(account, CallFilter(), after=after, limit=3):
        seen += [record.id for record in page]
        after = Place(page[-1].created_at, page[-1].id)
        # one that begins between two pages shifts nothing
        await any_store.calls.save(call(account, 100 + len(seen)))
    wanted = sorted(records, key=lambda record: (record.created_at, record.id), reverse=True)
    assert seen == [record.id for record in wanted]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (CallFilter(), ["c004", "c003", "c002", "c001", "c000"]),
        (CallFilter(direction=Direction.SIP_TO_WHATSAPP), ["c001"]),
        (CallFilter(origin=Origin.API), ["c001"]),
        (CallFilter(state=CallState.RINGING), ["c004"]),
        (CallFilter(result=Result.UPSTREAM_ERROR), ["c002"]),
        (CallFilter(reason="busy"), ["c002"]),
        (CallFilter(number=BOB), ["c003"]),
        (CallFilter(since=START + timedelta(minutes=3)), ["c004", "c003"]),
        (CallFilter(until=START + timedelta(minutes=2)), ["c001", "c000"]),
        (CallFilter(answered=False), ["c002"]),
        (CallFilter(answered=True, number=ANA, since=START, until=START + timedelta(minutes=2)), ["c001", "c000"]),
        (CallFilter(number="1"), []),
    ],
)
async def test_filters(any_store: Store, wanted: CallFilter, found: list[str]) -> None:
    key, _ = await any_store.keys.create("acme")
    other, _ = await any_store.keys.create("other")
    for record in (
        call(key.account.id, 0),
        call(key.account.id, 1, direction=Direction.SIP_TO_WHATSAPP, origin=Origin.API),
        call(key.account.id, 2, answered_at=None, result="upstream_error", reason="busy"),
        call(key.account.id, 3, whatsapp_number=BOB),
        call(key.account.id, 4, state=CallState.RINGING, ended_at=None, result=None, reason=None),
        call(other.account.id, 5),
    ):
        await any_store.calls.save(record)
    assert [record.id for record in await any_store.calls.page(key.account.id, wanted)] == found


async def test_old_records_are_purged_and_running_calls_are_not(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    account = key.account.id
    for n in range(3):
        await any_store.calls.save(call(account, n * 60 * 24))  # a day between them
    await any_store.calls.save(call(account, 1, ended_at=None, result=None, reason=None))
    assert await purge(any_store, START + timedelta(days=3), call_days=0) == 0
    assert await purge(any_store, START + timedelta(days=3), call_days=2) == 1
    assert [one.id for one in await any_store.calls.page(account, CallFilter())] == ["c2880", "c1440", "c001"]


async def test_more_than_one_batch_is_purged(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    async with any_store.journal.running(flush_s=60):
        for n in range(501):
            record = call(key.account.id, n)
            any_store.journal.add(partial(merge_record, record=record))
    assert await any_store.calls.purge(START + timedelta(days=1)) == 501


async def test_one_persons_data_is_erased_and_nobody_elses(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    other, _ = await any_store.keys.create("other")
    account = key.account.id
    for record in (
        call(account, 0),
        call(account, 1, whatsapp_number=BOB),
        call(account, 2, whatsapp_number=BOB, sip_user=f"+{ANA}"),  # the same person, calling in by the trunk
        call(account, 3, ended_at=None, result=None, reason=None),  # still runs
        call(other.account.id, 4),
    ):
        await any_store.calls.save(record)
    assert await any_store.erase(account, ANA) == 2
    assert await any_store.erase(account, ANA) == 0
    assert [one.id for one in await any_store.calls.page(account, CallFilter())] == ["c003", "c001"]
    assert len(await any_store.calls.page(other.account.id, CallFilter())) == 1


async def test_what_a_dead_process_left_open_is_closed(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    await any_store.calls.save(call(key.account.id, 1, state=CallState.ACTIVE, ended_at=None, result=None, reason=None))
    assert await any_store.calls.close_open(START, INTERNAL) == 1
    assert await any_store.calls.close_open(START, INTERNAL) == 0
    [closed] = await any_store.calls.page(key.account.id, CallFilter())
    assert (closed.state, closed.reason, closed.ended_at) == (CallState.ENDED, "internal", START)


async def test_a_record_of_an_unknown_account_can_never_be_written(any_store: Store) -> None:
    with pytest.raises(ConstraintError) as caught:
        await any_store.calls.save(call(AccountId("nobody"), 1))
    assert not caught.value.retryable


async def test_the_migrations_make_the_tables_of_the_models(any_store: Store, database_settings: Settings) -> None:
    url = database_settings.effective_database_url.replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


async def test_processes_that_start_at_once_make_one_database(database_settings: Settings) -> None:
    stores = await asyncio.gather(*(Store.open(database_settings) for _ in range(3)))
    try:
        await asyncio.gather(*(store.keys.create(f"a{n}") for n, store in enumerate(stores)))
        assert len(await stores[0].keys.accounts()) == 3
    finally:
        await asyncio.gather(*(store.close() for store in stores))


TRACE = Trace(
    START,
    (
        TraceEntry(0, Lane.PBX, Lane.PONTE, TraceKind.SIP, "INVITE", "SDP", "1"),
        TraceEntry(812, Lane.PONTE, Lane.PONTE, TraceKind.CALL, "ENDED", "success, hangup"),
    ),
    truncated=True,
)


async def test_a_time_line_comes_back_as_it_was_and_goes_with_its_record(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    account = key.account.id
    async with any_store.journal.running():
        for n in range(4):
            any_store.journal.add(partial(merge_record, record=call(account, n * 60 * 24)))
            any_store.journal.add(partial(merge_trace, call=CallId(f"c{n * 60 * 24:03}"), trace=TRACE))
        late = replace(TRACE, entries=TRACE.entries[:1], truncated=False)
        any_store.journal.add(partial(merge_trace, call=CallId("c1440"), trace=late))
        # of a call that was erased meanwhile; it holds nothing up
        any_store.journal.add(partial(merge_trace, call=CallId("gone"), trace=TRACE))
    assert await any_store.traces.get(CallId("c000")) == TRACE
    assert await any_store.traces.get(CallId("c1440")) == late
    assert await any_store.traces.get(CallId("gone")) is None
    assert await purge(any_store, START + timedelta(days=3), call_days=2) == 1
    assert await any_store.traces.get(CallId("c000")) is None
    assert await any_store.traces.get(CallId("c2880")) is not None
    assert await any_store.erase(account, ANA) == 3
    assert await any_store.traces.get(CallId("c2880")) is None
