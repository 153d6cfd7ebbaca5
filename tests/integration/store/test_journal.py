"""Writes that wait: a locked database, a full disk, a PostgreSQL that goes away. Nobody waits, nothing is lost."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.config import Settings
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction
from gateway.store.calls import CallFilter, CallRecord, merge_record
from gateway.store.errors import StoreError
from gateway.store.journal import Journal
from gateway.store.store import Store
from tests.support.postgres import Cluster

pytestmark = pytest.mark.integration


def record(account: AccountId, number: int) -> CallRecord:
    return CallRecord(
        CallId(f"c{number:03}"), account, Direction.SIP_TO_WHATSAPP, CallState.ENDED, datetime.now(UTC),
        ended_at=datetime.now(UTC), result="success", reason="hangup",
    )  # fmt: skip


async def many_keys(store: Store) -> None:
    for n in range(200):
        await store.keys.create("acme", label=f"n{n}")


class Told:
    """What the journal told of each write."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.lost: list[tuple[str, str]] = []

    def add(self, journal: Journal, one: CallRecord) -> None:
        journal.add(
            partial(merge_record, record=one),
            committed=lambda _: self.committed.append(one.id),
            lost=lambda why: self.lost.append((one.id, why)),
        )


async def ids(store: Store, account: AccountId) -> list[str]:
    return sorted(one.id for one in await store.calls.page(account, CallFilter()))


async def test_writes_are_committed_in_their_order(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    told = Told()
    async with any_store.journal.running():
        for n in range(250):
            told.add(any_store.journal, record(key.account.id, n))
        assert told.committed == []  # nobody waits
        assert await any_store.journal.flush(20)
        assert told.committed == [f"c{n:03}" for n in range(250)]
        assert any_store.journal.waiting == 0
    assert told.lost == []


async def test_one_that_can_never_be_written_takes_no_other_with_it(any_store: Store) -> None:
    key, _ = await any_store.keys.create("acme")
    told = Told()

    def broken(session: Session) -> None:
        raise RuntimeError("a bug")

    async with any_store.journal.running():
        told.add(any_store.journal, record(key.account.id, 1))
        told.add(any_store.journal, record(AccountId("nobody"), 2))
        told.add(any_store.journal, record(key.account.id, 3))
        any_store.journal.add(broken, lost=lambda why: told.lost.append(("broken", why)))
        told.add(any_store.journal, record(key.account.id, 4))
        assert await any_store.journal.flush(20)
    assert told.committed == ["c001", "c003", "c004"]
    assert [name for name, _ in told.lost] == ["c002", "broken"]
    assert await ids(any_store, key.account.id) == told.committed


async def test_a_locked_database_is_waited_for(settings: Settings) -> None:
    store = await Store.open(settings.model_copy(update={"database_timeout_s": 0.1}))
    key, _ = await store.keys.create("acme")
    blocker = sqlite3.connect(settings.state_dir / "ponte.db", isolation_level=None)
    told = Told()
    try:
        async with store.journal.running():
            blocker.execute("BEGIN IMMEDIATE")
            told.add(store.journal, record(key.account.id, 1))
            assert not await store.journal.flush(0.3)
            told.add(store.journal, record(key.account.id, 2))
            assert told.committed == []
            with pytest.raises(StoreError, match="locked"):
                await store.journal.check()
            blocker.execute("ROLLBACK")
            assert await store.journal.flush(20)
            await store.journal.check()
            assert told.committed == ["c001", "c002"]
    finally:
        blocker.close()
        await store.close()


async def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(settings: Settings) -> None:
    store = await Store.open(settings)
    key, plain = await store.keys.create("acme")
    told = Told()
    full = True

    def limit(connection: Any, record: Any, proxy: Any) -> None:
        # SQLite's own limit gives the error of a full disk, at the same place.
        cursor = connection.cursor()
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {pages if full else 1_000_000}")
        cursor.close()

    sa.event.listen(store.journal._database._engine, "checkout", limit)
    try:
        async with store.journal.running():
            for n in range(60):  # more than fits into the pages that are there
                told.add(store.journal, record(key.account.id, n))
            assert not await store.journal.flush(0.5)
            assert told.committed == []
            with pytest.raises(StoreError, match=r"is full.*free some space"):
                await many_keys(store)
            assert await store.keys.authenticate(plain) == key.account.id  # reading goes on
            full = False
            assert await store.journal.flush(20)
            assert len(told.committed) == 60
    finally:
        await store.close()
    assert told.lost == []


async def test_postgresql_goes_away_and_comes_back(settings: Settings, postgres: Cluster) -> None:
    url = postgres.new_database()
    store = await Store.open(settings.model_copy(update={"database_url": url, "database_timeout_s": 5}))
    key, plain = await store.keys.create("acme")
    told = Told()
    try:
        async with store.journal.running():
            postgres.execute(
                url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
            assert await store.keys.authenticate(plain) == key.account.id  # a connection that was cut is made again
            postgres.stop()
            try:
                told.add(store.journal, record(key.account.id, 1))
                with pytest.raises(StoreError, match="PostgreSQL"):
                    await store.ping()
                assert not await store.journal.flush(0.3)
            finally:
                postgres.start()
            assert await store.journal.flush(30)
            assert told.committed == ["c001"]
            assert await ids(store, key.account.id) == ["c001"]
    finally:
        await store.close()


async def test_what_cannot_be_written_before_the_end_is_told(settings: Settings) -> None:
    store = await Store.open(settings.model_copy(update={"database_timeout_s": 0.05}))
    key, _ = await store.keys.create("acme")
    blocker = sqlite3.connect(settings.state_dir / "ponte.db", isolation_level=None)
    told = Told()
    try:
        blocker.execute("BEGIN IMMEDIATE")
        async with store.journal.running(flush_s=0.2):
            told.add(store.journal, record(key.account.id, 1))
        assert [name for name, _ in told.lost] == ["c001"]
        assert "stopped" in told.lost[0][1]
    finally:
        blocker.close()
        await store.close()


async def test_more_than_may_wait_is_told_at_once(settings: Settings) -> None:
    store = await Store.open(settings)
    journal = Journal(store.journal._database, capacity=2)
    told = Told()
    for n in range(3):
        told.add(journal, record(AccountId("a"), n))
    assert [name for name, _ in told.lost] == ["c002"]
    await store.close()


async def test_a_postgresql_that_does_not_answer_or_refuses(settings: Settings, postgres: Cluster) -> None:
    url = postgres.new_database()
    for wrong, sentence in (
        (f"postgresql:///ponte?host={settings.state_dir}/nowhere", "no connection to PostgreSQL"),
        (url.replace("///ponte", "///other"), "PostgreSQL|no database of that name"),
    ):
        with pytest.raises(StoreError, match=sentence) as caught:
            await Store.open(settings.model_copy(update={"database_url": wrong}))
        assert "password" not in str(caught.value)
