"""Accounts and admin keys in the store."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.accounts import AccountExists, AccountRemoved
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction
from gateway.store.calls import CallRecord
from gateway.store.retention import purge
from gateway.store.store import Store

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)


async def test_a_removed_account_is_gone_but_for_its_records(any_store: Store) -> None:
    store = any_store
    key, plain = await store.keys.create("acme", account="new")
    account = key.account.id
    await store.configs.save(account, BridgeConfig(enabled=True, sip_pass="hunter2"))
    number = "5511987654321"
    record = CallRecord(
        CallId("c"), account, Direction.SIP_TO_WHATSAPP, CallState.ENDED, NOW, ended_at=NOW, whatsapp_number=number
    )
    await store.calls.save(record)
    assert await store.accounts.remove(account, delete_calls=False)
    assert not await store.accounts.remove(account, delete_calls=True)
    assert await store.keys.authenticate(plain) is None
    assert await store.keys.accounts() == []
    assert await store.accounts.find("acme") is None
    with pytest.raises(AccountRemoved):  # a change that was on its way
        await store.configs.save(account, BridgeConfig(sip_pass="hunter2"))
    assert await store.configs.load_all() == {}
    left = await store.accounts.find(account, removed=True)
    assert left is not None
    with pytest.raises(ConfigError):
        await store.keys.create(left.account.name)
    # the name is free; a person's data is still deleted from what was kept; then nothing is left
    fresh, _ = await store.keys.create("acme", account="new")
    assert fresh.account.id != account
    await purge(store, NOW + timedelta(days=2), call_days=0)
    assert len(await store.accounts.list(removed=True)) == 2
    assert await store.erase(account, number) == 1
    await purge(store, NOW, call_days=0)
    assert len(await store.accounts.list(removed=True)) == 2
    await purge(store, NOW + timedelta(days=2), call_days=0)
    assert [one.account.id for one in await store.accounts.list(removed=True)] == [fresh.account.id]


async def test_of_two_that_make_the_same_account_one_does(any_store: Store) -> None:
    made = await asyncio.gather(
        *(any_store.keys.create("acme", account="new") for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(one, tuple) for one in made) == 1
    assert len(await any_store.accounts.list()) == 1
    with pytest.raises(AccountRemoved):
        await any_store.keys.create("nobody", account="known")
    with pytest.raises(AccountExists):
        await any_store.keys.create("acme", account="new")


async def test_admin_keys(any_store: Store) -> None:
    key, plain = await any_store.admin_keys.create(label="ops")
    tenant, tenant_plain = await any_store.keys.create("acme")
    assert await any_store.admin_keys.authenticate(plain) == key
    assert await any_store.keys.authenticate(plain) is None
    assert await any_store.admin_keys.authenticate(tenant_plain) is None
    assert await any_store.keys.authenticate(tenant_plain) == AccountId(tenant.account.id)
    assert await any_store.admin_keys.revoke(key.id)
    assert not await any_store.admin_keys.revoke("nothing")
    assert await any_store.admin_keys.authenticate(plain) is None
    [listed] = await any_store.admin_keys.list()
    assert listed.revoked_at is not None
