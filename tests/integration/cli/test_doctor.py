"""`ponte doctor` against real things: Chromium, the wasm server's app, our own SIP stack, and their absence."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway import doctor
from gateway.accounts.checks import Result
from gateway.api.server import ApiServer
from gateway.browser.assets import PAGE_ABI, REQUIRED
from gateway.browser.discovery import list_pages
from gateway.browser.endpoint import parse_browser_url
from gateway.browser.helper import HelperClient
from gateway.browser.local_helper import LocalHelper, LocalHelperSettings
from gateway.browser.settings import HttpSettings
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.sip.settings import EndpointSettings
from gateway.sip.stack import SipStack
from gateway.store.store import Store
from tests.integration.browser.site import until
from tests.support.chromium import BASE_FLAGS, chromium
from tests.support.ports import free_ports
from tests.support.rtpengine import INSTALLED, NOT_INSTALLED, rtpengine
from wasm_server.app import create_app

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    rtp = free_ports(4)
    return Settings(
        state_dir=tmp_path / "state", api_port=free_ports(), sip_host="127.0.0.1",
        rtp_port_min=rtp, rtp_port_max=rtp + 3, connect_timeout_s=2, http_timeout_s=5,
    )  # fmt: skip


async def store_config(settings: Settings, config: BridgeConfig | None, name: str = "acme") -> None:
    store = await Store.open(settings)
    key, _ = await store.keys.create(name)
    if config is not None:
        await store.configs.save(key.account.id, config)
    await store.close()


async def results(settings: Settings, account: str | None = None) -> dict[str, Result]:
    found = await doctor.run(settings, account=account)
    for result in found:
        assert result.detail
        assert result.ok == (result.fix == ""), result
    return {result.check: result for result in found}


@asynccontextmanager
async def served(app: ASGIApp, port: int = 0) -> AsyncIterator[int]:
    server = ApiServer(app, "127.0.0.1", port)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        try:
            yield server.port
        finally:
            server.stop()


def built(folder: Path, *, abi: int = PAGE_ABI) -> Path:
    """A folder as the build leaves it, with small files."""
    files = {}
    for name in REQUIRED:
        content = f"// {name}".encode()
        (folder / name).write_bytes(content)
        files[name] = {
            "path": f"/{name}", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content),
            "type": "application/wasm" if name.endswith(".wasm") else "text/javascript",
        }  # fmt: skip
    manifest = {"abi": abi, "version": "0.1.0", "wajs": "4.6.0", "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


async def test_an_empty_machine_is_told_what_to_do_first(settings: Settings) -> None:
    found = await results(settings)
    assert found["clock"].ok
    assert found["database"].ok
    assert found["api"].ok
    assert "4 of 4" in found["rtp ports"].detail
    assert found["accounts"].fix == "ponte keys create"
    await store_config(settings, None)
    assert "not configured yet" in (await results(settings))["acme: configuration"].detail


async def test_where_an_rtpengine_carries_the_audio_it_is_asked(settings: Settings) -> None:
    port = free_ports()
    changed = settings.model_copy(update={"media": "rtpengine", "rtpengine": f"udp:127.0.0.1:{port}"})
    found = await results(changed)
    assert "rtp ports" not in found
    assert "does not answer" in found["rtpengine"].detail
    assert "PONTE_RTPENGINE" in found["rtpengine"].fix


@pytest.mark.skipif(not INSTALLED, reason=NOT_INSTALLED)
async def test_an_rtpengine_that_answers_is_named(settings: Settings, tmp_path: Path) -> None:
    async with rtpengine(tmp_path) as engine:
        flags = {"media": "rtpengine", "rtpengine": f"udp:127.0.0.1:{engine.port}"}
        found = (await results(settings.model_copy(update=flags)))["rtpengine"]
        keys = "keys in RTP are not heard, since PONTE_RTPENGINE_KEYS is empty"
        assert found.detail == f"answers at 127.0.0.1 port {engine.port}; {keys}"


async def test_nothing_is_there(settings: Settings) -> None:
    config = BridgeConfig(
        enabled=True,
        sip_server=f"127.0.0.1:{free_ports()}",
        sip_listen_port=free_ports(),
        wasm_server_ip="127.0.0.1",
        wasm_server_port=free_ports(),
        chrome_remote_url=f"ws://127.0.0.1:{free_ports()}",
        node_remote_helper=f"http://:hunter2@127.0.0.1:{free_ports()}",
    )
    await store_config(settings, config)
    found = await results(settings)
    failed = {name.removeprefix("acme: ") for name, result in found.items() if not result.ok}
    assert failed == {"helper", "chrome", "assets", "page", "sip server"}
    assert found["acme: page"].detail == "not checked: Chrome is not reachable"
    assert found["acme: sip listener"].ok
    text = doctor.as_text(list(found.values()))
    assert "hunter2" not in text + doctor.as_json(list(found.values()))
    assert len(text.splitlines()) == len(found)
    assert all(line.startswith(("ok  ", "FAIL")) for line in text.splitlines())
    assert json.loads(doctor.as_json(list(found.values())))["ok"] is False
    assert not [name for name in await results(settings, account="nobody") if name.startswith("acme")]


async def test_an_account_without_any_url_has_its_chrome_started_here(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await store_config(settings, BridgeConfig(enabled=True, sip_listen_user="u", sip_listen_port=free_ports()))
    found = await results(settings)
    assert "chromium" in found["acme: chrome"].detail
    assert "acme: page" not in found
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Node.js is not installed" in (await results(settings))["acme: chrome"].detail


async def test_ports_that_others_have(settings: Settings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy, socket.create_server(("127.0.0.1", 0)) as api:
        busy.bind(("127.0.0.1", 0))
        await store_config(
            settings, BridgeConfig(enabled=True, sip_listen_user="u", sip_listen_port=busy.getsockname()[1])
        )
        taken = busy.getsockname()[1]
        found = await results(settings.model_copy(update={"api_port": api.getsockname()[1]}))
    assert f"UDP port {taken}" in found["acme: sip listener"].detail
    assert not found["api"].ok


async def test_a_database_that_cannot_be_opened(settings: Settings) -> None:
    broken = settings.model_copy(update={"database_url": "sqlite:////proc/nothing/ponte.db"})
    assert not (await results(broken))["database"].ok


async def test_a_sip_server_that_answers_and_is_not_registered_with(settings: Settings) -> None:
    stack = SipStack()
    await stack.start()
    try:
        pbx = await stack.add_endpoint(
            EndpointSettings(listen_port=free_ports(), listen_host="127.0.0.1", listen_user="x", listen_secret="y"),
            lambda invite: invite.reject(503),
        )
        server = f"127.0.0.1:{pbx.listener.port}"
        await store_config(settings, BridgeConfig(enabled=True, sip_server=server, sip_listen_port=free_ports()))
        assert (await results(settings))["acme: sip server"].detail == f"{server} answers OPTIONS"
        pbx.set_available(False, "down")
        assert "503" in (await results(settings))["acme: sip server"].detail
    finally:
        await stack.close()


def probe(answer: str) -> str:
    return f"globalThis.__ponte = {{probe: async () => ({answer})}};"


READY = probe("{abi: 1, state: 'READY', waVersion: '2.3', wajsVersion: '4.6.0', missing: []}")
DEGRADED = probe("{state: 'DEGRADED', detail: 'calls are off', missing: ['gate', 'stack']}")


@pytest.mark.parametrize(
    ("script", "ok", "words"),
    [
        (READY, True, ["READY", "2.3"]),
        (DEGRADED, False, ["DEGRADED: calls are off", "gate, stack"]),
        (READY + "Date.now = () => 0;", False, ["the clock of Chrome's host is -"]),
        ("", False, ["Ponte is not in it"]),
    ],
    ids=["ready", "degraded", "clock", "nothing"],
)
async def test_the_page(settings: Settings, script: str, ok: bool, words: list[str]) -> None:
    async def page(request: Request) -> Response:
        return HTMLResponse(f"<title>loaded</title><script>{script}</script>")

    async with (
        served(Starlette(routes=[Route("/", page)])) as page_port,
        chromium(url=f"http://127.0.0.1:{page_port}/") as chrome,
    ):
        await until(lambda: loaded(chrome.ws_url), 20)
        config = BridgeConfig(
            enabled=True, sip_listen_user="u", sip_listen_port=free_ports(), chrome_remote_url=chrome.ws_url
        )
        await store_config(settings, config)
        found = await results(settings.model_copy(update={"page_url": f"http://127.0.0.1:{page_port}/"}))
        assert "Chrome/" in found["acme: chrome"].detail
        assert found["acme: page"].ok is ok, found["acme: page"]
        for word in words:
            assert word in found["acme: page"].detail
        assert "no page of web.whatsapp.com is open" in (await results(settings))["acme: page"].detail


async def loaded(url: str) -> bool:
    return any(page.title == "loaded" for page in await list_pages(parse_browser_url(url), HttpSettings()))


async def test_the_assets(settings: Settings, tmp_path: Path) -> None:
    async with served(create_app(built(tmp_path))) as port:
        config = BridgeConfig(
            enabled=True, sip_listen_user="u", sip_listen_port=free_ports(), wasm_server_ip="127.0.0.1",
            wasm_server_port=port, chrome_remote_url=f"ws://127.0.0.1:{free_ports()}",
        )  # fmt: skip
        await store_config(settings, config)
        assert "hashes right" in (await results(settings))["acme: assets"].detail
        built(tmp_path, abi=PAGE_ABI + 1)
        assert "ABI" in (await results(settings))["acme: assets"].detail
        built(tmp_path)
        (tmp_path / "page.js").write_bytes(b"// altered")
        assert not (await results(settings))["acme: assets"].ok


async def test_a_gateway_that_runs_keeps_its_ports(settings: Settings) -> None:
    async def livez(request: Request) -> Response:
        return Response(headers={"X-Request-Id": "1"})

    async with served(Starlette(routes=[Route("/livez", livez)]), settings.api_port):
        await store_config(settings, BridgeConfig(enabled=True, sip_listen_user="u", sip_listen_port=1))
        found = await results(settings)
    assert "the gateway answers" in found["api"].detail
    assert "which runs" in found["acme: sip listener"].detail


async def healthy(client: HelperClient) -> bool:
    return bool((await client.health())["status"] == "ok")


async def test_a_helper_says_where_chrome_is(settings: Settings, tmp_path: Path) -> None:
    # The helper itself makes Chrome headless; its token comes from the URL, or from the settings.
    own = LocalHelperSettings(profile=tmp_path / "profile", flags=BASE_FLAGS[1:])
    async with LocalHelper(own) as helper:
        client = HelperClient(helper.helper_endpoint)
        await until(lambda: healthy(client), 30)
        endpoint = helper.helper_endpoint
        bare = f"http://{endpoint.netloc}"
        config = BridgeConfig(enabled=True, sip_listen_user="u", sip_listen_port=free_ports(), node_remote_helper=bare)
        await store_config(settings, config)
        refused = await results(settings)
        assert not refused["acme: helper"].ok
        assert "not checked" in refused["acme: chrome"].detail
        found = await results(settings.model_copy(update={"helper_token": SecretStr(endpoint.token or "")}))
        assert found["acme: helper"].ok
        assert "Chrome/" in found["acme: chrome"].detail
        assert (endpoint.token or "") not in doctor.as_text(list(found.values()))
