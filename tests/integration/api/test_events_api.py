"""`/events` and `/webhooks`: streams on a real socket, the rest over ASGI; on a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.api.events import SUBPROTOCOL
from gateway.events.hub import TooSlow
from gateway.events.models import PageStateChanged
from tests.integration.api.conftest import Api
from tests.integration.api.test_bridge_api import faults
from tests.integration.api.test_server import served
from tests.integration.bridge.test_flows import until

pytestmark = pytest.mark.integration


async def publish(api: Api, *states: str) -> None:
    for state in states:
        api.events.publish(api.account, PageStateChanged(state=state, detail=""))
    assert await api.store.journal.flush(20)


class Stream:
    """Server-Sent Events, as a browser reads them."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> dict[str, str]:
        """The fields of the next event that has data."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line == "" and "data" in fields:
                    return fields
                if name:
                    fields[name] = value
        raise AssertionError("the stream ended")

    async def end(self) -> None:
        async with asyncio.timeout(20):
            async for _ in self._lines:
                pass


@asynccontextmanager
async def listening(api: Api, port: int, **headers: str) -> AsyncIterator[Stream]:
    sent = {"Authorization": f"Bearer {api.key}", "Accept": "text/event-stream"} | headers
    async with (
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        client.stream("GET", "/events", headers=sent, timeout=30) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response.aiter_lines())


async def until_subscribed(api: Api, count: int = 1) -> None:
    await until(lambda: api.events.count(api.account) == count)


async def test_server_sent_events_live_and_resumed(api: Api) -> None:
    await publish(api, "A")  # before anybody listens
    async with served(api) as port:
        async with listening(api, port) as stream:
            await until_subscribed(api)
            await publish(api, "B", "C")
            first, second = await stream.next(), await stream.next()
        assert (first["id"], first["event"], first["retry"]) == ("evt_2", "page.state", "2000")
        assert json.loads(first["data"])["data"] == {"state": "B", "detail": ""}
        assert json.loads(second["data"])["id"] == "evt_3"
        await until_subscribed(api, 0)
        await publish(api, "D")  # while nobody listens
        async with listening(api, port, **{"Last-Event-ID": "evt_2"}) as stream:
            assert [(await stream.next())["id"] for _ in range(2)] == ["evt_3", "evt_4"]
            await publish(api, "E")
            assert (await stream.next())["id"] == "evt_5"


async def test_what_is_not_kept_any_more_is_told(api: Api) -> None:
    await publish(api, *"ABCDE")
    assert await api.store.events.trim(datetime(2020, 1, 1, tzinfo=UTC), 2) == 3
    async with served(api) as port:
        async with listening(api, port, **{"Last-Event-ID": "evt_1"}) as stream:
            gap, first = await stream.next(), await stream.next()
        assert (gap["event"], json.loads(gap["data"])["oldest"], first["id"]) == ("gap", "evt_4", "evt_4")
        # an id of another database: all that is there is new
        async with listening(api, port, **{"Last-Event-ID": "evt_99"}) as stream:
            gap, first = await stream.next(), await stream.next()
        assert (gap["event"], first["id"]) == ("gap", "evt_4")


async def test_other_accounts_hear_nothing(api: Api) -> None:
    other, key = await api.store.keys.create("other")
    async with served(api) as port, listening(api, port, Authorization=f"Bearer {key}") as stream:
        await until(lambda: api.events.count(other.account.id) == 1)
        await publish(api, "A")
        api.events.publish(other.account.id, PageStateChanged(state="mine", detail=""))
        assert json.loads((await stream.next())["data"])["data"]["state"] == "mine"


async def test_a_stream_ends_with_the_gateway(api: Api) -> None:
    async with served(api) as port, listening(api, port) as stream:
        await until_subscribed(api)
        api.events.close()
        await stream.end()


async def test_a_subscriber_that_is_too_slow_comes_again(api: Api) -> None:
    with api.events.subscribed(api.account) as subscription:
        await publish(api, *(f"S{n}" for n in range(1001)))
        followed = api.events.follow(subscription, None)
        with pytest.raises(TooSlow):
            await anext(followed)
    with api.events.subscribed(api.account) as subscription:
        followed = api.events.follow(subscription, 0)
        seen = [await anext(followed) for _ in range(1001)]
    assert [event.seq for event in seen if event is not None] == list(range(1, 1002))


async def test_the_log_as_a_list(api: Api) -> None:
    assert (await api.client.get("/events")).json() == {"events": []}
    await publish(api, *"ABC")
    listed = (await api.client.get("/events?after=evt_1&limit=1")).json()["events"]
    assert [(one["id"], one["data"]["state"]) for one in listed] == [("evt_2", "B")]
    assert set(faults(await api.client.get("/events?after=17&limit=0"))) == {"after", "limit"}
    bad = {"Accept": "text/event-stream", "Last-Event-ID": "x"}
    assert "evt_17" in faults(await api.client.get("/events", headers=bad))["Last-Event-ID"]


async def test_a_websocket_live_and_resumed(api: Api) -> None:
    async with served(api) as port:
        url = f"ws://127.0.0.1:{port}/events"
        async with connect(url, additional_headers={"Authorization": f"Bearer {api.key}"}) as socket:
            await until_subscribed(api)
            await socket.send("hello")  # means nothing, and harms nothing
            await publish(api, "A")
            told = json.loads(await asyncio.wait_for(socket.recv(), 20))
            assert (told["id"], told["type"], told["data"]["state"]) == ("evt_1", "page.state", "A")
        await until_subscribed(api, 0)
        await publish(api, "B")
        # as a browser: the key in a subprotocol
        protocols: list[Any] = [SUBPROTOCOL, f"ponte.bearer.{api.key}"]
        async with connect(f"{url}?after=evt_1", subprotocols=protocols) as socket:
            assert socket.subprotocol == SUBPROTOCOL
            assert json.loads(await asyncio.wait_for(socket.recv(), 20))["id"] == "evt_2"
            api.events.close()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 20)
            assert socket.close_code == 1012


async def test_a_websocket_that_is_refused(api: Api) -> None:
    async with served(api) as port:
        url = f"ws://127.0.0.1:{port}/events"
        for query, headers, status in (
            ("", {}, 401),
            ("", {"Authorization": "Bearer nope"}, 401),
            ("?after=x", {"Authorization": f"Bearer {api.key}"}, 400),
        ):
            with pytest.raises(InvalidStatus) as caught:
                await connect(url + query, additional_headers=headers)
            assert caught.value.response.status_code == status


# ---- webhooks


async def made(api: Api, **body: object) -> dict[str, Any]:
    answer = await api.client.post("/webhooks", json={"url": "https://crm.example.com/hook?t=1"} | body)
    assert answer.status_code == 201, answer.text
    hook: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/webhooks/{hook['id']}"
    return hook


async def test_a_webhook_from_making_to_deleting(api: Api) -> None:
    hook = await made(api, events=["call.ended", "call.state", "call.ended"])
    assert hook["secret"].startswith("whsec_")
    view = {name: value for name, value in hook.items() if name != "secret"}
    assert view["events"] == ["call.ended", "call.state"]
    assert (await api.client.get(f"/webhooks/{hook['id']}")).json() == view
    assert (await api.client.get("/webhooks")).json() == {"webhooks": [view]}
    changed = await api.client.patch(f"/webhooks/{hook['id']}", json={"events": [], "enabled": False})
    assert changed.json() == view | {"events": [], "enabled": False}
    rotated = (await api.client.post(f"/webhooks/{hook['id']}/rotate")).json()
    assert rotated["secret"] != hook["secret"]
    assert rotated["old_secret_until"] is not None
    assert (await api.client.delete(f"/webhooks/{hook['id']}")).status_code == 204
    assert (await api.client.get(f"/webhooks/{hook['id']}")).status_code == 404


async def test_secrets_and_urls_are_not_in_the_database_in_plain(api: Api) -> None:
    hook = await made(api)
    await api.client.post(f"/webhooks/{hook['id']}/rotate")
    content = b"".join(path.read_bytes() for path in api.settings.state_dir.iterdir())
    assert hook["secret"].encode() not in content
    assert b"crm.example.com" not in content


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"url"}),
        ({"url": 7, "events": "all", "secret": "x"}, {"url", "events", "secret"}),
        ({"url": "https://10.0.0.1/hook"}, {"url"}),
        ({"url": "http://example.com/hook"}, {"url"}),
        ({"url": "https://example.com/hook", "events": ["call.ended", "call.end"]}, {"events"}),
    ],
)
async def test_a_bad_webhook(api: Api, body: dict[str, Any], fields: set[str]) -> None:
    assert set(faults(await api.client.post("/webhooks", json=body))) == fields
    assert (await api.client.get("/webhooks")).json() == {"webhooks": []}


async def test_webhooks_of_others_and_of_nobody(api: Api) -> None:
    hook = await made(api)
    _, key = await api.store.keys.create("other")
    stranger = {"Authorization": f"Bearer {key}"}
    for name, headers in ((hook["id"], stranger), ("wh_nope", {}), ("%00", {}), ("a b", {})):
        for method, tail, body in (
            ("GET", "", None),
            ("PATCH", "", {"enabled": False}),
            ("DELETE", "", None),
            ("POST", "/rotate", None),
            ("GET", "/deliveries", None),
            ("POST", "/deliveries/1/replay", None),
        ):
            answer = await api.client.request(method, f"/webhooks/{name}{tail}", json=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found"), (method, tail)
    assert (await api.client.get(f"/webhooks/{hook['id']}")).json()["enabled"] is True


async def test_no_more_than_twenty(api: Api) -> None:
    for _ in range(20):
        await made(api)
    answer = await api.client.post("/webhooks", json={"url": "https://crm.example.com/hook"})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhooks")


async def test_the_delivery_log_and_replay(api: Api) -> None:
    hook = await made(api)
    woken = asyncio.Event()
    api.events.on_outbox = woken.set
    await publish(api, *"ABC")
    assert woken.is_set()
    log = (await api.client.get(f"/webhooks/{hook['id']}/deliveries?limit=2")).json()["deliveries"]
    assert [(one["event"]["data"]["state"], one["state"], one["attempts"]) for one in log] == [
        ("C", "pending", []),
        ("B", "pending", []),
    ]
    older = await api.client.get(f"/webhooks/{hook['id']}/deliveries?before={log[-1]['id']}")
    assert [one["event"]["id"] for one in older.json()["deliveries"]] == ["evt_1"]
    woken.clear()
    again = await api.client.post(f"/webhooks/{hook['id']}/deliveries/{log[0]['id']}/replay")
    assert (again.status_code, again.json()["id"], woken.is_set()) == (202, log[0]["id"], True)
    for wrong in ("99", "x", "9" * 30):
        answer = await api.client.post(f"/webhooks/{hook['id']}/deliveries/{wrong}/replay")
        assert (answer.status_code, answer.json()["code"]) == (404, "delivery_not_found")
