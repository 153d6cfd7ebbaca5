"""What every operation of the API refuses, and how: over real HTTP, from the table that describes them all.

An operation that is added to the table is tried here by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import httpx2
import pytest
from starlette.applications import Starlette

from gateway.api.app import create_app
from gateway.api.limits import RateLimit
from gateway.api.operations import OPERATIONS, Operation
from gateway.api.server import ApiServer
from gateway.domain.accounts import AccountInCall
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import CallSummary
from gateway.domain.ids import CallId
from gateway.domain.offer import CallNotPossible
from gateway.domain.states import CallState, Direction, Origin
from gateway.events.models import PageStateChanged
from gateway.events.signing import new_secret
from gateway.store.calls import CallRecord
from tests.integration.api.conftest import Api
from tests.integration.api.fakes import FakeControl

pytestmark = pytest.mark.integration

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIVE: Final = CallSummary(CallId("live"), Direction.WHATSAPP_TO_SIP, CallState.ACTIVE, "5511987654321", NOW, NOW)
PER_ACCOUNT: Final = [one for one in OPERATIONS if one.key and not one.admin]
NO_RECORDING: Final = {"getRecording", "deleteRecording"}  # the call of this test has none
NO_STATE: Final = {"createWebhook", "createAccount", "createAccountKey"}  # 409 for a name or a number, not for a state


@dataclass
class Rig:
    """The API on a real socket, with one of each thing that has an id."""

    api: Api
    app: Starlette
    client: httpx2.AsyncClient
    admin: str
    other: str
    ids: dict[str, str]

    async def ask(
        self, one: Operation, *, key: str | None, ids: dict[str, str] | None = None, method: str = "", **more: Any
    ) -> httpx2.Response:
        path = one.path
        for name, value in (ids or self.known(one)).items():
            path = path.replace(f"{{{name}}}", value)
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return await self.client.request(method or one.method.upper(), path, headers=headers, **more)

    def key(self, one: Operation) -> str:
        return self.admin if one.admin else self.api.key

    def known(self, one: Operation) -> dict[str, str]:
        """Ids that are there."""
        named = "hook" if one.path.startswith("/webhooks") else "over" if one.path.startswith("/calls") else "live"
        return {"id": self.ids[named], "delivery": self.ids["delivery"], "name": "acme", "key": self.ids["key"]}


@pytest.fixture
async def rig(api: Api) -> AsyncIterator[Rig]:
    api.accounts.owner = api.account
    api.accounts.calls, api.accounts.controls = (LIVE,), {LIVE.id: FakeControl()}
    await api.store.configs.save(api.account, BridgeConfig(enabled=True, sip_server="pbx.example.com"))
    over = CallRecord(
        CallId("over"), api.account, Direction.SIP_TO_WHATSAPP, CallState.ENDED, NOW, origin=Origin.API, ended_at=NOW,
        result="success", reason="hangup",
    )  # fmt: skip
    await api.store.calls.save(over)
    await api.store.calls.save(replace(over, id=CallId("taped"), recording={"state": "recording", "format": "opus"}))
    hook = await api.store.webhooks.create(api.account, "https://example.com/hook", new_secret(), ())
    assert hook is not None
    api.events.publish(api.account, PageStateChanged(state="READY", detail=""))
    assert await api.store.journal.flush(20)
    _, admin = await api.store.admin_keys.create()
    _, other = await api.store.keys.create("other")
    row, _ = await api.store.keys.create("acme", label="second")
    ids = {"live": "live", "over": "over", "hook": hook.id, "delivery": "1", "key": row.id}
    app = create_app(api.deps)
    app.state.limits.failures = app.state.limits.offers = RateLimit(1e6, 1e6)  # many are part of it
    server = ApiServer(app, "127.0.0.1", 0)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client:
                yield Rig(api, app, client, admin, other, ids)
        finally:
            server.stop()


def problem(answer: httpx2.Response, one: Operation, status: int) -> dict[str, Any]:
    """What an error says; checks that it says it as all errors do."""
    assert answer.status_code == status, (one.name, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json", one.name
    said: dict[str, Any] = answer.json()
    assert said["status"] == status
    assert said["detail"], one.name
    assert said["type"] == f"urn:ponte:problem:{said['code']}", one.name
    assert "Traceback" not in answer.text
    return said


async def test_nobody_without_a_key_learns_anything(rig: Rig) -> None:
    for one in OPERATIONS:
        if not one.key:
            continue
        for key in (None, "ponte_wrong", rig.api.key if one.admin else rig.admin):
            answer = await rig.ask(one, key=key)
            problem(answer, one, 403 if key == rig.api.key else 401)
            assert key == rig.api.key or answer.headers["www-authenticate"].startswith("Bearer"), one.name


async def test_who_tries_many_keys_or_asks_too_fast_is_told_when_to_come_back(rig: Rig) -> None:
    limits = rig.app.state.limits
    limits.requests = RateLimit(0.1, 1)
    for one in OPERATIONS:
        if not one.key:
            continue
        limits.requests = RateLimit(0.1, 0)
        said = await rig.ask(one, key=rig.key(one))
        assert problem(said, one, 429)["code"] == "too_many_requests"
        assert 1 <= int(said.headers["retry-after"]) <= 10
    limits.failures = RateLimit(0.1, 0)
    for one in (one for one in OPERATIONS if one.key):
        said = await rig.ask(one, key="ponte_wrong")
        problem(said, one, 429)
        assert 1 <= int(said.headers["retry-after"]) <= 10


async def test_an_id_that_nobody_has_and_one_of_another_account(rig: Rig) -> None:
    tried = set()
    for one in (one for one in OPERATIONS if "{" in one.path):
        tried.add(one.name)
        names = [name for name in ("id", "delivery", "name", "key") if f"{{{name}}}" in one.path]
        for wrong in names:  # each id in turn, the others are right
            for text in ("99999", "%00"):
                ids = rig.known(one) | {wrong: text}
                problem(await rig.ask(one, key=rig.key(one), ids=ids, **body(one)), one, 404)
        if not one.admin:
            foreign = problem(await rig.ask(one, key=rig.other, **body(one)), one, 404)
            nobody = await rig.ask(one, key=rig.other, ids=dict.fromkeys(rig.known(one), "nobody"), **body(one))
            assert foreign["code"] == nobody.json()["code"], one.name  # that it is there cannot be told
    assert len(tried) > 20
    for one in PER_ACCOUNT:  # and it was there all the time
        if "{" in one.path and one.name not in NO_RECORDING and one.method != "delete":
            assert (await rig.ask(one, key=rig.api.key, **body(one))).status_code != 404, one.name


async def test_a_body_or_query_that_is_wrong_is_told_by_field(rig: Rig) -> None:
    tried = 0
    for one in OPERATIONS:
        key = rig.key(one)
        if one.body is not None:
            for content in (b"[]", b"{"):
                said = problem(await rig.ask(one, key=key, content=content), one, 400)
                assert [fault["field"] for fault in said["errors"]] == ["body"], one.name
            said = problem(await rig.ask(one, key=key, json={"no_such": 1}), one, 400)
            assert "no_such" in fields(said), one.name
            for name in one.body.model_fields:
                tried += 1
                said = problem(await rig.ask(one, key=key, json={name: {"x": [1]}}), one, 400)
                assert any(field.split(".")[0] == name for field in fields(said)), (one.name, name, said)
        if one.query is not None:
            said = problem(await rig.ask(one, key=key, params={"no_such": "1"}), one, 400)
            assert "no_such" in fields(said), one.name
            for name in one.query.model_fields:
                said = problem(await rig.ask(one, key=key, params=[(name, "1"), (name, "2")]), one, 400)
                assert name in fields(said), (one.name, name)
    assert tried > 20


async def test_a_wrong_state_is_told_with_the_state(rig: Rig) -> None:
    accounts = rig.api.accounts
    accounts.refuse_offer = CallNotPossible("line_busy", "The account is already in a call", "ACTIVE", 30)
    accounts.refuse_removal = AccountInCall()
    tried = set()
    for one in OPERATIONS:
        if 409 not in one.errors or one.name in NO_STATE:
            continue
        tried.add(one.name)
        # calls that are over, a page that is detached, a recording that goes on, a line that is busy, a call that runs
        ids = rig.known(one) | {"id": "taped" if one.path.endswith("/recording") else "over"}
        said = problem(await rig.ask(one, key=rig.key(one), ids=ids, **body(one)), one, 409)
        assert said["state"].isupper(), one.name
    assert {"hangupCall", "offerCall", "getSessionQr", "removeAccount", "eraseCalls", "getRecording"} <= tried


async def test_a_method_that_a_path_does_not_take(rig: Rig) -> None:
    paths = {one.path: {other.method for other in OPERATIONS if other.path == one.path} for one in OPERATIONS}
    for one in {one.path: one for one in OPERATIONS}.values():
        method = min({"put", "delete"} - paths[one.path])
        answer = await rig.ask(one, key=rig.key(one), method=method.upper())
        problem(answer, one, 405)
        allowed = {name.strip().lower() for name in answer.headers["allow"].split(",")}
        assert allowed - {"head"} == paths[one.path], one.path


def fields(said: dict[str, Any]) -> set[str]:
    return {fault["field"] for fault in said["errors"]}


def body(one: Operation) -> dict[str, Any]:
    """A body that is right, where the operation wants one."""
    if one.body is None or not any(field.is_required() for field in one.body.model_fields.values()):
        return {}
    known: dict[str, Any] = {
        "digits": "1", "extension": "6001", "number": "5511987654321", "phone": "5511987654321", "enabled": True,
        "url": "https://example.com/hook", "name": "acme",
    }  # fmt: skip
    required = [name for name, field in one.body.model_fields.items() if field.is_required()]
    return {"json": {name: known[name] for name in required}}
