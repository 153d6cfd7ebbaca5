"""Five accounts of one gateway in Chromiums of their own, while one's crashes again and again; a sixth one's hangs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway.accounts.registry import AccountRegistry
from gateway.accounts.service import open_accounts
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.ids import AccountId
from gateway.events.hub import EventHub
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.protocol.sip.digest import DigestClient
from gateway.sip import Answered, Endpoint, EndpointSettings, SipServer, SipStack
from gateway.store.store import Store
from tests.integration.wasm_server.rig import serve
from tests.standin.server import URL, chromium_flags
from tests.standin.server import serve as serve_stand_in
from tests.support.chromium import chromium
from tests.support.ports import LOOPBACK, free_ports
from tests.support.sip_ua import ALICE, OFFER, quick_settings
from wasm_server.app import create_app
from wasm_server.build import build, default_directory

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

NUMBER = "5511988887777"
READY_S = 60.0  # five Chromiums start on two cores


@dataclass
class Served:
    """One account and what it is served by.

    Attributes:
        flags: by which its Chromium takes its own stand-in for WhatsApp Web.
        cdp_port: of its Chromium.
        phone: calls it from the SIP side.
    """

    account: AccountId
    flags: list[str]
    cdp_port: int
    phone: Endpoint


class Gateway:
    """The accounts of one gateway."""

    def __init__(self, registry: AccountRegistry, store: Store, wasm_port: int, stack: AsyncExitStack) -> None:
        self.registry, self.store = registry, store
        self._wasm_port, self._stack = wasm_port, stack

    async def add(self, name: str, cdp_port: int) -> Served:
        """Make an account as the API does, whose Chrome is at that port, started or not."""
        key, _ = await self.store.keys.create(name, account="new")
        account = key.account.id
        config = BridgeConfig(
            enabled=True, sip_listen_port=free_ports(), sip_listen_user="pbx", sip_listen_secret="geheim",
            chrome_remote_url=f"ws://{LOOPBACK}:{cdp_port}", wasm_server_ip=LOOPBACK, wasm_server_port=self._wasm_port,
        )  # fmt: skip
        await self.store.configs.save(account, config)
        await self.registry.apply(account, config)
        ports = await self._stack.enter_async_context(serve_stand_in())
        async with httpx2.AsyncClient(base_url=f"http://{LOOPBACK}:{ports.control}", timeout=20) as control:
            answer = await control.post("/settings", json={"auto_answer_ms": 50})
            assert answer.status_code == 200, answer.text
        flags = [*chromium_flags(ports.https), "--allow-loopback-in-peer-connection"]
        return Served(account, flags, cdp_port, await self._phone(config.sip_listen_port))

    async def _phone(self, port: int) -> Endpoint:
        sip = SipStack(quick_settings())
        await sip.start()
        self._stack.push_async_callback(sip.close)
        phone = await sip.add_endpoint(
            EndpointSettings(
                server=SipServer(LOOPBACK, port, "udp"), user="", password="", listen_port=0, listen_host=LOOPBACK,
                contact_user="phone",
            ),
            lambda invite: invite.reject(486),
        )  # fmt: skip
        phone._auth = DigestClient("pbx", "geheim", sip.token)
        return phone

    def page(self, one: Served) -> str:
        return self.registry.status(one.account).page.state

    def can_call(self, one: Served) -> bool:
        status = self.registry.status(one.account)
        return (status.page.state, status.media.state) == ("READY", "connected") and not status.calls

    async def page_events(self, one: Served) -> list[object]:
        events = await self.store.events.after(one.account, 0, limit=500)
        return [event.data for event in events if event.type == "page.state"]


@contextlib.asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Gateway]:
    directory = default_directory()
    await asyncio.to_thread(build, directory)
    rtp = free_ports(40)
    settings = Settings(
        state_dir=folder, sip_host=LOOPBACK, page_url=URL, reconnect_max_s=0.5, rtp_port_min=rtp, rtp_port_max=rtp + 39
    )
    async with AsyncExitStack() as stack:
        store = await Store.open(settings)
        stack.push_async_callback(store.close)
        await stack.enter_async_context(store.journal.running())
        wasm_url = await stack.enter_async_context(serve(create_app(directory)))
        registry = await stack.enter_async_context(open_accounts(settings, store, Metrics(), Health(), EventHub(store)))
        yield Gateway(registry, store, urlsplit(wasm_url).port or 0, stack)


async def until(seen: Callable[[], object], timeout_s: float = READY_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < deadline, f"not seen within {timeout_s} s"
        await asyncio.sleep(0.05)


async def call(one: Served) -> None:
    """Call WhatsApp through an account: the far end answers, the phone hangs up."""
    invite = one.phone.invite(user=NUMBER, sdp=OFFER, caller=ALICE, headers=())
    async with asyncio.timeout(30):
        while not isinstance(event := await invite.next_event(), Answered):
            assert type(event).__name__ == "Ringing", event
        await invite.bye()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a connection as a Chrome that hangs does."""
    with contextlib.closing(writer):
        await reader.read()


async def test_five_accounts_of_which_one_crashes_in_a_loop(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, gateway(tmp_path / "state") as gate:
        silent = await asyncio.start_server(say_nothing, LOOPBACK, 0)
        stack.callback(silent.close)
        hanging = await gate.add("hanging", silent.sockets[0].getsockname()[1])
        healthy = [await gate.add(f"healthy-{n}", free_ports()) for n in range(4)]
        crashing = await gate.add("crashing", free_ports())
        for one in healthy:
            await stack.enter_async_context(chromium(one.flags, port=one.cdp_port))
        crashes = 0
        enough = asyncio.Event()

        async def crash_in_a_loop() -> None:
            nonlocal crashes
            while not enough.is_set():
                async with chromium(crashing.flags, port=crashing.cdp_port) as browser:
                    await until(lambda: gate.page(crashing) != "DETACHED")
                    browser.kill()
                    await until(lambda: gate.page(crashing) == "DETACHED")
                crashes += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(crash_in_a_loop())
            for one in healthy:
                await until(lambda one=one: gate.can_call(one))  # type: ignore[misc]
            before = crashes
            told = [await gate.page_events(one) for one in healthy]
            await asyncio.gather(*(call(one) for one in healthy))
            await until(lambda: crashes >= before + 2)
            for one in healthy:
                await until(lambda one=one: gate.can_call(one), 20)  # type: ignore[misc]
            await asyncio.gather(*(call(one) for one in healthy))
            enough.set()
        # nothing befell the others' pages, and none was told of anything
        assert [await gate.page_events(one) for one in healthy] == told
        assert gate.page(hanging) == "DETACHED"
        # the one that hangs can be removed all the same
        async with gate.registry.removing(hanging.account, force=False):
            await gate.store.accounts.remove(hanging.account, delete_calls=False)
        # the one that crashed works again as soon as its Chromium stays
        await stack.enter_async_context(chromium(crashing.flags, port=crashing.cdp_port))
        await until(lambda: gate.can_call(crashing))
        await call(crashing)
