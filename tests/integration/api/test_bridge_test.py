"""`POST /call/bridge/test`: real checks of a configuration that is not stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.accounts.checks import Result
from gateway.api.app import create_app
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId
from gateway.sip.settings import EndpointSettings
from gateway.sip.stack import SipStack
from tests.integration.api.conftest import Api
from tests.integration.api.test_bridge_api import faults
from tests.integration.cli.test_doctor import built, served
from tests.support.ports import free_ports
from wasm_server.app import create_app as create_wasm_app

pytestmark = pytest.mark.integration

URL = "/call/bridge/test"


def dead_ends() -> dict[str, Any]:
    return {
        "sipServer": f"127.0.0.1:{free_ports()}",
        "wasmServerIP": "127.0.0.1",
        "wasmServerPort": free_ports(),
        "chromeRemoteURL": f"ws://127.0.0.1:{free_ports()}",
        "nodeRemoteHelper": f"http://:hunter2@127.0.0.1:{free_ports()}",
    }


async def test_nothing_is_there(api: Api) -> None:
    answer = await api.client.post(URL, json=dead_ends(), timeout=60)
    assert answer.status_code == 200
    body = answer.json()
    assert body["ok"] is False
    found = {one["check"]: one for one in body["checks"]}
    assert {name for name, one in found.items() if not one["ok"]} == {
        "helper",
        "chrome",
        "assets",
        "page",
        "sip server",
    }
    assert found["sip listener"]["ok"]
    assert "nodeRemoteHelper" in found["helper"]["fix"]
    assert "connection refused" in found["helper"]["detail"]
    assert "hunter2" not in answer.text
    # nothing is stored, nothing applied
    assert await api.store.configs.load(api.account) is None
    assert api.accounts.applied == []


async def test_what_is_there_is_reached(api: Api, tmp_path: Path) -> None:
    stack = SipStack()
    await stack.start()
    try:
        pbx = await stack.add_endpoint(
            EndpointSettings(listen_port=0, listen_host="127.0.0.1", listen_user="x", listen_secret="y"),
            lambda invite: invite.reject(503),
        )
        async with served(create_wasm_app(built(tmp_path))) as port:
            fields = dead_ends() | {"sipServer": f"127.0.0.1:{pbx.listener.port}", "wasmServerPort": port}
            answer = await api.client.post(URL, json=fields, timeout=60)
    finally:
        await stack.close()
    found = {one["check"]: one for one in answer.json()["checks"]}
    assert found["sip server"]["ok"], found
    assert found["assets"]["ok"], found


async def test_a_listen_port_that_another_has(api: Api) -> None:
    api.accounts.refuse_check = ConfigError("SIP port 5999 is in use by another program", "sipListenPort")
    fields = {"sipServer": f"127.0.0.1:{free_ports()}", "chromeRemoteURL": f"ws://127.0.0.1:{free_ports()}"}
    answer = await api.client.post(URL, json=fields, timeout=60)
    found = {one["check"]: one for one in answer.json()["checks"]}
    assert found["sip listener"]["detail"] == "SIP port 5999 is in use by another program"


async def test_what_is_stored_is_tested_when_nothing_is_sent(api: Api) -> None:
    seen: list[BridgeConfig] = []

    async def note(account: AccountId, config: BridgeConfig) -> list[Result]:
        seen.append(config)
        return [Result("chrome", True, "there")]

    await api.store.configs.save(api.account, BridgeConfig(enabled=False, sip_pass="p1", sip_user="u"))
    app = create_app(replace(api.deps, check_bridge=note))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=api.client.headers) as client:
        answer = await client.post(URL)
        assert answer.json() == {
            "ok": True, "checks": [{"check": "chrome", "ok": True, "detail": "there", "fix": ""}],
        }  # fmt: skip
        await client.post(URL, json={"sipUser": "v"})
    assert [(one.enabled, one.sip_user, one.sip_pass) for one in seen] == [(True, "u", "p1"), (True, "v", "p1")]


async def test_bad_fields_are_not_tried(api: Api) -> None:
    bad = {"chromeRemoteURL": "ws://169.254.169.254:80", "nodeRemoteHelper": "http://8.8.8.8", "sipListenPort": 0}
    assert set(faults(await api.client.post(URL, json=bad))) == set(bad)


async def test_one_test_at_a_time(api: Api) -> None:
    going, may_end = asyncio.Event(), asyncio.Event()

    async def slow(account: AccountId, config: BridgeConfig) -> list[Result]:
        going.set()
        await may_end.wait()
        return []

    app = create_app(replace(api.deps, check_bridge=slow))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=api.client.headers) as client:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(client.post(URL))
            await going.wait()
            second = await client.post(URL)
            may_end.set()
        assert (second.status_code, second.headers["retry-after"]) == (429, "5")
        assert first.result().status_code == 200
