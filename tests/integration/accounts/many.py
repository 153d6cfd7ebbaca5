"""A whole gateway with several accounts, each with a stand-in, a Chromium and a phone of its own; driven by its API."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from gateway.accounts.service import open_accounts
from gateway.config import Settings
from gateway.protocol.sip.digest import DigestClient
from gateway.service import StopRequests, serve
from gateway.sip import Answered, Endpoint, EndpointSettings, OutgoingInvite, SipServer, SipStack
from gateway.store.store import Store
from tests.standin.server import URL, StandIn
from tests.support.chromium import ChromiumProcess, chromium
from tests.support.ports import LOOPBACK, free_ports
from tests.support.sip_ua import ALICE, OFFER, quick_settings
from wasm_server.build import build, default_directory

NUMBER = "5511988887777"
PATIENCE_S = 120.0  # several Chromiums start on two cores, which others use as well


class Slow:
    """A way to a Chromium on which everything takes longer, as long as `delay_s` says."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self._to = port

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, LOOPBACK, 0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            other_reader, other_writer = await asyncio.open_connection(LOOPBACK, self._to)
            with contextlib.closing(other_writer):
                ways = [(reader, other_writer), (other_reader, writer)]
                tasks = [asyncio.create_task(self._pass(one, other)) for one, other in ways]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            await asyncio.sleep(self.delay_s)
            writer.write(part)
            await writer.drain()


@dataclass
class Account:
    """One account and what it is served by.

    Attributes:
        name: of the account.
        key: for its API.
        stand_in: its WhatsApp.
        phone: calls it from the SIP side.
        way: to its Chromium.
        cdp_port: of that.
        browser: its Chromium while it runs.
    """

    name: str
    key: str
    stand_in: StandIn
    phone: Endpoint
    way: Slow
    cdp_port: int
    browser: ChromiumProcess | None = None
    _api: httpx2.AsyncClient = field(kw_only=True)

    async def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "application/json"}
        answer = await self._api.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def page(self) -> str:
        """The page's state."""
        return str((await self.get("/call/bridge/status"))["state"]["page"]["state"])

    async def can_call(self) -> bool:
        """Whether page and media are up and no call runs."""
        status = await self.get("/call/bridge/status")
        state = status["state"]
        return (state["page"]["state"], state["media"]["state"]) == ("READY", "connected") and not status["calls"]

    async def page_events(self) -> list[Any]:
        """What was told of the page so far."""
        events = (await self.get("/events?after=evt_0&limit=500"))["events"]
        return [event["data"] for event in events if event["type"] == "page.state"]

    async def begin(self) -> OutgoingInvite:
        """Call WhatsApp, and return when the far end has answered."""
        invite = self.phone.invite(user=NUMBER, sdp=OFFER, caller=ALICE, headers=())
        async with asyncio.timeout(30):
            while not isinstance(event := await invite.next_event(), Answered):
                assert type(event).__name__ == "Ringing", (self.name, event)
        return invite

    async def call(self) -> None:
        """Call WhatsApp, and hang up when the far end has answered."""
        await (await self.begin()).bye()

    @contextlib.asynccontextmanager
    async def chromium(self) -> AsyncIterator[ChromiumProcess]:
        """Run its Chromium for the length of the block."""
        flags = [*self.stand_in.flags, "--allow-loopback-in-peer-connection"]
        async with chromium(flags, port=self.cdp_port) as self.browser:
            yield self.browser

    @contextlib.contextmanager
    def hanging(self) -> Any:
        """Let every process of its Chromium stand still for the length of the block."""
        assert self.browser is not None
        group = self.browser.pid
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)


class Gateway:
    """The gateway: `ponte serve` in this process, with an admin's access."""

    def __init__(self, settings: Settings, admin: httpx2.AsyncClient, stack: AsyncExitStack) -> None:
        self.settings, self.admin = settings, admin
        self._stack = stack

    async def add(self, name: str) -> Account:
        """Make an account, and configure it for a Chromium that is not started yet."""
        made = await self.admin.post("/accounts", json={"name": name})
        assert made.status_code == 201, made.text
        key = made.json()["key"]["key"]
        stand_in = await self._stack.enter_async_context(StandIn())
        await stand_in.post("/settings", auto_answer_ms=50)
        cdp_port, sip_port = free_ports(), free_ports()
        way = Slow(cdp_port)
        server = await way.serve()
        self._stack.callback(server.close)
        body = {
            "enabled": True, "sipListenPort": sip_port, "sipListenUser": "pbx", "sipListenSecret": "geheim",
            "chromeRemoteURL": f"ws://{LOOPBACK}:{server.sockets[0].getsockname()[1]}",
            "wasmServerPort": self.settings.wasm_port,
        }  # fmt: skip
        headers = {"Authorization": f"Bearer {key}"}
        answer = await self.admin.post("/call/bridge/config", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return Account(name, key, stand_in, await self._phone(sip_port), way, cdp_port, _api=self.admin)

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


@contextlib.asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Gateway]:
    """Run a gateway whose database and state are in *folder*."""
    await asyncio.to_thread(build, default_directory())
    first = free_ports(44)
    settings = Settings(
        state_dir=folder, sip_host=LOOPBACK, api_host=LOOPBACK, api_port=first, wasm_host=LOOPBACK, wasm_port=first + 1,
        page_url=URL, reconnect_max_s=0.5, rtp_port_min=first + 2, rtp_port_max=first + 41,
    )  # fmt: skip
    store = await Store.open(settings)
    try:
        _, key = await store.admin_keys.create()
    finally:
        await store.close()
    ready, stop = asyncio.Event(), StopRequests()
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(serve(settings, open_accounts, on_ready=lambda _: ready.set(), stop=stop))
        stack.callback(stop.now.set)
        await asyncio.wait_for(ready.wait(), 30)
        admin = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=f"http://{LOOPBACK}:{first}", headers={"Authorization": f"Bearer {key}"}, timeout=60
            )
        )
        yield Gateway(settings, admin, stack)


async def until(seen: Callable[[], Awaitable[object]], timeout_s: float = PATIENCE_S) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + timeout_s
    while not await seen():
        assert time.monotonic() < deadline, f"not seen within {timeout_s} s"
        await asyncio.sleep(0.1)
