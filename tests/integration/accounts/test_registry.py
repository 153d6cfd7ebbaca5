"""Accounts of one process beside each other: what befalls one of them is no other's business."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.accounts.account import Account
from gateway.accounts.profiles import profile_folder
from gateway.accounts.registry import AccountRegistry
from gateway.accounts.removals import follow_removals
from gateway.accounts.service import open_accounts
from gateway.config import Settings
from gateway.domain.accounts import AccountRemoved
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId
from gateway.events.hub import EventHub
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.store.store import Store
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration


@asynccontextmanager
async def accounts(settings: Settings, store: Store) -> AsyncIterator[AccountRegistry]:
    async with open_accounts(settings, store, Metrics(), Health(), EventHub(store)) as registry:
        yield registry


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    opened = await Store.open(settings)
    async with opened.journal.running():
        yield opened
    await opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", sip_host="127.0.0.1")


def config(port: int) -> BridgeConfig:
    """An account that listens, and whose Chrome nobody has started."""
    return BridgeConfig(
        enabled=True, sip_listen_port=port, sip_listen_user="in", sip_listen_secret="s3cret",
        chrome_remote_url=f"ws://127.0.0.1:{free_ports()}",
    )  # fmt: skip


async def account_of(store: Store, name: str) -> AccountId:
    key, _ = await store.keys.create(name)
    return key.account.id


def listens(registry: AccountRegistry, account: AccountId) -> bool:
    return registry.status(account).listener.state == "listening"


async def removal_that_fails(registry: AccountRegistry, account: AccountId) -> None:
    async with registry.removing(account, force=False):
        assert not listens(registry, account)
        with pytest.raises(AccountRemoved):
            await registry.apply(account, config(free_ports()))
        raise OSError("the disk is full")


async def test_a_port_that_cannot_be_had_refuses_one_account_alone(settings: Settings, store: Store) -> None:
    one, two = await account_of(store, "one"), await account_of(store, "two")
    async with accounts(settings, store) as registry:
        await registry.apply(one, config(free_ports()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
            busy.bind(("127.0.0.1", 0))
            with pytest.raises(ConfigError):
                await registry.apply(two, config(busy.getsockname()[1]))
        assert listens(registry, one)
        await registry.apply(two, config(free_ports()))
        assert listens(registry, two)


async def test_an_account_that_crashes_or_hangs_leaves_the_others_alone(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = [await account_of(store, name) for name in ("one", "two", "three")]
    crashes = 0
    apply = Account.apply
    hangs = asyncio.Event()

    async def applied(self: Account, wanted: BridgeConfig) -> None:
        nonlocal crashes
        if self.account_id == two:
            crashes += 1
            raise RuntimeError("a fault of ours")
        if self.account_id == three:
            hangs.set()
            await asyncio.Event().wait()
        await apply(self, wanted)

    async with accounts(settings, store) as registry:
        await registry.apply(one, config(free_ports()))
        with monkeypatch.context() as patch:
            patch.setattr(Account, "apply", applied)
            with pytest.raises(RuntimeError):
                await registry.apply(two, config(free_ports()))
            stuck = asyncio.create_task(registry.apply(three, config(free_ports())))
            await asyncio.wait_for(hangs.wait(), 10)
            await asyncio.wait_for(registry.apply(one, config(free_ports())), 10)
            assert listens(registry, one)
            stuck.cancel()
            await asyncio.wait([stuck])
        assert crashes == 1
        await registry.apply(two, config(free_ports()))
        assert listens(registry, two)


async def test_a_removed_account_ends_and_cannot_come_back(settings: Settings, store: Store) -> None:
    one, two = await account_of(store, "one"), await account_of(store, "two")
    async with accounts(settings, store) as registry:
        for account in (one, two):
            await store.configs.save(account, config(free_ports()))
            await registry.apply(account, (await store.configs.load_all())[account])
        # a removal that fails changes nothing
        with pytest.raises(OSError, match="disk"):
            await removal_that_fails(registry, one)
        assert listens(registry, one)
        async with registry.removing(one, force=False):
            await store.accounts.remove(one, delete_calls=False)
        for again in (registry.apply(one, config(free_ports())), registry.removing(one, force=True).__aenter__()):
            with pytest.raises(AccountRemoved):
                await again
        assert registry.running() == {two}
        assert listens(registry, two)
        # removed by somebody else: seen at the next look, and its profile goes with it
        profile = profile_folder(settings.state_dir, two)
        (profile / "Default").mkdir(parents=True)
        await store.accounts.remove(two, delete_calls=False)
        await follow_removals(store, registry, lambda account: profile_folder(settings.state_dir, account))
        assert registry.running() == set()
        assert not profile.exists()


async def test_a_profile_that_was_left_goes_at_the_next_start(settings: Settings, store: Store) -> None:
    one, two = await account_of(store, "one"), await account_of(store, "two")
    folders = [profile_folder(settings.state_dir, account) for account in (one, two)]
    for folder in folders:
        (folder / "Default").mkdir(parents=True)
    await store.accounts.remove(one, delete_calls=True)
    async with accounts(settings, store):
        assert [folder.exists() for folder in folders] == [False, True]
