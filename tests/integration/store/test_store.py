"""The store on a real SQLite file: commits, migrations, faults."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction
from gateway.domain.termination import HANGUP, INTERNAL
from gateway.store.calls import CallFilter, CallRecord
from gateway.store.errors import SecretKeyError, StoreError
from gateway.store.models import Base
from gateway.store.store import Store

pytestmark = pytest.mark.integration

FULL = BridgeConfig(
    enabled=True, sip_server="pbx:5060", sip_user="u", sip_pass="p1", sip_listen_port=5999, sip_listen_user="in",
    sip_listen_secret="p2", sip_extension="6001", wasm_server_port=9999, wasm_server_ip="10.0.0.5",
    chrome_remote_url="ws://tok3@10.0.0.7:9223", node_remote_helper="http://tok4@10.0.0.7:3000",
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", database_timeout_s=20)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    store = await Store.open(settings)
    try:
        yield store
    finally:
        await store.close()


def file_of(settings: Settings) -> Path:
    return settings.state_dir / "ponte.db"


async def test_every_field_comes_back_after_a_restart(store: Store, settings: Settings) -> None:
    key, _ = await store.keys.create("acme")
    assert await store.configs.load(key.account.id) is None
    await store.configs.save(key.account.id, FULL)
    await store.configs.save(key.account.id, replace(FULL, enabled=False))
    again = await Store.open(settings)
    try:
        assert await again.configs.load_all() == {key.account.id: replace(FULL, enabled=False)}
        await again.configs.delete(key.account.id)
        assert await store.configs.load(key.account.id) is None
    finally:
        await again.close()


async def test_secrets_and_keys_are_not_in_the_files_in_plain(store: Store, settings: Settings) -> None:
    key, plain = await store.keys.create("acme")
    await store.configs.save(key.account.id, replace(FULL, sip_pass="hunter2-aaaa", sip_listen_secret="hunter2-bbbb"))
    content = b"".join(path.read_bytes() for path in _files(settings.state_dir))
    for secret in (b"hunter2", b"tok3", b"tok4", plain.encode()):
        assert secret not in content
    assert hashlib.sha256(plain.encode()).digest() in content
    for path in _files(settings.state_dir):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


async def test_a_sealed_secret_does_not_open_in_the_row_of_another_account(store: Store, settings: Settings) -> None:
    first, _ = await store.keys.create("first")
    second, _ = await store.keys.create("second")
    for account in (first.account.id, second.account.id):
        await store.configs.save(account, FULL)
    with sqlite3.connect(file_of(settings)) as database:
        database.execute(
            "UPDATE bridge_configs SET sealed_sip_pass = "
            "(SELECT sealed_sip_pass FROM bridge_configs WHERE account_id = ?) WHERE account_id = ?",
            (first.account.id, second.account.id),
        )
    database.close()
    assert await store.configs.load(first.account.id) == FULL
    with pytest.raises(SecretKeyError):
        await store.configs.load(second.account.id)


async def test_keys(store: Store) -> None:
    first, plain = await store.keys.create("acme", label="laptop")
    second, other = await store.keys.create("acme")
    assert first.account == second.account
    assert plain != other
    assert len(plain) >= 43 + len("ponte_")
    assert await store.keys.authenticate(plain) == await store.keys.authenticate(other) == first.account.id
    for wrong in ("", "x", plain + "x", plain[:-1], plain.upper(), "\ud800"):
        assert await store.keys.authenticate(wrong) is None
    assert await store.keys.revoke(first.id)
    assert not await store.keys.revoke("nothing")
    assert await store.keys.authenticate(plain) is None
    assert await store.keys.authenticate(other) == first.account.id
    listed = await store.keys.list("acme")
    assert {(key.id, key.label, key.revoked_at is None) for key in listed} == {
        (first.id, "laptop", False),
        (second.id, "", True),
    }
    assert await store.keys.list("nobody") == []


async def test_a_chosen_key(store: Store) -> None:
    first, plain = await store.keys.create("sandbox", key="sandbox-key")
    assert plain == "sandbox-key"
    again, _ = await store.keys.create("sandbox", key="sandbox-key")
    assert again == first
    with pytest.raises(ConfigError, match="exists already"):
        await store.keys.create("other", key="sandbox-key")
    assert [account.name for account in await store.keys.accounts()] == ["sandbox"]
    await store.keys.revoke(first.id)
    with pytest.raises(ConfigError, match="revoked"):
        await store.keys.create("sandbox", key="sandbox-key")
    for bad in ("short", "with space", "nül-nül-nül", ""):
        with pytest.raises(ConfigError):
            await store.keys.create("sandbox", key=bad)
    for name in ("", " x", "x" * 65, "a\nb"):
        with pytest.raises(ConfigError):
            await store.keys.create(name)


async def test_call_records(store: Store) -> None:
    key, _ = await store.keys.create("acme")
    other, _ = await store.keys.create("other")
    start = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    record = CallRecord(
        CallId("c1"), key.account.id, Direction.WHATSAPP_TO_SIP, CallState.RINGING, start,
        whatsapp_number="5511987654321", whatsapp_name="Zé \ud800" + "x" * 400, sip_user="6001",
    )  # fmt: skip
    await store.calls.save(record)
    ended = replace(
        record, state=CallState.ENDED, answered_at=start + timedelta(seconds=3), ended_at=start + timedelta(seconds=60),
        result=HANGUP.result.value, reason=HANGUP.reason, q850_cause=16, whatsapp_name="Zé",
    )  # fmt: skip
    await store.calls.save(ended)
    assert await store.calls.get(key.account.id, CallId("c1")) == ended
    assert await store.calls.get(other.account.id, CallId("c1")) is None
    later = replace(record, id=CallId("c2"), created_at=start + timedelta(hours=1), whatsapp_name=None)
    await store.calls.save(later)
    assert [one.id for one in await store.calls.page(key.account.id, CallFilter())] == ["c2", "c1"]
    assert await store.calls.close_open(start + timedelta(hours=2), INTERNAL) == 1
    assert await store.calls.close_open(start + timedelta(hours=3), INTERNAL) == 0
    closed = await store.calls.get(key.account.id, CallId("c2"))
    assert closed is not None
    assert (closed.state, closed.reason, closed.ended_at) == (CallState.ENDED, "internal", start + timedelta(hours=2))


async def test_a_record_of_an_unknown_account_is_refused(store: Store) -> None:
    now = datetime.now(UTC)
    record = CallRecord(CallId("c"), AccountId("nobody"), Direction.SIP_TO_WHATSAPP, CallState.CREATED, now)
    with pytest.raises(StoreError):
        await store.calls.save(record)


async def test_the_migrations_make_the_tables_of_the_models(store: Store, settings: Settings) -> None:
    engine = sa.create_engine(f"sqlite:///{file_of(settings)}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


async def test_processes_that_start_at_once_make_one_database(settings: Settings) -> None:
    stores = await asyncio.gather(*(Store.open(settings) for _ in range(4)))
    try:
        await asyncio.gather(*(store.keys.create(f"a{n}") for n, store in enumerate(stores)))
        assert len(await stores[0].keys.accounts()) == 4
    finally:
        await asyncio.gather(*(store.close() for store in stores))


async def test_writers_wait_for_each_other(store: Store) -> None:
    await asyncio.gather(*(store.keys.create("acme", label=f"n{n}") for n in range(20)))
    assert len(await store.keys.list("acme")) == 20


async def test_a_locked_database_fails_in_time_and_changes_nothing(settings: Settings) -> None:
    store = await Store.open(settings.model_copy(update={"database_timeout_s": 0.2}))
    key, plain = await store.keys.create("acme")
    blocker = sqlite3.connect(file_of(settings), isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        saves = await asyncio.gather(
            *(store.configs.save(key.account.id, FULL) for _ in range(4)),
            store.keys.authenticate(plain),
            return_exceptions=True,
        )
        assert saves.pop() == key.account.id
        for error in saves:
            assert isinstance(error, StoreError)
            assert "locked" in str(error)
            assert (error.http_status, error.retryable) == (500, True)
        blocker.execute("ROLLBACK")
        assert await store.configs.load(key.account.id) is None
        await store.configs.save(key.account.id, FULL)
    finally:
        blocker.close()
        await store.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_database_file_that_is_taken_away(store: Store, settings: Settings, replaced: bool) -> None:
    key, _ = await store.keys.create("acme")
    _take_away(settings, replaced)
    with pytest.raises(StoreError, match="removed or replaced"):
        await store.configs.save(key.account.id, FULL)
    with pytest.raises(StoreError):
        await store.ping()


async def test_the_key_file_is_lost_or_another(store: Store, settings: Settings) -> None:
    await store.close()
    key_file = settings.effective_secret_key_file
    saved = key_file.with_name("saved")
    os.rename(key_file, saved)
    with pytest.raises(SecretKeyError, match="is gone"):
        await Store.open(settings)
    other = await Store.open(Settings(state_dir=settings.state_dir / "other"))
    await other.close()
    shutil.copy(settings.state_dir / "other" / "secret.key", key_file)
    with pytest.raises(SecretKeyError, match="does not open"):
        await Store.open(settings)
    os.replace(saved, key_file)
    again = await Store.open(settings)
    await again.close()


async def test_a_database_of_a_newer_version(store: Store, settings: Settings) -> None:
    await store.close()
    with sqlite3.connect(file_of(settings)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(StoreError, match="newer version"):
        await Store.open(settings)


async def test_a_file_that_is_no_database(settings: Settings) -> None:
    settings.state_dir.mkdir()
    _write(file_of(settings), b"this is not a database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        await Store.open(settings)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "nonsense", "mysterydb://x/y", "sqlite:///file:x?uri=true"]
)
async def test_a_database_url_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await Store.open(Settings(state_dir=tmp_path, database_url=url))
    assert caught.value.field == "database_url"


async def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    _write(tmp_path / "file", b"")
    with pytest.raises(StoreError, match="Cannot open the database file"):
        await Store.open(Settings(state_dir=tmp_path / "file" / "state"))


CRASH = """
import asyncio, os, sys
from pathlib import Path
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.store.store import Store

async def main():
    store = await Store.open(Settings(state_dir=Path(sys.argv[1])))
    key, plain = await store.keys.create("acme")
    await store.configs.save(key.account.id, BridgeConfig(enabled=True, sip_server="pbx", sip_pass="p"))
    print(key.account.id, plain, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_what_was_committed_survives_a_kill(settings: Settings) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CRASH, str(settings.state_dir)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -9, done.stderr
    account, plain = done.stdout.split()
    store = await Store.open(settings)
    try:
        assert await store.keys.authenticate(plain) == account
        config = await store.configs.load(AccountId(account))
        assert config == BridgeConfig(enabled=True, sip_server="pbx", sip_pass="p")
    finally:
        await store.close()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _take_away(settings: Settings, replaced: bool) -> None:
    path = file_of(settings)
    copy = path.read_bytes()
    path.unlink()
    if replaced:
        path.with_name("keeps-the-inode-busy").write_bytes(b"")
        path.write_bytes(copy)


async def test_a_key_that_another_process_revokes_is_refused_within_a_second(store: Store, settings: Settings) -> None:
    key, plain = await store.keys.create("acme")
    assert await store.keys.authenticate(plain) == key.account.id
    other = await Store.open(settings)
    try:
        await other.keys.revoke(key.id)
    finally:
        await other.close()
    now_s = time.monotonic() + 1.01
    store.keys._clock = lambda: now_s
    assert await store.keys.authenticate(plain) is None


async def test_a_bridge_that_is_turned_off_is_off_at_once_and_within_a_second_elsewhere(
    store: Store, settings: Settings
) -> None:
    key, _ = await store.keys.create("acme")
    account = key.account.id
    other = await Store.open(settings)
    try:
        await store.configs.save(account, FULL)
        assert await store.configs.enabled(account) is await other.configs.enabled(account) is True
        await store.configs.save(account, replace(FULL, enabled=False))
        assert await store.configs.enabled(account) is False
        now_s = time.monotonic() + 1.01
        other.configs._clock = lambda: now_s
        assert await other.configs.enabled(account) is False
        await store.configs.save(account, FULL)
        assert await store.configs.enabled(account) is True
        await store.configs.delete(account)
        assert await store.configs.enabled(account) is False
    finally:
        await other.close()
