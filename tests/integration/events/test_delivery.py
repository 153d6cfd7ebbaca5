"""Webhooks to a real endpoint: order, retries by a clock that the test sets, restarts, rotation, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from gateway.browser.allow import AllowList
from gateway.config import Settings
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId
from gateway.domain.states import CallState, Direction, Origin
from gateway.events.delivery import Deliverer
from gateway.events.hub import EventHub
from gateway.events.models import CallStateChanged, PageStateChanged
from gateway.events.schedule import CAP_S
from gateway.events.sender import NotSent, Sender, SenderSettings, check_webhook_url
from gateway.events.signing import new_secret
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.service import StopRequests, serve
from gateway.store.store import Store
from gateway.store.webhooks import Webhook
from tests.integration.api.fakes import FakeAccounts
from tests.support.hook_receiver import Receiver, receiving
from tests.support.postgres import Cluster

pytestmark = pytest.mark.integration

BEGIN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LOOPBACK = AllowList.parse(["127.0.0.0/8"])


@dataclass
class Clock:
    now: datetime = BEGIN

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Post:
    """A store with its hub and its deliverer."""

    store: Store
    hub: EventHub
    deliverer: Deliverer
    account: AccountId
    metrics: Metrics

    async def publish(self, *states: str) -> None:
        for state in states:
            self.hub.publish(self.account, PageStateChanged(state=state, detail=""))
        assert await self.store.journal.flush(20)

    async def hook(self, url: str, *events: str) -> Webhook:
        hook = await self.store.webhooks.create(self.account, url, new_secret(), events)
        assert hook is not None
        return hook


@asynccontextmanager
async def post(settings: Settings, clock: Clock, *, timeout_s: float = 5) -> AsyncIterator[Post]:
    """Open the store, as a start of the gateway does."""
    store = await Store.open(settings)
    try:
        accounts = await store.keys.accounts()
        account = accounts[0] if accounts else (await store.keys.create("acme"))[0].account
        sender, metrics = Sender(SenderSettings(LOOPBACK, timeout_s)), Metrics()
        hub = EventHub(store, now=clock)
        async with store.journal.running():
            deliverer = Deliverer(store, sender, metrics, now=clock, jitter=lambda: 0.0)
            yield Post(store, hub, deliverer, account.id, metrics)
    finally:
        await store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state")


async def until_delivered(here: Post, clock: Clock, *, by: datetime) -> None:
    """Let the clock jump from one try to the next."""
    while (next_at := await here.deliverer.turn()) is not None:
        assert next_at <= by, f"nothing more before {next_at}"
        clock.now = max(next_at, clock.now)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_an_endpoint_that_is_down_for_an_hour_loses_nothing(
    settings: Settings, clock: Clock, backend: str, request: pytest.FixtureRequest
) -> None:
    if backend == "postgresql":
        postgres: Cluster = request.getfixturevalue("postgres")
        settings = settings.model_copy(update={"database_url": postgres.new_database()})
    receiver = Receiver()
    async with receiving(receiver):
        pass  # the port is known now, and nobody listens
    async with post(settings, clock) as here:
        hook = await here.hook(receiver.url)
        while clock.now < BEGIN + timedelta(minutes=30):
            await here.publish(f"S{clock.now:%M%S}")
            next_at = await here.deliverer.turn()
            assert next_at is not None
            clock.now = max(next_at, clock.now + timedelta(seconds=20))
    # the gateway stops and starts anew in between
    async with post(settings, clock) as here:
        while clock.now < BEGIN + timedelta(hours=1):
            await here.publish(f"S{clock.now:%M%S}")
            await here.deliverer.turn()
            clock.now += timedelta(seconds=50)
        published = [f"evt_{one.seq}" for one in await here.store.events.after(here.account, 0, limit=1000)]
        assert len(published) > 40
        assert receiver.got == []
        async with receiving(receiver):
            await until_delivered(here, clock, by=BEGIN + timedelta(hours=1, seconds=2 * CAP_S))
        assert [one.headers["webhook-id"] for one in receiver.got] == published  # each once, in order
        assert all(one.signed_by(hook.secret) for one in receiver.got)
        log = await here.store.webhooks.deliveries(hook.id, before=None, limit=1000)
        assert {one.state for one in log} == {"delivered"}
        assert len(log[-1].attempts) > 5
        assert log[-1].attempts[0].error == "connection refused"
        assert log[-1].attempts[-1].status == 204


async def test_what_is_sent(settings: Settings, clock: Clock) -> None:
    receiver = Receiver()
    async with receiving(receiver), post(settings, clock) as here:
        every = await here.hook(receiver.url)
        await here.hook(receiver.url, "call.ended")  # wants none of these
        await here.publish("READY")
        assert await here.deliverer.turn() is None
        [got] = receiver.got
        assert got.event == {
            "id": "evt_1", "type": "page.state", "timestamp": "2026-11-23T12:00:00.000Z",
            "data": {"state": "READY", "detail": ""},
        }  # fmt: skip
        assert got.headers["webhook-id"] == "evt_1"
        assert got.headers["webhook-timestamp"] == str(int(BEGIN.timestamp()))
        assert got.headers["content-type"] == "application/json"
        assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert got.signed_by(every.secret)
        assert b'ponte_webhook_deliveries_total{event="page.state",outcome="delivered"} 1.0' in here.metrics.render()


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
async def test_every_answer_but_2xx_is_tried_again(settings: Settings, clock: Clock, status: int) -> None:
    receiver = Receiver(status=status, location="http://127.0.0.1:1/elsewhere")
    async with receiving(receiver), post(settings, clock) as here:
        await here.hook(receiver.url)
        await here.publish("A", "B")
        assert await here.deliverer.turn() == BEGIN + timedelta(seconds=5)
        assert receiver.ids == ["evt_1"]  # the second waits for the same pause
        receiver.status = 200
        clock.now += timedelta(seconds=5)
        assert await here.deliverer.turn() is None
        assert [one.headers["webhook-id"] for one in receiver.got] == ["evt_1", "evt_1", "evt_2"]


async def test_one_endpoint_that_is_down_holds_no_other_up(settings: Settings, clock: Clock) -> None:
    down, up = Receiver(status=500), Receiver()
    async with receiving(down), receiving(up), post(settings, clock) as here:
        await here.hook(down.url)
        await here.hook(up.url)
        await here.publish("A", "B", "C")
        await here.deliverer.turn()
        assert (down.ids, up.ids) == (["evt_1"], ["evt_1", "evt_2", "evt_3"])


async def test_an_endpoint_that_hangs_is_given_up_in_time(settings: Settings, clock: Clock) -> None:
    receiver = Receiver(status=0)
    async with receiving(receiver), post(settings, clock, timeout_s=0.2) as here:
        hook = await here.hook(receiver.url)
        await here.publish("A")
        await here.deliverer.turn()
        [one] = await here.store.webhooks.deliveries(hook.id, before=None, limit=9)
        assert one.attempts[0].error == "no answer within 0.2 s"
        receiver.status = 200


async def test_after_three_days_it_is_given_up_and_410_ends_it(settings: Settings, clock: Clock) -> None:
    receiver = Receiver(status=500)
    async with receiving(receiver), post(settings, clock) as here:
        hook = await here.hook(receiver.url)
        await here.publish("A")
        await here.deliverer.turn()
        clock.now += timedelta(days=3)
        await here.deliverer.turn()
        [one] = await here.store.webhooks.deliveries(hook.id, before=None, limit=9)
        assert (one.state, len(one.attempts)) == ("failed", 2)
        clock.now += timedelta(hours=1)
        receiver.status = 410
        await here.publish("B", "C")
        assert await here.deliverer.turn() is None
        gone = await here.store.webhooks.get(here.account, hook.id)
        assert gone is not None
        assert (gone.enabled, gone.disabled_reason) == (False, "the endpoint answered 410 Gone")
        # what waited is sent when it is switched on again
        receiver.status = 200
        await here.store.webhooks.change(here.account, hook.id, enabled=True)
        clock.now = datetime.now(UTC) + timedelta(seconds=1)
        await here.deliverer.turn()
        assert receiver.ids == ["evt_1", "evt_2", "evt_3"]


async def test_two_secrets_sign_during_a_rotation(settings: Settings, clock: Clock) -> None:
    receiver = Receiver()
    async with receiving(receiver), post(settings, clock) as here:
        hook = await here.hook(receiver.url)
        fresh, until = new_secret(), BEGIN + timedelta(days=1)
        await here.store.webhooks.change(
            here.account, hook.id, secret=fresh, old_secret=hook.secret, old_secret_until=until
        )
        await here.publish("A")
        await here.deliverer.turn()
        clock.now = until
        await here.publish("B")
        await here.deliverer.turn()
        during, after = receiver.got
        assert (during.signed_by(fresh), during.signed_by(hook.secret)) == (True, True)
        assert (after.signed_by(fresh), after.signed_by(hook.secret)) == (True, False)


async def test_replay_by_hand(settings: Settings, clock: Clock) -> None:
    receiver = Receiver()
    async with receiving(receiver), post(settings, clock) as here:
        hook = await here.hook(receiver.url)
        await here.publish("A")
        await here.deliverer.turn()
        [one] = await here.store.webhooks.deliveries(hook.id, before=None, limit=9)
        assert await here.store.webhooks.replay(hook.id, one.id, clock.now)
        assert not await here.store.webhooks.replay("wh_other", one.id, clock.now)
        await here.deliverer.turn()
        assert [got.headers["webhook-id"] for got in receiver.got] == ["evt_1", "evt_1"]
        [one] = await here.store.webhooks.deliveries(hook.id, before=None, limit=9)
        assert (one.state, len(one.attempts)) == ("delivered", 2)


async def test_erasing_a_person_takes_what_waits_with_it(settings: Settings, clock: Clock) -> None:
    receiver = Receiver(status=500)
    async with receiving(receiver), post(settings, clock) as here:
        await here.hook(receiver.url)
        for number in ("5511987654321", "4915112345678"):
            event = CallStateChanged(
                call_id="c", direction=Direction.SIP_TO_WHATSAPP, origin=Origin.SIP, whatsapp_number=number,
                whatsapp_name="Ana", sip_user=None, state=CallState.RINGING,
            )  # fmt: skip
            here.hub.publish(here.account, event)
        assert await here.store.journal.flush(20)
        await here.store.erase(here.account, "5511987654321")
        receiver.status = 200
        await until_delivered(here, clock, by=BEGIN + timedelta(minutes=1))
        assert [one.event["data"]["whatsapp_number"] for one in receiver.got] == ["4915112345678"]


async def test_the_log_is_bounded_but_not_what_a_webhook_waits_for(settings: Settings, clock: Clock) -> None:
    receiver = Receiver(status=500)
    async with receiving(receiver), post(settings, clock) as here:
        await here.publish("A", "B", "C", "D")
        await here.hook(receiver.url)
        await here.publish("E", "F")
        assert await here.store.events.trim(BEGIN, keep=3) == 3
        assert await here.store.events.trim(BEGIN + timedelta(days=9), keep=1) == 1
        assert [one.seq for one in await here.store.events.after(here.account, 0, limit=9)] == [5, 6]
        receiver.status = 200
        await until_delivered(here, clock, by=BEGIN + timedelta(minutes=1))
        assert await here.store.events.trim(BEGIN + timedelta(days=9), keep=1) == 2
        await here.publish("G")
        assert [one.seq for one in await here.store.events.after(here.account, 0, limit=9)] == [7]  # never given twice


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.2:8443/x", "https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/",
        "https://[::ffff:10.0.0.1]/", "http://93.184.216.34/", "ftp://example.com/", "https://user:pw@example.com/",
        "https://example.com:0/", "https://exa mple.com/", "https://example.com/#x", "example.com", "https:///x", "",
    ],
)  # fmt: skip
async def test_where_nothing_is_sent(url: str) -> None:
    nowhere = AllowList()
    with pytest.raises(ConfigError) as caught:
        check_webhook_url(url, nowhere)
    assert caught.value.field == "url"
    with pytest.raises(NotSent):
        await Sender(SenderSettings(nowhere, 2)).post(url, b"{}", {})


async def test_a_name_that_leads_inside_is_not_sent_to(settings: Settings, clock: Clock) -> None:
    check_webhook_url("https://localhost/hook", AllowList())  # names are looked up when something is sent
    with pytest.raises(NotSent, match="no public address"):
        await Sender(SenderSettings(AllowList(), 5)).post("https://localhost/hook", b"{}", {})
    receiver = Receiver()
    async with receiving(receiver):
        allowed = Sender(SenderSettings(AllowList.parse(["localhost"]), 5))
        try:
            status = await allowed.post(f"http://localhost:{receiver.port}/hook", b"{}", {})
        except NotSent:
            pytest.skip("localhost is ::1 first here")
        assert status == 204


async def test_a_gateway_that_is_restarted_delivers_what_was_left(settings: Settings) -> None:
    """The process's own wiring: journal, hub and deliverer run, and a stop in between loses nothing."""
    receiver = Receiver()
    async with receiving(receiver):
        pass
    quick = settings.model_copy(update={"api_port": 0, "webhook_allow_hosts": ("127.0.0.0/8",)})
    store = await Store.open(quick)
    _, key = await store.keys.create("acme")
    await store.close()

    class Publishing(FakeAccounts):
        def __init__(self) -> None:
            super().__init__()
            self.may_end.set()

        @asynccontextmanager
        async def open(
            self, settings: Settings, store: Store, metrics: Metrics, health: Health, events: EventHub
        ) -> AsyncIterator[FakeAccounts]:
            [account] = await store.keys.accounts()
            self.events, self.account = events, account.id
            yield self

        def publish(self, state: str) -> None:
            self.events.publish(self.account, PageStateChanged(state=state, detail=""))

    async def life(work: Callable[[httpx2.AsyncClient, Publishing], Awaitable[None]]) -> None:
        accounts, stop = Publishing(), StopRequests()
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(quick, accounts.open, with_wasm=False, on_ready=ready.set_result, stop=stop))
            async with httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{await ready}", headers={"Authorization": f"Bearer {key}"}
            ) as client:
                await work(client, accounts)
            stop.on_sigint()

    async def first(client: httpx2.AsyncClient, accounts: Publishing) -> None:
        made = await client.post("/webhooks", json={"url": receiver.url})
        assert made.status_code == 201, made.text
        for state in ("A", "B", "C"):
            accounts.publish(state)

    async def second(client: httpx2.AsyncClient, accounts: Publishing) -> None:
        [hook] = (await client.get("/webhooks")).json()["webhooks"]
        await client.patch(f"/webhooks/{hook['id']}", json={"enabled": True})  # does not wait out the pause
        accounts.publish("D")
        await receiver.wait(4)
        assert [one.event["data"]["state"] for one in receiver.got] == ["A", "B", "C", "D"]

    await life(first)
    async with receiving(receiver):
        await life(second)
