"""`/call/bridge` over ASGI, on a real store, with a fake behind our own `Accounts` protocol."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

from gateway.api.app import create_app
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import CallSummary
from gateway.domain.errors import ConfigError
from gateway.domain.ids import CallId
from gateway.domain.states import CallState, Direction
from gateway.ops.logs import configure_logging
from gateway.store.store import Store
from tests.integration.api.conftest import Api

pytestmark = pytest.mark.integration

SEED: dict[str, Any] = {
    "enabled": True,
    "sipServer": "sip.example.com:5060",
    "sipUser": "whatsapp_trunk",
    "sipPass": "mySecurePassword123",
    "sipListenPort": 5080,
    "sipListenUser": "incoming_user",
    "sipListenSecret": "incomingSecret123",
    "sipExtension": "",
    "wasmServerPort": 9080,
    "wasmServerIP": "10.0.0.5",
    "chromeRemoteURL": "ws://10.1.0.7:9223",
    "nodeRemoteHelper": "http://:helperToken9@10.1.0.7:3000",
}
SECRETS = ("mySecurePassword123", "incomingSecret123", "helperToken9")
URL = "/call/bridge/config"


def faults(response: httpx2.Response) -> dict[str, str]:
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == 400
    assert {"type", "title", "code", "detail"} <= set(body)
    return {error["field"]: error["message"] for error in body["errors"]}


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]


def remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


async def test_the_seed_is_accepted_stored_applied_and_masked(api: Api) -> None:
    response = await api.client.post(URL, json=SEED)
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "ok"
    assert body["message"] == "SIP bridge configuration updated successfully"
    assert body["config"] == SEED | {
        "sipPass": "***",
        "sipListenSecret": "***",
        "sipExtension": None,
        "nodeRemoteHelper": "http://***@10.1.0.7:3000",
    }
    assert body["state"]["registration"] == {"state": "refused", "detail": "The SIP server answered 403"}
    assert set(body["state"]) == {"page", "media", "registration", "listener", "phones"}
    assert body["calls"] == []
    [(account, applied)] = api.accounts.applied
    assert (account, applied.sip_pass) == (api.account, "mySecurePassword123")
    assert await api.store.configs.load(api.account) == applied


async def test_left_out_keeps_and_null_or_empty_clears(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    kept = await api.client.post(URL, json={"enabled": False})
    assert kept.json()["config"]["sipServer"] == "sip.example.com:5060"
    again = await api.client.post(URL, json={"enabled": True})
    stored = await api.store.configs.load(api.account)
    assert stored is not None
    assert stored.sip_pass == "mySecurePassword123"
    assert again.json()["config"] == (await api.client.get(URL)).json()
    cleared = await api.client.post(URL, json={"enabled": True, "sipUser": None, "sipPass": "", "sipListenPort": None})
    assert cleared.json()["config"]["sipUser"] is None
    assert cleared.json()["config"]["sipPass"] is None
    assert cleared.json()["config"]["sipListenPort"] == 5080


async def test_what_get_gives_back_can_be_posted_and_loses_nothing(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    before = await api.store.configs.load(api.account)
    got = (await api.client.get(URL)).json()
    assert set(got) == set(SEED)
    assert (await api.client.post(URL, json=got)).status_code == 200
    assert await api.store.configs.load(api.account) == before


async def test_a_masked_token_is_not_sent_to_another_host(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    moved = {"enabled": True, "nodeRemoteHelper": "http://***@10.9.9.9:3000"}
    assert "another host" in faults(await api.client.post(URL, json=moved))["nodeRemoteHelper"]


async def test_every_fault_is_named_at_once(api: Api) -> None:
    response = await api.client.post(
        URL,
        json={
            "enabled": "yes",
            "sipServer": "bad host!",
            "sipUser": 7,
            "sipListenPort": "5080",
            "wasmServerPort": 70000,
            "sipListenUser": "in",
            "sipListenSecret": "a\r\nb",
            "chromeRemoteURL": "ftp://10.0.0.1",
            "nodeRemoteHelper": "http://169.254.169.254/latest",
            "sipserver": "x",
        },
    )
    found = faults(response)
    assert set(found) == {
        "enabled", "sipServer", "sipUser", "sipListenPort", "wasmServerPort", "sipListenSecret", "chromeRemoteURL",
        "nodeRemoteHelper", "sipserver",
    }  # fmt: skip
    assert "sipServer" in found["sipserver"]
    assert response.json()["code"] == "config_invalid"
    assert await api.store.configs.load(api.account) is None
    assert api.accounts.applied == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"enabled=true", "not valid JSON"),
        (b'{"enabled": true', "not valid JSON"),
        (b"[1]", "JSON object"),
        (b'"x"', "JSON object"),
        (b'{"enabled": true, "enabled": false}', "twice"),
        (b'{"enabled": NaN}', "NaN"),
        (b"\xff\xfe\xfd", "UTF-8"),
        (b"[" * 60000, "sensible"),
        (b'{"enabled": ' + b"9" * 5000 + b"}", "sensible"),
    ],
)
async def test_what_is_not_a_json_object(api: Api, body: bytes, word: str) -> None:
    response = await api.client.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert word in faults(response)["body"]


async def test_the_content_type_is_not_asked_about(api: Api) -> None:
    response = await api.client.post(URL, content=json.dumps(SEED), headers={"Content-Type": "text/plain"})
    assert response.status_code == 200


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_64_kib(api: Api, announced: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"enabled": true, "sipUser": "'
        for _ in range(80):
            yield b"x" * 1024
        yield b'"}'

    content = b"".join([chunk async for chunk in chunks()]) if announced else chunks()
    response = await api.client.post(URL, content=content)
    assert "64 KiB" in faults(response)["body"]


async def test_a_body_of_just_64_kib_is_read(api: Api) -> None:
    body = json.dumps({"enabled": True}).encode()
    response = await api.client.post(URL, content=body + b" " * (64 * 1024 - len(body)))
    assert response.status_code == 200


async def test_a_body_that_never_ends_is_given_up(api: Api) -> None:
    deps = replace(api.deps, body_timeout_s=0.05)

    async def stalls() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    transport = httpx2.ASGITransport(app=create_app(deps))
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.post(URL, content=stalls(), headers={"Authorization": f"Bearer {api.key}"})
    assert "did not arrive" in faults(response)["body"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic KEY", "KEY", "Bearer KEYx", "Bearer " + "x" * 4000],
)
@pytest.mark.parametrize(("method", "url"), [("GET", URL), ("POST", URL), ("GET", "/call/bridge/status")])
async def test_without_a_valid_key(api: Api, authorization: str | None, method: str, url: str) -> None:
    client = httpx2.AsyncClient(transport=api.client._transport, base_url="http://gateway")
    headers = {} if authorization is None else {"Authorization": authorization.replace("KEY", api.key)}
    async with client:
        response = await client.request(method, url, headers=headers, content=b"{" if method == "POST" else None)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert response.headers["www-authenticate"].startswith('Bearer realm="ponte"')
    assert api.key not in response.text


async def test_the_scheme_of_the_key_is_not_case_sensitive(api: Api) -> None:
    response = await api.client.get(URL, headers={"Authorization": f"bearer {api.key}"})
    assert response.status_code == 200


async def test_a_revoked_key(api: Api) -> None:
    assert (await api.client.get(URL)).status_code == 200
    [key] = await api.store.keys.list("acme")
    await api.store.keys.revoke(key.id)
    assert (await api.client.get(URL)).status_code == 401


async def test_each_key_sees_its_own_account(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    _, other = await api.store.keys.create("other")
    got = await api.client.get(URL, headers={"Authorization": f"Bearer {other}"})
    assert got.json()["sipServer"] is None
    assert got.json()["enabled"] is False


async def test_wrong_methods_and_paths(api: Api) -> None:
    wrong = await api.client.put(URL, json=SEED)
    assert wrong.status_code == 405
    assert {"GET", "POST"} <= {name.strip() for name in wrong.headers["allow"].split(",")}
    assert wrong.json()["code"] == "method_not_allowed"
    for path in ("/call/bridge/config/", "/call/bridge/confi", "/../etc/passwd"):
        missing = await api.client.get(path)
        assert missing.status_code == 404
        assert missing.json()["code"] == "not_found"


async def test_what_the_account_refuses_changes_nothing(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    before = await api.store.configs.load(api.account)
    sentence = "SIP port 5999 is in use by another program"
    for attribute in ("refuse_check", "refuse_apply"):
        setattr(api.accounts, attribute, ConfigError(sentence, "sipListenPort"))
        response = await api.client.post(URL, json={"enabled": True, "sipListenPort": 5999})
        assert faults(response) == {"sipListenPort": sentence}
        assert await api.store.configs.load(api.account) == before
        setattr(api.accounts, attribute, None)


async def test_a_first_configuration_that_is_refused_late_leaves_no_trace(api: Api) -> None:
    api.accounts.refuse_apply = ConfigError("no", "sipListenPort")
    faults(await api.client.post(URL, json=SEED))
    assert await api.store.configs.load(api.account) is None


async def test_a_bug_behind_the_api_is_a_500_that_tells_nothing(api: Api) -> None:
    api.accounts.refuse_apply = RuntimeError("the secret is hunter2")
    log = io.StringIO()
    configure_logging(log_format="json", stream=log)
    try:
        response = await api.client.post(URL, json=SEED)
    finally:
        structlog.reset_defaults()
    assert response.status_code == 500
    assert response.json()["code"] == "internal"
    assert "hunter2" not in response.text
    assert response.headers["x-request-id"] in log.getvalue()


async def test_changes_at_once_do_not_lose_each_other(api: Api) -> None:
    await api.client.post(URL, json={"enabled": True})
    fields = {"sipServer": "a.example", "sipExtension": "6001", "sipUser": "u", "wasmServerIP": "10.0.0.9"}
    answers = await asyncio.gather(*(api.client.post(URL, json={"enabled": True, k: v}) for k, v in fields.items()))
    assert [answer.status_code for answer in answers] == [200] * 4
    got = (await api.client.get(URL)).json()
    assert {name: got[name] for name in fields} == fields
    assert api.accounts.applied[-1][1] == await api.store.configs.load(api.account)


async def test_an_enabled_bridge_that_nobody_can_call_says_so(api: Api) -> None:
    response = await api.client.post(URL, json={"enabled": True})
    assert response.status_code == 200
    assert {warning["field"] for warning in response.json()["warnings"]} == {"sipServer", "sipListenUser"}
    assert (await api.client.post(URL, json={"enabled": False})).json()["warnings"] == []


async def test_status_has_the_parts_and_the_calls(api: Api) -> None:
    started = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    api.accounts.calls = (
        CallSummary(CallId("c1"), Direction.WHATSAPP_TO_SIP, CallState.RINGING, "5511987654321", started),
    )
    body = (await api.client.get("/call/bridge/status")).json()
    assert body["enabled"] is False
    assert body["state"]["page"]["state"] == "LOST"
    assert body["calls"] == [
        {
            "id": "c1", "direction": "whatsapp_to_sip", "state": "RINGING", "peer": "5511987654321",
            "created_at": "2026-11-23T09:00:00.000Z", "answered_at": None,
        }
    ]  # fmt: skip


async def test_a_restart_keeps_what_was_acknowledged(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    reopened = await Store.open(api.settings)
    try:
        config = await reopened.configs.load(api.account)
        assert config is not None
        assert config.sip_listen_secret == "incomingSecret123"
        assert await reopened.keys.authenticate(api.key) == api.account
    finally:
        await reopened.close()


async def test_no_secret_stands_in_files_answers_or_logs(api: Api) -> None:
    log = io.StringIO()
    configure_logging(log_format="json", level="debug", stream=log)
    try:
        texts = [(await api.client.post(URL, json=SEED)).text]
        texts.append((await api.client.get(URL)).text)
        texts.append((await api.client.get("/call/bridge/status")).text)
        wrong = SEED | {"sipListenPort": 0, "chromeRemoteURL": "ws://helperToken9@10.0.0.1:99999"}
        texts.append((await api.client.post(URL, json=wrong)).text)
    finally:
        structlog.reset_defaults()
    files = contents(api.settings.state_dir)
    assert len(files) >= 2
    for secret in (*SECRETS, api.key):
        assert all(secret not in text for text in [*texts, log.getvalue(), repr(api.accounts.applied)])
        assert all(secret.encode() not in content for content in files)
    assert '"event": "bridge_config_changed"' in log.getvalue()


async def test_a_locked_database_is_a_500_and_nothing_changed(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    applied = len(api.accounts.applied)
    blocker = sqlite3.connect(api.settings.state_dir / "ponte.db", isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        response = await api.client.post(URL, json={"enabled": False})
        assert response.status_code == 500
        assert response.json()["code"] == "store_unavailable"
        assert "locked" in response.json()["detail"]
        assert len(api.accounts.applied) == applied
        assert (await api.client.get(URL)).json()["enabled"] is True
        blocker.execute("ROLLBACK")
    finally:
        blocker.close()
    assert (await api.client.post(URL, json={"enabled": False})).status_code == 200


async def test_a_database_file_that_is_gone_is_a_500(api: Api) -> None:
    await api.client.post(URL, json=SEED)
    remove(api.settings.state_dir, "ponte.db*")
    response = await api.client.post(URL, json={"enabled": False})
    assert response.status_code == 500
    assert "removed" in response.json()["detail"]
    assert (await api.client.get("/readyz")).status_code == 503


async def test_health_and_metrics(api: Api) -> None:
    assert (await api.client.get("/livez")).json() == {"status": "ok"}
    ready = await api.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"]["ok"]) == (200, True)
    api.health.draining = True
    draining = await api.client.get("/readyz")
    assert (draining.status_code, draining.json()["checks"]["draining"]["ok"]) == (503, False)
    await api.client.get("/nobody/home")
    text = (await api.client.get("/metrics")).text
    assert 'ponte_build_info{version="' in text
    assert 'ponte_http_request_seconds_count{code="200",method="GET",route="/livez"} 1.0' in text
    assert 'route="unmatched"' in text
    assert "nobody" not in text


async def test_the_config_of_a_fresh_account(api: Api, settings: Settings) -> None:
    assert await api.store.configs.load(api.account) is None
    got = (await api.client.get(URL)).json()
    assert got["sipListenPort"] == BridgeConfig().sip_listen_port == 5080
    assert got["wasmServerPort"] == 9080
