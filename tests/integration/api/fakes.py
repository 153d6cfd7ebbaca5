"""A fake at our own Protocol `gateway.api.deps.AccountsService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import BridgeStatus, CallSummary, PartStatus
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.store.store import Store


class FakeAccounts:
    """Records what it is told; refuses what the test says."""

    def __init__(self) -> None:
        self.applied: list[tuple[AccountId, BridgeConfig]] = []
        self.refuse_check: ConfigError | None = None
        self.refuse_apply: Exception | None = None
        self.calls: tuple[CallSummary, ...] = ()
        self.apply_delay = asyncio.Event()
        self.apply_delay.set()
        self.draining = asyncio.Event()
        self.may_end = asyncio.Event()

    async def check(self, account: AccountId, config: BridgeConfig) -> None:
        if self.refuse_check is not None:
            raise self.refuse_check

    async def apply(self, account: AccountId, config: BridgeConfig) -> None:
        await self.apply_delay.wait()
        if self.refuse_apply is not None:
            raise self.refuse_apply
        self.applied.append((account, config))

    def status(self, account: AccountId) -> BridgeStatus:
        return BridgeStatus(
            page=PartStatus("LOST", "No Chrome answers at ws://127.0.0.1:1"),
            media=PartStatus("closed"),
            registration=PartStatus("refused", "The SIP server answered 403"),
            listener=PartStatus("listening"),
            calls=self.calls,
        )

    async def drain(self) -> None:
        self.draining.set()
        await self.may_end.wait()

    @asynccontextmanager
    async def open(
        self, settings: Settings, store: Store, metrics: Metrics, health: Health
    ) -> AsyncIterator[FakeAccounts]:
        yield self
