"""`/calls/{id}/recording` over real HTTP, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from gateway.config import Settings
from gateway.domain.ids import AccountId, CallId
from gateway.domain.recording import RecordingFormat
from gateway.domain.termination import INTERNAL
from gateway.media.recording_file import open_sound_file
from gateway.store.calls import CallRecord
from gateway.store.errors import StoreError
from gateway.store.retention import purge
from tests.integration.api.conftest import Api
from tests.integration.api.test_calls_api import RECORDING, START, call
from tests.integration.api.test_server import served
from tests.unit.media.test_recording_file import write

pytestmark = pytest.mark.integration

SOUND = bytes(range(256)) * 40


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgresql" else ""
    return Settings(state_dir=tmp_path / "state", database_url=url, database_timeout_s=20)


@asynccontextmanager
async def client(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        served(api) as port,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {api.key}"}
        ) as client,
    ):
        yield client


def put(api: Api, name: str = "c001.opus", account: AccountId | None = None) -> Path:
    folder = api.settings.effective_recording_dir / (account or api.account)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(SOUND)
    return folder / name


def recorded(api: Api, number: int, **changes: object) -> CallRecord:
    """A call with a recording."""
    recording = {**RECORDING, "file": f"c{number:03}.opus", **changes}
    return replace(call(api, number), recording=recording)


async def test_the_file_a_range_of_it_and_who_may_have_it(api: Api) -> None:
    put(api)
    await api.store.calls.save(recorded(api, 1))
    _, other = await api.store.keys.create("other")
    async with client(api) as http:
        whole = await http.get("/calls/c001/recording")
        assert (whole.status_code, whole.content) == (200, SOUND)
        assert whole.headers["content-type"] == "audio/ogg"
        assert whole.headers["cache-control"] == "no-store"
        assert 'filename="c001.opus"' in whole.headers["content-disposition"]
        part = await http.get("/calls/c001/recording", headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, SOUND[100:200])
        assert part.headers["content-range"] == f"bytes 100-199/{len(SOUND)}"
        assert (await http.get("/calls/c001/recording", headers={"Range": "bytes=-5"})).content == SOUND[-5:]
        beyond = await http.get("/calls/c001/recording", headers={"Range": f"bytes={len(SOUND)}-"})
        assert beyond.status_code == 416
        head = await http.head("/calls/c001/recording")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(SOUND)))
        foreign = await http.get("/calls/c001/recording", headers={"Authorization": f"Bearer {other}"})
        assert (foreign.status_code, foreign.json()["code"]) == (404, "call_not_found")
        assert (await http.get("/calls/c001/recording", headers={"Authorization": ""})).status_code == 401


async def test_what_there_is_not_or_not_yet(api: Api) -> None:
    put(api, "c003.opus")
    await api.store.calls.save(call(api, 2))  # not recorded
    await api.store.calls.save(replace(recorded(api, 3, state="recording"), ended_at=None))
    await api.store.calls.save(recorded(api, 4))  # its file is gone
    await api.store.calls.save(recorded(api, 5, file="../../../etc/passwd"))
    async with client(api) as http:
        for number, status, code in (
            (1, 404, "call_not_found"),
            (2, 404, "recording_not_found"),
            (3, 409, "recording_in_use"),
            (4, 404, "recording_not_found"),
            (5, 404, "recording_not_found"),
        ):
            answer = await http.get(f"/calls/c00{number}/recording")
            assert (number, answer.status_code, answer.json()["code"]) == (number, status, code)
        assert (await http.delete("/calls/c003/recording")).status_code == 409


async def test_deleting_the_sound_leaves_the_record(api: Api) -> None:
    path = put(api)
    await api.store.calls.save(recorded(api, 1))
    async with client(api) as http:
        assert (await http.delete("/calls/c001/recording")).status_code == 204
        assert not path.exists()
        assert (await http.get("/calls/c001")).json()["recording"]["state"] == "deleted"
        assert (await http.get("/calls/c001/recording")).status_code == 404
        assert (await http.delete("/calls/c001/recording")).status_code == 204  # once more changes nothing


async def test_who_is_erased_is_not_heard_any_more(api: Api) -> None:
    path, other = put(api), put(api, "c002.opus")
    await api.store.calls.save(recorded(api, 1))
    await api.store.calls.save(replace(recorded(api, 2), whatsapp_number="4915112345678"))
    async with client(api) as http:
        erased = await http.post("/calls/erase", json={"number": "+5511987654321"})
        assert erased.json() == {"calls": 1}
    assert (path.exists(), other.exists()) == (False, True)


async def test_retention_deletes_sound_before_records_and_with_them(api: Api) -> None:
    early, late = put(api, "c001.opus"), put(api, "c002.opus")
    await api.store.calls.save(recorded(api, 1))
    await api.store.calls.save(
        replace(recorded(api, 2), created_at=START + timedelta(days=5), ended_at=START + timedelta(days=5))
    )
    await purge(api.store, START + timedelta(days=4), call_days=30, recording_days=2)
    assert (early.exists(), late.exists()) == (False, True)
    record = await api.store.calls.get(api.account, CallId("c001"))
    assert record is not None
    assert record.recording == {**RECORDING, "state": "deleted"}
    assert await purge(api.store, START + timedelta(days=40), call_days=30, recording_days=0) == 2
    assert not late.exists()


async def test_a_file_that_cannot_be_deleted_keeps_its_record(api: Api) -> None:
    await api.store.calls.save(recorded(api, 1))
    put(api)
    api.store.recordings._delete = lambda found: (_ for _ in ()).throw(StoreError("no"))  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await api.store.erase(api.account, "5511987654321")
    assert await api.store.calls.get(api.account, CallId("c001")) is not None


async def test_an_account_goes_with_its_recordings_only_if_asked(api: Api) -> None:
    await api.store.calls.save(recorded(api, 1))
    path = put(api)
    other = (await api.store.keys.create("other"))[0].account.id
    kept = put(api, "c9.opus", other)
    assert await api.store.accounts.remove(other, delete_calls=False)
    assert kept.exists()
    assert await api.store.accounts.remove(api.account, delete_calls=True)
    assert not path.parent.exists()


@pytest.mark.parametrize("kind", list(RecordingFormat))
async def test_what_a_killed_process_left_is_told_as_it_is(api: Api, kind: RecordingFormat) -> None:
    name = "c001" + kind.suffix
    file = open_sound_file(api.settings.effective_recording_dir / api.account, name, kind)
    await asyncio.to_thread(write, file, 2)
    running = replace(
        recorded(api, 1, state="recording", duration_s=0.0, bytes=0, file=name, format=kind.value), ended_at=None
    )
    await api.store.calls.save(running)
    assert await api.store.calls.close_open(datetime.now(UTC), INTERNAL) == 1
    file.close()
    async with client(api) as http:
        recording = (await http.get("/calls/c001")).json()["recording"]
        assert recording["state"] == "interrupted"
        assert recording["duration_s"] == pytest.approx(2, abs=0.03)
        assert recording["bytes"] > 10_000
        assert (await http.get("/calls/c001/recording")).status_code == 200
