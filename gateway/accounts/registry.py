"""All accounts of a process: started from the store, changed by the API, ended together."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Final, Self

import structlog

from gateway.accounts.account import Account, AccountContext
from gateway.accounts.page_session import PageSession
from gateway.bridge.control import CallControl
from gateway.domain.accounts import AccountInCall, AccountRemoved
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import BridgeStatus, CallSummary, PartStatus
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId, CallId
from gateway.domain.offer import CallNotPossible, Offer
from gateway.domain.states import PageState
from gateway.domain.trace import Trace

_STOP_S: Final = 30.0  # a helper beside takes up to 12 s to end its Chrome, the SIP side 2 s to unregister
_NEVER_CONFIGURED = PartStatus("disabled", "the bridge was never configured")


def _context(account: AccountId) -> contextvars.Context:
    """A context in which every log line names the account."""
    context = contextvars.Context()
    context.run(structlog.contextvars.bind_contextvars, account_id=account)
    return context


class AccountRegistry:
    """The accounts of this process; `gateway.api.deps.Accounts` as the API sees it.

    An asynchronous context manager: the accounts run inside its block.

    Args:
        context: what accounts share.
    """

    def __init__(self, context: AccountContext) -> None:
        self._context = context
        self._accounts: dict[AccountId, Account] = {}
        self._tasks: dict[AccountId, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()
        self._locks: dict[AccountId, asyncio.Lock] = {}  # an account is changed by one at a time
        self._gone: set[AccountId] = set()  # removed, or being removed; ids are never given twice
        self._log = structlog.get_logger("ponte.accounts")

    async def __aenter__(self) -> Self:
        """Begin to run accounts."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every call, then every account."""
        await asyncio.gather(*(account.end_call() for account in self._accounts.values()))
        for task in self._tasks.values():
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def restore(self, configs: dict[AccountId, BridgeConfig]) -> None:
        """Put stored configurations into force; one that cannot be applied is logged and does not stop the others."""
        for account_id, config in configs.items():
            try:
                await self.apply(account_id, config)
            except ConfigError as error:
                self._log.error("stored_configuration_not_applied", account=account_id, error=str(error))

    async def check(self, account: AccountId, config: BridgeConfig) -> None:
        """Say whether *config* could be applied now; see `gateway.api.deps.Accounts.check`."""
        settings = self._context.endpoint_settings(config) if config.enabled else None
        if settings is not None:
            known = self._accounts.get(account)
            await self._context.sip.check_endpoint(settings, replacing=known.endpoint if known else None)

    async def apply(self, account: AccountId, config: BridgeConfig) -> None:
        """Put *config* into force; see `gateway.api.deps.Accounts.apply`."""
        async with self._locks.setdefault(account, asyncio.Lock()):
            if account in self._gone:
                raise AccountRemoved
            known = self._accounts.get(account)
            if known is None:
                known = await self._start(account)
            # In a context of its own: what the parts log for months must not carry the id of this request.
            error = await self._group.create_task(_tried(known, config), context=_context(account))
        if error is not None:
            raise error

    def running(self) -> set[AccountId]:
        """Return the accounts that were configured in this process, or before it."""
        return set(self._accounts)

    @asynccontextmanager
    async def removing(self, account: AccountId, *, force: bool) -> AsyncIterator[None]:
        """End an account for good; see `gateway.api.deps.Accounts.removing`."""
        async with self._locks.setdefault(account, asyncio.Lock()):
            if account in self._gone:
                raise AccountRemoved
            known = self._accounts.get(account)
            if known is not None and known.in_call and not force:
                raise AccountInCall
            self._gone.add(account)
            if known is not None:
                await self._stop(known)
        try:
            yield
        except BaseException:
            self._gone.discard(account)
            if known is not None:
                await self.apply(account, known.config)
            raise
        self._locks.pop(account, None)
        self._log.info("account_removed", account=account)

    def status(self, account: AccountId) -> BridgeStatus:
        """Return the state of the account's parts and calls."""
        known = self._accounts.get(account)
        if known is None:
            return BridgeStatus(
                page=_NEVER_CONFIGURED, media=_NEVER_CONFIGURED, registration=_NEVER_CONFIGURED,
                listener=_NEVER_CONFIGURED, phones=_NEVER_CONFIGURED,
            )  # fmt: skip
        return known.status()

    def pages(self) -> list[PageState]:
        """Return the state of each page that is wanted."""
        return [account.session.status.state for account in self._accounts.values() if account.config.enabled]

    def session(self, account: AccountId) -> PageSession:
        """Return the account's WhatsApp session; see `gateway.api.deps.Accounts.session`."""
        known = self._accounts.get(account)
        return known.session if known is not None else PageSession()

    def control(self, account: AccountId, call_id: CallId) -> CallControl | None:
        """Return the handle of a call that is not over; see `gateway.api.deps.Accounts.control`."""
        known = self._accounts.get(account)
        return known.control(call_id) if known else None

    def trace(self, account: AccountId, call_id: CallId) -> Trace | None:
        """Return the time line of a call that is not over; see `gateway.api.deps.Accounts.trace`."""
        known = self._accounts.get(account)
        return known.trace(call_id) if known else None

    def offer(self, account: AccountId, offer: Offer) -> CallSummary:
        """Begin a call; see `gateway.api.deps.Accounts.offer`."""
        known = self._accounts.get(account)
        if known is None:
            raise CallNotPossible("bridge_disabled", "The bridge was never configured", "disabled")
        return _context(account).run(known.offer, offer)

    async def drain(self) -> None:
        """Refuse new calls everywhere, and return when none is in progress."""
        await asyncio.gather(*(account.drain() for account in self._accounts.values()))

    async def _start(self, account_id: AccountId) -> Account:
        account = Account(account_id, self._context)
        started = asyncio.Event()
        self._tasks[account_id] = self._group.create_task(self._run(account, started), context=_context(account_id))
        await started.wait()
        self._accounts[account_id] = account
        return account

    async def _stop(self, account: Account) -> None:
        """End the call in progress while everybody can be told, then page and SIP side."""
        with suppress(TimeoutError):  # a call that hangs ends with the account's task
            async with asyncio.timeout(_STOP_S):
                await account.end_call()
        task = self._tasks.pop(account.account_id)
        del self._accounts[account.account_id]
        task.cancel()
        _, late = await asyncio.wait([task], timeout=_STOP_S)
        if late:
            self._log.error("account_does_not_end", account=account.account_id)

    async def _run(self, account: Account, started: asyncio.Event) -> None:
        """One account's crash ends at that account; it starts again with what it was told last."""
        pause_s = 1.0
        while True:
            try:
                await account.run(started)
            except Exception:
                self._log.exception("account_crashed", account=account.account_id, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 30.0)


async def _tried(account: Account, config: BridgeConfig) -> Exception | None:
    """Apply *config*, and give the error: raised in the group's task, it would end every account."""
    try:
        await account.apply(config)
    except Exception as error:
        return error
    return None
