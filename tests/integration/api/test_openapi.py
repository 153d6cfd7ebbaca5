"""The description of the API: complete, and true to what a live service answers, as schemathesis sees it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS
from starlette.routing import Route

from gateway.accounts.checks import Result
from gateway.api.app import create_app
from gateway.api.deps import ApiDeps
from gateway.api.described import BridgeFields
from gateway.api.limits import RateLimit
from gateway.api.openapi import describe
from gateway.api.operations import OPERATIONS
from gateway.api.server import ApiServer
from gateway.config import Settings
from gateway.domain.bridge_config import API_NAMES, BridgeConfig, to_api
from gateway.domain.bridge_status import CallSummary
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction, Origin
from gateway.events.hub import EventHub
from gateway.events.models import PageStateChanged
from gateway.events.sender import check_webhook_url
from gateway.events.signing import new_secret
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.service import host_policy, webhook_settings
from gateway.store.calls import CallRecord
from gateway.store.store import Store
from tests.integration.api.fakes import FakeAccounts, FakeControl

# Alone: schemathesis gives many tests one id, of which pytest-xdist would run the first.
pytestmark = [pytest.mark.integration, pytest.mark.alone]

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIVE = CallSummary(CallId("live"), Direction.WHATSAPP_TO_SIP, CallState.ACTIVE, "5511987654321", NOW, NOW)
UNDOCUMENTED = {"/openapi.json", "/", "/assets/{name}", "/docs", "/docs/{name}"}
# What a schema cannot say: a field that depends on another one, a host that may not be reached.
NEEDS_MORE_THAN_A_SCHEMA = {
    "changeBridge",
    "testBridge",
    "createWebhook",
    "changeWebhook",
    "offerCall",
    "transferCall",
    "listCalls",
}


class Service:
    """A live service on a real socket, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.ids: dict[str, str] = {}
        self.key = self.admin_key = ""
        self.port = 0

    def __enter__(self) -> Service:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(30)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        config = Settings(state_dir=self._folder)
        store = await Store.open(config)
        async with store.journal.running():
            row, self.key = await store.keys.create("acme")
            _, self.admin_key = await store.admin_keys.create()
            account = row.account.id
            accounts, hub = FakeAccounts(), EventHub(store)
            accounts.calls, accounts.controls = (LIVE,), {LIVE.id: FakeControl()}
            await store.configs.save(account, BridgeConfig(sip_server="pbx:5060", sip_user="u", sip_pass="p"))
            over = CallRecord(
                CallId("over"), account, Direction.SIP_TO_WHATSAPP, CallState.ENDED, NOW, origin=Origin.API,
                ended_at=NOW, result="success", reason="hangup",
            )  # fmt: skip
            await store.calls.save(over)
            hook = await store.webhooks.create(account, "https://example.com/hook", new_secret(), ())
            assert hook is not None
            hub.publish(account, PageStateChanged(state="READY", detail=""))
            self.ids = {"call": LIVE.id, "over": "over", "hook": hook.id, "delivery": "1"}

            async def nobody(account: AccountId, config: BridgeConfig) -> list[Result]:
                return [Result("chrome", False, "nobody is there", "start it")]

            deps = ApiDeps(
                store, accounts, Metrics(), Health(), host_policy(config), nobody, hub,
                lambda url: check_webhook_url(url, webhook_settings(config).allow), offers_per_min=100_000,
            )  # fmt: skip
            self.app = create_app(deps)
            self.app.state.limits.failures = RateLimit(1e6, 1e6)  # many requests without a key are part of it
            self._server = ApiServer(self.app, "127.0.0.1", 0)
            self.port = self._server.port
            self._ready.set()
            await self._server.run()
        await store.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as one:
        yield one


schema = schemathesis.openapi.from_dict(describe())


@schema.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_the_live_service_answers_as_it_is_described(case: schemathesis.Case[Any], service: Service) -> None:
    operation = case.operation.definition.raw["operationId"]
    # what is there is met in every second case, the rest is 404
    if case.path_parameters and case.operation.method != "delete" and len(repr(case.query) + repr(case.body)) % 2:
        known = {"id": service.ids["hook" if "/webhooks" in case.path else "call"], "delivery": service.ids["delivery"]}
        known |= {"name": "acme"}
        case.path_parameters = {name: known[name] for name in case.path_parameters}
    excluded: list[Any] = []
    if operation in NEEDS_MORE_THAN_A_SCHEMA:
        excluded = [CHECKS.get_one("positive_data_acceptance")]
    if case.path.startswith("/session"):  # no page is there, which a 503 says
        excluded = [CHECKS.get_one("not_a_server_error"), CHECKS.get_one("positive_data_acceptance")]
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{service.port}",
        headers={"Authorization": f"Bearer {service.admin_key if case.path.startswith('/accounts') else service.key}"},
        excluded_checks=excluded,
        timeout=20,
    )


def test_every_route_is_described(service: Service) -> None:
    routes = {
        (method.lower(), route.path)
        for route in service.app.routes
        if isinstance(route, Route) and route.path not in UNDOCUMENTED
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == {(one.method, one.path) for one in OPERATIONS}
    names = [one.name for one in OPERATIONS]
    assert len(set(names)) == len(names)


def test_the_fields_of_the_bridge_are_those_that_are_validated() -> None:
    assert set(BridgeFields.model_fields) == set(API_NAMES) == set(to_api(BridgeConfig()))
    required = {name for name, field in BridgeFields.model_fields.items() if field.is_required()}
    assert required == {"enabled"}


def test_the_description_is_served(service: Service) -> None:
    answer = httpx2.get(f"http://127.0.0.1:{service.port}/openapi.json")
    assert answer.json() == describe()
    assert answer.json()["openapi"].startswith("3.1")
