from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.api.app import create_app
from gateway.api.deps import ApiDeps
from gateway.config import Settings
from gateway.domain.ids import AccountId
from gateway.events.hub import EventHub
from gateway.events.sender import check_webhook_url
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.service import bridge_check, host_policy, webhook_settings
from gateway.store.store import Store
from tests.integration.api.fakes import FakeAccounts


@dataclass
class Api:
    """The API in-process over ASGI, on a real store."""

    client: httpx2.AsyncClient
    store: Store
    settings: Settings
    accounts: FakeAccounts
    health: Health
    account: AccountId
    key: str
    deps: ApiDeps
    events: EventHub


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", database_timeout_s=1, webhook_allow_hosts=("127.0.0.0/8",))


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    store = await Store.open(settings)
    row, key = await store.keys.create("acme")
    accounts, health = FakeAccounts(), Health()
    health.register("database", store.ping)
    hub = EventHub(store)
    deps = ApiDeps(
        store, accounts, Metrics(), health, host_policy(settings), bridge_check(settings, accounts),
        hub, lambda url: check_webhook_url(url, webhook_settings(settings).allow),
    )  # fmt: skip
    client = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=create_app(deps)),
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {key}"},
    )
    try:
        async with client, store.journal.running():
            yield Api(client, store, settings, accounts, health, row.account.id, key, deps, hub)
    finally:
        await store.close()
