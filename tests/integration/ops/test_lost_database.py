"""PostgreSQL goes away in a call: what asks for it is told, the call goes on, and its record is there afterwards."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

from gateway.accounts.call_book import CallBook
from gateway.api.app import create_app
from gateway.api.deps import ApiDeps
from gateway.api.server import ApiServer
from gateway.bridge.call import Call
from gateway.bridge.flows import whatsapp_to_sip
from gateway.config import Settings
from gateway.domain.states import CallState, Direction
from gateway.events.hub import EventHub
from gateway.ops.health import Health
from gateway.ops.logs import configure_logging
from gateway.ops.metrics import Metrics
from gateway.service import bridge_check, host_policy
from gateway.store.store import Store
from tests.integration.api.fakes import FakeAccounts
from tests.integration.bridge.rig import LIMITS, PARTIES, PlayedCall, bridge_rig, phone_sdp, udp_socket
from tests.integration.browser.site import until
from tests.support.postgres import Cluster

pytestmark = pytest.mark.integration

NUMBER, NAME = "5511987654321", "Ana"  # of whom the rig's page calls for


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged, as JSON and with personal data."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(log_format="json", level="debug", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@asynccontextmanager
async def served(store: Store, settings: Settings, hub: EventHub, key: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The API over HTTP."""
    accounts, health = FakeAccounts(), Health()
    health.register("database", store.ping)
    health.register("records", store.journal.check)
    deps = ApiDeps(
        store,
        accounts,
        Metrics(),
        health,
        host_policy(settings),
        bridge_check(settings, accounts),
        hub,
        lambda url: None,
    )
    server = ApiServer(create_app(deps), "127.0.0.1", 0)
    headers = {"Authorization": f"Bearer {key}"}
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        try:
            async with httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{server.port}", headers=headers, timeout=30
            ) as client:
                yield client
        finally:
            server.stop()


async def test_a_lost_postgresql_ends_no_call_and_loses_no_record(
    tmp_path: Path, postgres: Cluster, log: io.StringIO
) -> None:
    settings = Settings(state_dir=tmp_path, database_url=postgres.new_database(), database_timeout_s=2)
    store = await Store.open(settings)
    try:
        row, key = await store.keys.create("acme")
        account, hub = row.account.id, EventHub(store)
        book = CallBook(store.journal, Metrics(), hub)
        async with store.journal.running(), served(store, settings, hub, key) as client, bridge_rig() as rig:
            whatsapp = PlayedCall(outgoing=False)
            plain = rig.call(Direction.WHATSAPP_TO_SIP)
            call = Call(plain.call_id, account, plain.direction, plain.media, LIMITS, book.changed, PARTIES)
            book.begin(call)
            flow = rig.tasks.create_task(call.run(lambda one: whatsapp_to_sip(one, whatsapp, rig.sip.caller, "1000")))
            phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
            with udp_socket() as ear:
                ear.setblocking(True)
                ear.settimeout(10)
                await phone.answer(phone_sdp(ear.getsockname()[1]))

                async def active() -> bool:
                    return call.state is CallState.ACTIVE

                await until(active)
                assert await store.journal.flush(20)
                assert (await client.get(f"/calls/{call.call_id}")).json()["ended_at"] is None
                assert (await client.get("/readyz")).status_code == 200
                postgres.stop()
                try:
                    refused = await client.get("/calls")
                    assert (refused.status_code, refused.json()["code"]) == (500, "store_unavailable")
                    assert "PostgreSQL" in refused.json()["detail"]
                    unfit = await client.get("/readyz")
                    assert (unfit.status_code, unfit.json()["checks"]["database"]["ok"]) == (503, False)
                    assert (await client.get("/livez")).status_code == 200
                    # the call goes on: what WhatsApp says is heard by the phone
                    assert rig.port.receiver is not None
                    for number in range(20):
                        packet = b"\x80\x00" + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big") + b"wasp"
                        rig.port.receiver(packet + bytes(160), asyncio.get_running_loop().time())
                    heard = await asyncio.to_thread(ear.recv, 2048)
                    assert len(heard) == 12 + 160
                    await phone.bye()
                    await asyncio.wait_for(flow, 10)
                    book.end(call)
                    assert call.state is CallState.ENDED
                    assert not await store.journal.flush(0.3)
                finally:
                    postgres.start()

                async def ready() -> bool:
                    return (await client.get("/readyz")).status_code == 200

                await until(ready, 30)
                record = (await client.get(f"/calls/{call.call_id}")).json()
                assert (record["state"], record["ending"]["reason"]) == ("ENDED", "hangup")
                told = (await client.get("/events?after=evt_0&limit=100")).json()["events"]
                assert [one["type"] for one in told][-1] == "call.ended"
    finally:
        await store.close()
    check_log(log.getvalue())


def check_log(text: str) -> None:
    """Whether who called stands in the log, and only under keys that can be dropped."""
    named = []
    for line in text.splitlines():
        event: dict[str, Any] = json.loads(line)
        personal = {name: event.pop(name) for name in list(event) if name.startswith("pii.")}
        if NUMBER in json.dumps(personal):
            named.append(event["event"])
        rest = json.dumps(event)
        for one in (NUMBER, NAME, "m=audio"):
            assert one not in rest, line
        assert "1000" not in [value for value in event.values() if isinstance(value, str)], line
    assert "call_ended" in named
    assert any('"store_write_waits"' in line for line in text.splitlines())
