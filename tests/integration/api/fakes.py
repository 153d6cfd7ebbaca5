"""A fake at our own Protocol `gateway.api.deps.AccountsService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from gateway.accounts.page_session import PageSession
from gateway.bridge.control import WrongState
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import BridgeStatus, CallSummary, PartStatus
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId, CallId
from gateway.domain.offer import Offer
from gateway.domain.states import CallState, Direction, Origin
from gateway.domain.trace import Trace
from gateway.events.hub import EventHub
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.store.store import Store


class FakeControl:
    """Records what it is told; is in the state that the test says."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.wrong_state: CallState | None = None
        self.refuse_record: Exception | None = None

    def _tell(self, *told: object) -> None:
        if self.wrong_state is not None:
            raise WrongState("do that", self.wrong_state)
        self.told.append(told)

    def hangup(self) -> None:
        self._tell("hangup")

    def reject(self) -> None:
        self._tell("reject")

    def hold(self, held: bool) -> None:
        self._tell("hold", held)

    def mute(self, muted: bool) -> None:
        self._tell("mute", muted)

    def dtmf(self, digits: str, duration_ms: int) -> int:
        self._tell("dtmf", digits, duration_ms)
        return len(digits)

    def transfer(self, extension: str, uri: str) -> None:
        self._tell("transfer", extension, uri)

    async def record(self, recording: bool) -> None:
        if self.refuse_record is not None:
            raise self.refuse_record
        self._tell("record", recording)


class FakeAccounts:
    """Records what it is told; refuses what the test says."""

    def __init__(self) -> None:
        self.applied: list[tuple[AccountId, BridgeConfig]] = []
        self.refuse_check: ConfigError | None = None
        self.refuse_apply: Exception | None = None
        self.owner: AccountId | None = None  # whose the calls are; None: everybody's
        self.calls: tuple[CallSummary, ...] = ()
        self.controls: dict[CallId, FakeControl] = {}
        self.traces: dict[CallId, Trace] = {}
        self.offers: list[tuple[AccountId, Offer]] = []
        self.refuse_offer: Exception | None = None
        self.removed: list[AccountId] = []
        self.refuse_removal: Exception | None = None
        self.page_session = PageSession()
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

    @asynccontextmanager
    async def removing(self, account: AccountId, *, force: bool) -> AsyncIterator[None]:
        if self.refuse_removal is not None and not force:
            raise self.refuse_removal
        yield
        self.removed.append(account)

    def session(self, account: AccountId) -> PageSession:
        return self.page_session

    def status(self, account: AccountId) -> BridgeStatus:
        return BridgeStatus(
            page=PartStatus("LOST", "No Chrome answers at ws://127.0.0.1:1"),
            media=PartStatus("closed"),
            registration=PartStatus("refused", "The SIP server answered 403"),
            listener=PartStatus("listening"),
            phones=PartStatus("none"),
            calls=self.calls if self.owner in (None, account) else (),
        )

    def control(self, account: AccountId, call_id: CallId) -> FakeControl | None:
        return self.controls.get(call_id) if self.owner in (None, account) else None

    def trace(self, account: AccountId, call_id: CallId) -> Trace | None:
        return self.traces.get(call_id)

    def offer(self, account: AccountId, offer: Offer) -> CallSummary:
        if self.refuse_offer is not None:
            raise self.refuse_offer
        self.offers.append((account, offer))
        call = CallSummary(
            offer.call_id, Direction.SIP_TO_WHATSAPP, CallState.CREATED, offer.number, datetime.now(UTC),
            origin=Origin.API, sip_user=offer.extension or "6000",
        )  # fmt: skip
        self.calls = (call,)
        return call

    async def drain(self) -> None:
        self.draining.set()
        await self.may_end.wait()

    @asynccontextmanager
    async def open(
        self, settings: Settings, store: Store, metrics: Metrics, health: Health, events: EventHub
    ) -> AsyncIterator[FakeAccounts]:
        yield self
