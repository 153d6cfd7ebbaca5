"""``/accounts``: made and removed by an admin key, and by nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx2
import pytest

from gateway.domain.accounts import AccountInCall
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.errors import Unavailable
from gateway.domain.ids import CallId
from gateway.domain.states import CallState, Direction
from gateway.events.hub import TooSlow
from gateway.events.models import PageStateChanged
from gateway.events.signing import new_secret
from gateway.store.calls import CallFilter, CallRecord
from tests.integration.api.conftest import Api

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
async def admin(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with an admin key."""
    _, key = await api.store.admin_keys.create()
    headers = {"Authorization": f"Bearer {key}"}
    transport = api.client._transport
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        yield client


async def test_an_account_from_making_to_removing(api: Api, admin: httpx2.AsyncClient) -> None:
    made = await admin.post("/accounts", json={"name": "branch-2", "label": "first"})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/accounts/branch-2"
    assert made.headers["cache-control"] == "no-store"
    account, key = made.json(), made.json()["key"]
    mine = {"Authorization": f"Bearer {key['key']}"}
    # at once: the key is good, and the configuration is its own
    configured = await api.client.post("/call/bridge/config", json={"enabled": True}, headers=mine)
    assert configured.status_code == 200
    assert [one for one, _ in api.accounts.applied] == [account["id"]]
    listed = (await admin.get("/accounts")).json()["accounts"]
    assert [(one["name"], one["enabled"]) for one in listed] == [("acme", None), ("branch-2", True)]
    assert listed[1]["state"]["registration"]["state"] == "refused"
    # a second key, by the account's id; the first one revoked
    second = (await admin.post(f"/accounts/{account['id']}/keys", json={"label": "crm"})).json()
    assert (await admin.delete(f"/accounts/branch-2/keys/{key['id']}")).status_code == 204
    assert (await api.client.get("/call", headers=mine)).status_code == 401
    mine = {"Authorization": f"Bearer {second['key']}"}
    assert (await api.client.get("/call", headers=mine)).status_code == 200
    shown = await admin.get("/accounts/branch-2")
    assert [(one["label"], one["revoked_at"] is None) for one in shown.json()["keys"]] == [
        ("first", False),
        ("crm", True),
    ]
    assert second["key"] not in shown.text
    assert (await admin.delete("/accounts/branch-2")).status_code == 204
    assert api.accounts.removed == [account["id"]]
    assert (await api.client.get("/call", headers=mine)).status_code == 401
    assert (await admin.get("/accounts/branch-2")).json()["code"] == "account_not_found"
    assert (await admin.delete(f"/accounts/{account['id']}")).status_code == 404
    # the name is free again, and what gets it is another account
    again = await admin.post("/accounts", json={"name": "branch-2"})
    assert again.status_code == 201
    assert again.json()["id"] != account["id"]
    assert (await admin.get("/accounts/branch-2")).json()["enabled"] is None


async def test_who_has_no_admin_key(api: Api, admin: httpx2.AsyncClient) -> None:
    for method, path in (("GET", "/accounts"), ("POST", "/accounts"), ("DELETE", "/accounts/acme"),
                         ("POST", "/accounts/nobody/keys")):  # fmt: skip
        tenant = await api.client.request(method, path)
        assert (tenant.status_code, tenant.json()["code"]) == (403, "admin_key_needed")
        stranger = await api.client.request(method, path, headers={"Authorization": "Bearer ponte_admin_x"})
        assert (stranger.status_code, stranger.json()["code"]) == (401, "unauthorized")
    assert (await admin.get("/call")).status_code == 401  # nor is an admin key an account's
    [key] = await api.store.admin_keys.list()
    assert await api.store.admin_keys.revoke(key.id)
    assert (await admin.get("/accounts")).status_code == 401
    assert [one.name for one in await api.store.keys.accounts()] == ["acme"]


async def test_wrong_requests_name_the_field(api: Api, admin: httpx2.AsyncClient) -> None:
    for body, field in (
        ({}, "name"), ({"name": "a/b"}, "name"), ({"name": ".."}, "name"), ({"name": "n" * 65}, "name"),
        ({"name": 7}, "name"), ({"name": "good", "label": " x"}, "label"), ({"name": "good", "key": "x"}, "key"),
    ):  # fmt: skip
        refused = await admin.post("/accounts", json=body)
        assert refused.status_code == 400, body
        assert [fault["field"] for fault in refused.json()["errors"]] == [field]
    assert (await admin.post("/accounts", json={"name": "acme"})).json()["code"] == "account_exists"
    assert (await admin.delete("/accounts/acme?force=yes")).json()["errors"][0]["field"] == "force"
    assert (await admin.delete("/accounts/acme/keys/nothing")).json()["code"] == "key_not_found"
    # a key of another account is not found by way of this one
    other = (await admin.post("/accounts", json={"name": "other"})).json()
    assert (await admin.delete(f"/accounts/acme/keys/{other['key']['id']}")).status_code == 404
    assert api.accounts.removed == []


async def test_an_account_in_a_call_is_removed_by_force_only(api: Api, admin: httpx2.AsyncClient) -> None:
    api.accounts.refuse_removal = AccountInCall()
    refused = await admin.delete("/accounts/acme")
    assert (refused.status_code, refused.json()["code"]) == (409, "call_in_progress")
    assert (await api.client.get("/call")).status_code == 200
    assert (await admin.delete("/accounts/acme?force=true")).status_code == 204
    assert (await api.client.get("/call")).status_code == 401


@pytest.mark.parametrize("delete_calls", [False, True])
async def test_what_stays_of_an_account(api: Api, admin: httpx2.AsyncClient, delete_calls: bool) -> None:
    store, account = api.store, api.account
    await store.configs.save(account, BridgeConfig(sip_server="pbx:5060", sip_user="u", sip_pass="hunter2"))
    await store.webhooks.create(account, "https://example.com/hook", new_secret(), ())
    record = CallRecord(
        CallId("c"), account, Direction.SIP_TO_WHATSAPP, CallState.ENDED, NOW, ended_at=NOW,
        whatsapp_number="5511987654321",
    )  # fmt: skip
    await store.calls.save(record)
    api.events.publish(account, PageStateChanged(state="READY", detail=""))
    with api.events.subscribed(account) as subscription:
        query = "?delete_calls=true" if delete_calls else ""
        assert (await admin.delete(f"/accounts/acme{query}")).status_code == 204
        with pytest.raises(TooSlow):  # its stream ends
            await asyncio.wait_for(subscription.next(), 10)
    assert await store.configs.load_all() == {}
    assert await store.webhooks.of_account(account) == []
    assert await store.events.after(account, 0, limit=10) == []
    assert await store.keys.list() == []
    assert len(await store.calls.page(account, CallFilter())) == (0 if delete_calls else 1)
    [left] = await store.accounts.list(removed=True)
    assert (left.account.id, left.account.name) == (account, f"acme~{account}")


async def test_a_database_that_fails_leaves_the_account_as_it_was(
    api: Api, admin: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> bool:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(api.store.accounts, "remove", fail)
        assert (await admin.delete("/accounts/acme")).status_code == 503
    assert api.accounts.removed == []
    assert (await api.client.get("/call")).status_code == 200
