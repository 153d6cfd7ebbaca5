"""What the API needs of the rest of the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from gateway.accounts.checks import Result
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig, HostPolicy
from gateway.domain.bridge_status import BridgeStatus, CallSummary
from gateway.domain.ids import AccountId, CallId
from gateway.domain.offer import Offer
from gateway.domain.page_session import SessionEvent, SessionStatus
from gateway.domain.trace import Trace
from gateway.events.hub import EventHub
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.store.store import Store


class Control(Protocol):
    """One call's handle: `gateway.bridge.control.CallControl`. All of it raises `WrongState` where that is so."""

    def hangup(self) -> None:
        """End the call."""

    def reject(self) -> None:
        """Decline a call that was not answered."""

    def hold(self, held: bool) -> None:
        """Let neither side hear the other, or let them hear again."""

    def mute(self, muted: bool) -> None:
        """Let the WhatsApp side not hear the phone, or let it hear again."""

    def dtmf(self, digits: str, duration_ms: int) -> int:
        """Play telephone keys to the WhatsApp side; give how many found room."""

    def transfer(self, extension: str, uri: str) -> object:
        """Ring another phone by the PBX, and give it the phone's place when it answers."""

    async def record(self, recording: bool) -> None:
        """Record the call from now on, or no more.

        Raises:
            RecordingUnavailable: calls are not recorded here.
            RecordingFailed: it cannot be written.
        """


class Session(Protocol):
    """An account's WhatsApp session: `gateway.accounts.page_session.PageSession`.

    What does not fit the page's state raises `WrongPageState` (409), what the page cannot do another `PonteError`.
    """

    status: SessionStatus

    def subscribe(self, on_event: Callable[[SessionEvent], None]) -> Callable[[], None]:
        """Have *on_event* called for each event; returns what ends it."""

    async def current_qr(self) -> str | None:
        """Return the text of the login's QR code; None while WhatsApp makes one."""

    async def link_code(self, phone: str) -> str:
        """Return the code that a person types into the phone with that number."""

    async def logout(self) -> None:
        """Unlink the page from the phone."""

    async def takeover(self) -> None:
        """Use WhatsApp in this page, when another one took it."""


class Accounts(Protocol):
    """The accounts, as the API sees them; `gateway.accounts` implements it.

    The API changes a configuration in this order: validate, `check`, commit to the store, `apply`. Only one change
    per account runs at a time. What is acknowledged is therefore stored, and what is refused changed nothing.
    """

    async def check(self, account: AccountId, config: BridgeConfig) -> None:
        """Say whether *config* could be applied now, and change nothing.

        Raises:
            ConfigError: it cannot, and only the user can mend it: the port is in use by another program, or another
                account has the same port and the same listen user. With ``field`` set, for example sipListenPort.
        """

    async def apply(self, account: AccountId, config: BridgeConfig) -> None:
        """Put *config* into force without cutting a call in progress, and return when the parts took it over.

        Does not wait for peers: a Chrome, PBX or wasm server that cannot be reached is not an error but shows in
        `status`, and is tried again.

        Raises:
            ConfigError: as in `check`, where something came in between; then nothing changed. The API puts the old
                configuration back into the store. Any other error is a fault of ours: the answer is a 500, and what
                is stored by then comes into force at the next start.
        """

    def removing(self, account: AccountId, *, force: bool) -> AbstractAsyncContextManager[None]:
        """End an account for good: its call with BYE, its page, its registration; its block takes it from the store.

        Where the block raises, the account is put into force again as it was. After it the account cannot come back.

        Args:
            account: which.
            force: end a call in progress as well.

        Raises:
            AccountInCall: there is one, and nothing was changed.
            AccountRemoved: it was removed already, or is being removed.
        """

    def session(self, account: AccountId) -> Session:
        """Return the account's WhatsApp session; also for an account that was never configured."""

    def status(self, account: AccountId) -> BridgeStatus:
        """Return the state of the account's parts and its calls; also for an account that was never configured."""

    def control(self, account: AccountId, call_id: CallId) -> Control | None:
        """Return the handle of one of the account's calls, None where it has none of that id that is not over."""

    def trace(self, account: AccountId, call_id: CallId) -> Trace | None:
        """Return the time line of one of the account's calls, None where it has none of that id that is not over."""

    def offer(self, account: AccountId, offer: Offer) -> CallSummary:
        """Begin a call: ring the phone; when it answers, WhatsApp. Does not wait for either.

        Raises:
            CallNotPossible: not now.
            ConfigError: the phone is not one of the account's sipServer.
        """


class AccountsService(Accounts, Protocol):
    """The accounts, as the process that runs them sees them (`gateway.service`)."""

    async def drain(self) -> None:
        """Refuse new calls from now on, and return when no call is in progress. The caller sets the time limit."""


class OpenAccounts(Protocol):
    """Makes the accounts of one process: `gateway.accounts.service.open_accounts`."""

    def __call__(
        self, settings: Settings, store: Store, metrics: Metrics, health: Health, events: EventHub
    ) -> AbstractAsyncContextManager[AccountsService]:
        """Return a context manager: entering starts every stored account, leaving says BYE and stops them all.

        Entering does not wait for peers. A fault that the accounts cannot mend by themselves is raised in the body
        of the ``async with``.
        """


CheckBridge = Callable[[AccountId, BridgeConfig], Awaitable[Sequence[Result]]]
"""Tries a configuration that is not stored: reaches what it names, and says what it found."""


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """What the API is made of.

    Attributes:
        host_policy: why a host may not be connected to, or None where it may; asked while a request is validated, so
            it must not block (no DNS).
        check_bridge: tries a configuration.
        events: where events come from.
        check_webhook: raises a `ConfigError` where a URL may not be a webhook's.
        body_timeout_s: seconds for a request body to arrive.
        body_limit_bytes: larger bodies are refused.
        requests_per_s: of one account; more are answered 429.
        offers_per_min: calls that one account may begin.
    """

    store: Store
    accounts: Accounts
    metrics: Metrics
    health: Health
    host_policy: HostPolicy
    check_bridge: CheckBridge
    events: EventHub
    check_webhook: Callable[[str], None]
    body_timeout_s: float = 10.0
    body_limit_bytes: int = 64 * 1024
    requests_per_s: float = 1000
    offers_per_min: float = 30
