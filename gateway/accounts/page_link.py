"""Keeps one account's page READY and its media leg up: connects, injects, negotiates, and does it again when lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from gateway.accounts.build_watch import Builds, BuildWatch, NoBuilds, OpenTrial
from gateway.accounts.chrome_place import ChromePlace, find_chrome
from gateway.accounts.drivers import Driver, bundle_driver, make_driver, read_script
from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.accounts.page_session import PageSession
from gateway.accounts.self_test import prove
from gateway.browser import Browser, Claim, PageTarget, fetch_assets, open_page, throwaway_page
from gateway.domain.bridge_status import PartStatus
from gateway.domain.errors import PonteError, Unavailable
from gateway.domain.states import PageState
from gateway.media.page_side import LegState, PageLeg, PageSide
from gateway.page.driver import PageCall, PageDriver, PageListener
from gateway.page.script import Script
from gateway.page.script.events import ScriptCall
from gateway.page.whatsapp import WhatsAppCall, WhatsAppDriver

_STARTED: Final = frozenset({PageState.READY, PageState.LOGIN_REQUIRED, PageState.DEGRADED})
_MICROPHONE_TAKEN: Final = (
    "the page had asked for a microphone before the gateway came, and is loaded anew once, while no call runs"
)
_NEW_BUILD: Final = "a newer build of WhatsApp Web was tried and works; the page is loaded anew for it"
_IDLE_PATIENCE_S: Final = 3600.0  # calls are over by then, or the build is tried again: there may be a newer one
_POLLS_WHEN_READY: Final = 15  # 30 s by default
_ENDED_LEG: Final = frozenset({LegState.FAILED, LegState.CLOSED})


@dataclass(frozen=True, slots=True)
class Line:
    """What a call needs of a page.

    Attributes:
        driver: places and takes calls.
        side: the page's side of the media plane, over whichever media leg is up.
    """

    driver: PageDriver
    side: PageSide


class PageLink:
    """One account's way to its page.

    Args:
        config: where Chrome and the assets are.
        settings: process settings.
        side: this page's side of the media plane, from which the legs come; closed at the end.
        on_change: called when `page`, `media` or `line` changed.
        on_incoming: called for each incoming call.
        session: what is told of the page outside; one of its own where nobody asks.
        builds: where it is kept which build of WhatsApp Web works; None: nowhere.
        idle: whether the account has no call, so that the page may be loaded anew.

    Attributes:
        page: the page's state, for people.
        media: the media leg's state, for people.
    """

    def __init__(
        self,
        config: PageLinkConfig,
        settings: PageLinkSettings,
        *,
        side: PageSide,
        on_change: Callable[[], None],
        on_incoming: Callable[[PageCall], None],
        session: PageSession | None = None,
        builds: Builds | None = None,
        idle: Callable[[], bool] = lambda: True,
    ) -> None:
        self.config = config
        self.page = PartStatus(PageState.DETACHED.value, "Chrome was not asked yet")
        self.media = PartStatus("closed", "waits for the page")
        self.session = session or PageSession()
        self.session.on_page(self.page)
        self._idle = idle
        self._watch = BuildWatch(config.account_id, builds or NoBuilds(), self.session, settings.builds)
        self._settings = settings
        self._on_change = on_change
        self._on_incoming = on_incoming
        self._driver: Driver | None = None
        self._target: PageTarget | None = None
        self._leg: PageLeg | None = None
        self._side = side
        self._claim = Claim()
        self._reloading = False
        self._missed: list[PageCall] = []  # began to ring when none could be taken
        self._held = False  # there was a page, and nobody has come as far as asking for the next one
        self._stir = asyncio.Event()
        self._log = structlog.get_logger("ponte.page_link")

    @property
    def line(self) -> Line | None:
        """Driver and media side, when a call could be made now."""
        if self._driver is None or not self._driver.can_take or not self._side.connected or self._reloading:
            return None
        return Line(self._driver, self._side)

    @property
    def own_number(self) -> str | None:
        """The account's own number, once the page told it."""
        return self._driver.own_number if self._driver else None

    async def run(self) -> None:
        """Hold the page until cancelled."""
        try:
            await self._run()
        finally:
            self._side.close()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                async with AsyncExitStack() as stack:
                    place = await find_chrome(self.config, self._settings, stack)
                    await self._hold(place)
            except PonteError as error:
                self._set_away(str(error))
            except Exception:
                # A fault of ours in one page must not end the account, nor the others.
                self._log.exception("page_link_crashed")
                self._set_away("an internal error; the log says more")
            failures += 1
            await asyncio.sleep(self._pause_s(failures))

    async def _hold(self, place: ChromePlace) -> None:
        """Attach to the page of that Chrome whenever there is one; returns never but by error."""
        browser = Browser(place.endpoint, settings=self._settings.browser)

        def on_status() -> None:
            if not browser.status.connected:
                self._set_away(browser.status.detail)

        browser.on_status = on_status
        async with _background(browser.run()):
            failures = 0
            while True:
                connection = await browser.wait_connected()
                try:
                    self._held = False
                    self._set_page(PartStatus(PageState.ATTACHING.value, "fetching the page bundle"))
                    assets = await fetch_assets(
                        place.wasm_url(self.config, self._settings.wasm_host), settings=self._settings.browser.http
                    )
                    script = read_script(self._settings)
                    self._set_page(PartStatus(PageState.INJECTING.value, "opening the page"))
                    target = await open_page(
                        connection,
                        url=self._settings.page_url,
                        assets=assets,
                        helper=place.helper,
                        driver=bundle_driver(self._settings),
                        claim=self._claim,
                    )
                    failures = 0
                    open_trial = partial(throwaway_page, connection, url=self._settings.page_url, assets=assets)
                    await self._attend(target, place, script, open_trial)
                except PonteError as error:
                    failures += 1
                    if not connection.closed.is_set():
                        self._set_page(PartStatus(PageState.DETACHED.value, str(error)))
                if failures:
                    await asyncio.sleep(self._pause_s(failures))

    async def _attend(
        self, target: PageTarget, place: ChromePlace, script: Script | None, open_trial: OpenTrial
    ) -> None:
        """Drive the page until it is gone."""
        gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        session = self.session
        listener = PageListener(
            on_state=self._page_state,
            on_incoming=self._page_incoming,
            on_media=self._page_media,
            on_qr=session.on_qr,
            on_link_code=session.on_link_code,
        )
        driver, work = make_driver(script, target, listener, place.endpoint, self._settings, self.config.account_id)

        def on_document() -> None:
            self._reloading = False
            driver.on_lost("the page was loaded anew", PageState.LOADING)
            self._drop_leg()

        def on_gone(why: str) -> None:
            driver.on_lost(why)
            self._drop_leg()
            if not gone.done():
                gone.set_result(why)

        self._driver, self._target = driver, target
        self._held = True
        session.use(driver)
        self._reloading = False
        target.subscribe(driver.on_event, on_document, on_gone)
        try:
            async with (
                _background(self._poll(driver)),
                _background(self._keep_leg(driver, place)),
                _background(self._renew(target, driver)),
                _background(work),
                _background(self._watch_builds(target, driver, open_trial)),
            ):
                await gone
        finally:
            if not gone.done():
                driver.on_lost("the gateway let go of the page")
            self._driver = self._target = None
            session.use(None)
            self._drop_leg()
            await target.close()

    async def _poll(self, driver: Driver) -> None:
        """Ask for the state often until it is READY, and seldom after that.

        An event that was lost must not keep an account down, nor show a dead one as READY.
        """
        rounds = 0
        while True:
            if not driver.settled or rounds >= _POLLS_WHEN_READY:
                rounds = 0
                try:
                    await driver.refresh()
                    self.session.on_page(self.page)
                except PonteError as error:
                    self._log.info("page_probe_failed", error=str(error), code=error.code)
            rounds += 1
            await asyncio.sleep(self._settings.poll_s)

    async def _renew(self, target: PageTarget, driver: Driver) -> None:
        """Load a page anew whose code was at the microphone before us; once, and not while a call runs."""
        while target.microphone_taken and not target.gone:
            # Before the page's own code has started nothing can be said of its calls.
            if driver.state in _STARTED and await self._load_anew(target, driver, _MICROPHONE_TAKEN):
                return
            await asyncio.sleep(self._settings.poll_s)

    async def _watch_builds(self, target: PageTarget, driver: Driver, open_trial: OpenTrial) -> None:
        """Bring a newer build of WhatsApp Web into the page, when it works and no call runs."""
        if not isinstance(driver, WhatsAppDriver):
            return

        async def renew() -> bool:
            deadline = time.monotonic() + _IDLE_PATIENCE_S
            while time.monotonic() < deadline:
                if await self._load_anew(target, driver, _NEW_BUILD):
                    return True
                await asyncio.sleep(self._settings.poll_s)
            return False

        await self._watch.run(driver, open_trial, lambda: self._idle() and not driver.busy, renew)

    async def _load_anew(self, target: PageTarget, driver: Driver, why: str) -> bool:
        """Load the page anew, if no call runs; meanwhile none begins."""
        if driver.busy or not self._idle():
            return False
        self._reloading = True
        try:
            if not await target.call("calls"):
                self._log.warning("page_loaded_anew", reason=why)
                self._set_page(PartStatus(PageState.LOADING.value, why))
                await target.reload()
                return True
        except PonteError as error:
            self._log.info("page_not_loaded_anew", error=str(error), code=error.code)
        self._reloading = False
        self._on_change()
        return False

    async def _keep_leg(self, driver: Driver, place: ChromePlace) -> None:
        """Have a connected media leg whenever the page is READY."""
        failures = 0
        announced = False
        while True:
            self._stir.clear()
            if not driver.can_take or self._leg is not None:
                await self._stir.wait()
                continue
            leg = self._side.new_leg(addresses=place.local_addresses, connect_timeout_s=self._settings.webrtc_timeout_s)
            leg.on_state = self._leg_state
            try:
                self._set_media(PartStatus("connecting", "ICE and DTLS with the page"))
                answer = await driver.connect_media(await leg.offer())
                await leg.accept(answer)
                if leg.state in _ENDED_LEG:  # meanwhile, when nobody used it yet
                    raise Unavailable("The media leg was lost as soon as it was connected")
            except PonteError as error:
                await leg.close()
                failures += 1
                self._set_media(PartStatus("failed", str(error)))
                await asyncio.sleep(self._pause_s(failures))
                continue
            except BaseException:
                await leg.close()
                raise
            failures = 0
            self._leg = leg
            self._side.use(leg)
            self._set_media(PartStatus("connected"))
            try:
                async with _background(self.prove()):
                    await self._attend_leg(leg, driver, announce=not announced)
                announced = True
            finally:
                await leg.close()

    async def _attend_leg(self, leg: PageLeg, driver: Driver, *, announce: bool) -> None:
        """Return when the leg is in use no more."""
        if isinstance(driver, WhatsAppDriver) and announce:
            # What began to ring before us can be taken only now, and with it what this driver was told of.
            self._missed.clear()
            await self._announce(driver)
        else:
            self._offer_missed()
        while self._leg is leg:
            self._stir.clear()
            await self._stir.wait()

    async def prove(self) -> None:
        """Prove, before somebody needs it, that sound flows to the page and back; the status says where it does not."""
        driver, leg = self._driver, self._leg
        if driver is None or leg is None:
            return
        try:
            proof = await prove(driver, self._side)
        except Exception:  # neither leg nor call must end because something could not be proven
            self._log.exception("self_test_failed")
            return
        if proof is None or self._leg is not leg:
            return
        if proof.broken is None:
            self._log.info("sound_proven", took_ms=proof.took_ms)
        else:
            self._log.warning("sound_not_proven", hop=proof.broken.value, why=proof.why)
        self._set_media(PartStatus("connected", proof.why))

    async def _announce(self, driver: WhatsAppDriver) -> None:
        try:
            await driver.announce()
        except PonteError as error:
            self._log.info("ringing_calls_not_announced", error=str(error), code=error.code)

    def _leg_state(self, state: LegState) -> None:
        if state in _ENDED_LEG:
            self._drop_leg()

    def _drop_leg(self) -> None:
        if self._leg is not None:
            self._leg = None
            self._side.use(None)
            self._set_media(PartStatus("closed", "the media leg to the page was lost and is made anew"))
        self._stir.set()

    def _page_state(self, state: PageState, detail: str) -> None:
        self._stir.set()
        if not detail and self._target is not None and self._target.microphone_taken:
            detail = _MICROPHONE_TAKEN
        self._set_page(PartStatus(state.value, detail))
        self._offer_missed()

    def _page_incoming(self, call: PageCall) -> None:
        if self.line is None and self._idle():
            # A page that was just loaded tells of calls before its leg is up.
            self._missed = [*(one for one in self._missed if not _is_over(one)), call]
        else:
            self._on_incoming(call)

    def _offer_missed(self) -> None:
        if self.line is None:
            return
        missed, self._missed = self._missed, []
        for call in missed:
            if not _is_over(call):
                self._on_incoming(call)

    def _page_media(self, state: str) -> None:
        # DTLS and ICE end with the peer connection; the page knows of its failure long before consent runs out.
        if state in {"failed", "closed"}:
            self._drop_leg()

    def _set_away(self, why: str) -> None:
        """Say that no page is in reach: LOST where there was one, DETACHED where none could be had."""
        self._set_page(PartStatus((PageState.LOST if self._held else PageState.DETACHED).value, why))

    def _set_page(self, status: PartStatus) -> None:
        if status != self.page:
            self.page = status
            self.session.on_page(status)
            self._on_change()

    def _set_media(self, status: PartStatus) -> None:
        if status != self.media:
            self.media = status
            self._on_change()

    def _pause_s(self, failures: int) -> float:
        return min(self._settings.retry_min_s * 2.0 ** max(failures - 1, 0), self._settings.retry_max_s)


def _is_over(call: PageCall) -> bool:
    return isinstance(call, WhatsAppCall | ScriptCall) and call.ended


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine beside the block; it ends with the block, and its failure ends the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        finally:
            task.cancel()
