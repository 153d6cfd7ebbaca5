"""One gateway process: store, accounts, API and the wasm server beside them, from start to drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field

import structlog

from gateway import __version__
from gateway.accounts.checks import AccountChecks, Result, check
from gateway.api.app import create_app
from gateway.api.deps import Accounts, AccountsService, ApiDeps, CheckBridge, OpenAccounts
from gateway.api.server import ApiServer
from gateway.browser.allow import AllowList, check_address, literal
from gateway.browser.errors import AddressNotAllowed
from gateway.config import Settings, child_environment
from gateway.domain.bridge_config import BridgeConfig, HostPolicy
from gateway.domain.ids import AccountId
from gateway.events.delivery import Deliverer
from gateway.events.hub import EventHub
from gateway.events.sender import Sender, SenderSettings, check_webhook_url
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.store.retention import keep_tidy
from gateway.store.store import Store

_CHILD_STOP_S = 5.0  # the wasm server only serves files: it has nothing to finish
_CHILD_BACKOFF_S = (0.5, 30.0)  # first pause and cap between restarts


@dataclass(slots=True)
class StopRequests:
    """What the signals ask for.

    Attributes:
        drain: set by SIGTERM: finish the calls, then stop.
        now: set by SIGINT or a second SIGTERM: end the calls and stop.
    """

    drain: asyncio.Event = field(default_factory=asyncio.Event)
    now: asyncio.Event = field(default_factory=asyncio.Event)

    def on_sigterm(self) -> None:
        """Ask for a drain; asked twice, for a stop."""
        (self.now if self.drain.is_set() else self.drain).set()

    def on_sigint(self) -> None:
        """Ask for a stop."""
        self.now.set()

    async def wait(self) -> None:
        """Return when either is asked for."""
        await _first(self.drain.wait(), self.now.wait())


def host_policy(settings: Settings) -> HostPolicy:
    """Return the policy of the API's URL fields. Names are checked again, by address, when they are connected to."""
    allow = AllowList.parse(settings.allow_hosts)

    def policy(host: str) -> str | None:
        address = literal(host)
        if address is None:
            return None
        try:
            check_address(address, allow, host=host)
        except AddressNotAllowed as error:
            return f"leads where the gateway may not connect to: {error}"
        return None

    return policy


def bridge_check(settings: Settings, accounts: Accounts) -> CheckBridge:
    """Return what tries a configuration for ``POST /call/bridge/test``."""

    async def run(account: AccountId, config: BridgeConfig) -> list[Result]:
        async def listener() -> str:
            await accounts.check(account, config)
            return f"port {config.sip_listen_port} can be had"

        checks = AccountChecks(settings, config, listener)
        return [await check(name, fix, work) for name, fix, work in checks.all()]

    return run


async def serve(
    settings: Settings,
    open_accounts: OpenAccounts,
    *,
    with_wasm: bool = True,
    on_ready: Callable[[int], None] | None = None,
    stop: StopRequests | None = None,
) -> None:
    """Run the gateway until it is told to stop.

    SIGTERM drains: ``/readyz`` says 503, new calls are refused, calls in progress may go on for ``shutdown_grace_s``.
    SIGINT or a second SIGTERM ends the calls at once.

    Args:
        settings: the process settings.
        open_accounts: makes the accounts.
        with_wasm: whether to run the wasm server as a child process.
        on_ready: called with the API's port when it listens.
        stop: asked instead of the signals, which are then left alone.

    Raises:
        PonteError: it cannot start; the sentence says why.
    """
    log = structlog.get_logger(__name__)
    metrics, health = Metrics(), Health()
    async with contextlib.AsyncExitStack() as stack:
        if stop is None:
            stop = StopRequests()
            stack.enter_context(_signals(stop))
        store = await Store.open(settings)
        stack.push_async_callback(store.close)
        health.register("database", store.ping)
        health.register("records", store.journal.check)
        show_writes(metrics, lambda: store.journal.waiting)
        await stack.enter_async_context(store.journal.running())
        events = EventHub(store)
        await stack.enter_async_context(_delivering(settings, store, metrics, events))
        if with_wasm:
            await stack.enter_async_context(_wasm_server(settings))
        accounts = await stack.enter_async_context(open_accounts(settings, store, metrics, health, events))
        deps = ApiDeps(
            store,
            accounts,
            metrics,
            health,
            host_policy(settings),
            bridge_check(settings, accounts),
            events,
            lambda url: check_webhook_url(url, webhook_settings(settings).allow),
            settings.body_timeout_s,
            requests_per_s=settings.api_rate_per_s,
            offers_per_min=settings.offer_rate_per_min,
        )
        server = ApiServer(create_app(deps), settings.api_host, settings.api_port)
        log.info("gateway_started", version=__version__, api_host=settings.api_host, api_port=server.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(server.run(), name="api")
            tidying = group.create_task(
                keep_tidy(
                    store,
                    call_days=settings.call_retention_days,
                    recording_days=settings.recording_retention_days,
                    event_days=settings.event_retention_days,
                    event_keep=settings.event_log_size,
                ),
                name="retention",
            )
            if on_ready is not None:
                on_ready(server.port)
            await stop.wait()
            health.draining = True
            log.info("gateway_stopping", drain=not stop.now.is_set())
            await _drain(accounts, stop, settings.shutdown_grace_s)
            events.close()  # streams would else hold the server up
            server.stop()
            tidying.cancel()
    log.info("gateway_stopped")


def show_writes(metrics: Metrics, waiting: Callable[[], int]) -> None:
    """Show in *metrics* how many writes wait for the database: more than a few, and it is full, locked or gone."""
    metrics.mirror(
        "ponte_store_writes_waiting", "Writes that wait for the database", (), lambda: {(): waiting()}, kind="gauge"
    )  # fmt: skip


def webhook_settings(settings: Settings) -> SenderSettings:
    """Return how webhooks are sent."""
    return SenderSettings(
        AllowList.parse(settings.webhook_allow_hosts),
        timeout_s=settings.webhook_timeout_s,
        ca_file=str(settings.ca_file) if settings.ca_file is not None else None,
    )


@contextlib.asynccontextmanager
async def _delivering(settings: Settings, store: Store, metrics: Metrics, events: EventHub) -> AsyncIterator[None]:
    """Deliver webhooks beside the body; what is left at its end is delivered after the next start."""
    deliverer = Deliverer(store, Sender(webhook_settings(settings)), metrics)
    events.on_outbox = deliverer.wake
    async with asyncio.TaskGroup() as group:
        task = group.create_task(deliverer.run(), name="webhooks")
        try:
            yield
        finally:
            task.cancel()


async def _drain(accounts: AccountsService, stop: StopRequests, grace_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            await _first(accounts.drain(), stop.now.wait())


async def _first(*work: Coroutine[object, object, object]) -> None:
    """Return when the first of them is done; the others are cancelled. An error of any is raised."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in work]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


@contextlib.contextmanager
def _signals(stop: StopRequests) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.on_sigterm)
    loop.add_signal_handler(signal.SIGINT, stop.on_sigint)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


@contextlib.asynccontextmanager
async def _wasm_server(settings: Settings) -> AsyncIterator[None]:
    """Run the wasm server beside the body; it is started again when it dies."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_supervise_wasm(settings), name="wasm-server")
        try:
            yield
        finally:
            task.cancel()


async def _supervise_wasm(settings: Settings) -> None:
    log = structlog.get_logger(__name__)
    first_s, cap_s = _CHILD_BACKOFF_S
    pause_s = first_s
    while True:
        started_s = asyncio.get_running_loop().time()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.ops.tied", str(os.getpid()), "wasm_server",
            "--host", settings.wasm_host, "--port", str(settings.wasm_port),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            env=child_environment(),
            start_new_session=True,  # Ctrl-C is for the gateway, which stops its child itself
        )  # fmt: skip
        try:
            status = await child.wait()
        finally:
            await _end(child)
        if asyncio.get_running_loop().time() - started_s > cap_s:
            pause_s = first_s
        log.error("wasm_server_exited", status=status, restart_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, cap_s)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        async with asyncio.timeout(_CHILD_STOP_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


def print_ready(port: int) -> None:
    """Write the ready line for whoever started the process: one JSON object on stdout."""
    print(json.dumps({"event": "ready", "api_port": port, "pid": os.getpid()}), flush=True)
