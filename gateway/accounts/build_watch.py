"""Keeps an account's page on a build of WhatsApp Web that works: tries a newer one in a page of its own first."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from gateway.accounts.page_session import PageSession
from gateway.browser import PageTarget
from gateway.domain.errors import PonteError
from gateway.domain.ids import AccountId
from gateway.domain.page_session import SeenBuild, TriedBuild, worse
from gateway.domain.states import PageState
from gateway.page import wire
from gateway.page.whatsapp import WhatsAppDriver

OpenTrial = Callable[[], AbstractAsyncContextManager[PageTarget]]
"""Opens WhatsApp Web in a page that nobody is logged in to, with the bundle in it."""


class Builds(Protocol):
    """Where it is kept which build worked last: `gateway.store.builds.SeenBuilds`."""

    async def load(self, account: AccountId) -> SeenBuild | None:
        """Return the account's build, None where none worked yet."""

    async def save(self, account: AccountId, build: SeenBuild) -> None:
        """Keep the account's build."""


class NoBuilds:
    """Keeps nothing: each start finds out anew."""

    async def load(self, account: AccountId) -> SeenBuild | None:
        """Return None."""
        return None

    async def save(self, account: AccountId, build: SeenBuild) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """When builds are looked at.

    Attributes:
        check_s: between trials while WhatsApp says nothing of an update.
        first_s: until the first one: a gateway that has just started has better things to do.
        look_s: between looks at whether it does.
        settle_s: what a login page lacks after this is missing.
        trial_s: for a whole trial. A page loads some 20 MB.
        spread_s: what is added to the first two, by chance: a gateway's accounts must not all open a page at once.
    """

    check_s: float = 21_600.0  # 6 h; WhatsApp brings a build every few days
    first_s: float = 600.0
    look_s: float = 60.0
    settle_s: float = 15.0
    trial_s: float = 120.0
    spread_s: float = 1800.0  # a trial takes some 10 s: room for dozens of accounts beside each other

    def pause_s(self, chance: float, *, first: bool) -> float:
        """Return how long it is until a trial.

        Args:
            chance: uniform in [0, 1).
            first: whether none was since the page was attached.
        """
        return (self.first_s if first else self.check_s) + self.spread_s * chance


class BuildWatch:
    """Watches the builds of one page link.

    Args:
        account: whose page.
        builds: where the build that works is kept.
        session: where it is shown.
        settings: when to look.
    """

    def __init__(self, account: AccountId, builds: Builds, session: PageSession, settings: BuildSettings) -> None:
        self._account = account
        self._builds = builds
        self._session = session
        self._settings = settings
        self._worked: SeenBuild | None = None
        self._tried: TriedBuild | None = None
        self._log = structlog.get_logger("ponte.builds")

    async def run(
        self,
        driver: WhatsAppDriver,
        open_trial: OpenTrial,
        idle: Callable[[], bool],
        renew: Callable[[], Awaitable[bool]],
    ) -> None:
        """Watch one page until cancelled.

        Args:
            driver: the account's page.
            open_trial: opens a page for a trial.
            idle: whether no call runs.
            renew: loads the account's page anew, if still no call runs; whether it did.
        """
        self._worked = await self._load()
        self._show()
        next_s = time.monotonic() + self._settings.pause_s(random.random(), first=True)
        noticed: str | None = None
        while True:
            await self._note(driver)
            probe = driver.probe
            if probe is not None and driver.state is PageState.READY and idle():
                update = probe.needsUpdate and noticed != probe.waVersion
                if update or time.monotonic() >= next_s:
                    next_s = time.monotonic() + self._settings.pause_s(random.random(), first=False)
                    noticed = probe.waVersion if probe.needsUpdate else noticed
                    if await self._try(probe.waVersion, open_trial) and not await renew():
                        next_s = 0.0  # a call came; the trial is done again, since WhatsApp may go on meanwhile
            await asyncio.sleep(self._settings.look_s)

    async def _note(self, driver: WhatsAppDriver) -> None:
        """Remember the build of a READY page."""
        try:
            if driver.state is PageState.READY:
                await driver.refresh()
        except PonteError as error:
            self._log.info("page_build_unknown", error=str(error))
            return
        probe = driver.probe
        if probe is None or probe.waVersion is None or driver.state is not PageState.READY:
            return
        if self._worked is None or self._worked.version != probe.waVersion:
            await self._save(SeenBuild(probe.waVersion, datetime.now(UTC)))

    async def _try(self, running: str | None, open_trial: OpenTrial) -> bool:
        """Look at the build that WhatsApp serves now; whether it is another one than *running*, and works."""
        try:
            async with asyncio.timeout(self._settings.trial_s), open_trial() as page:
                version, lacks = await self._look(page)
        except (PonteError, TimeoutError) as error:
            # Nothing is known of the build: the network may have been away.
            self._log.info("page_build_not_tried", error=str(error) or "it took too long")
            return False
        if version is None:
            return False
        worked = self._worked
        if version == running:
            if worked is not None and worked.version == version and worked.login_lacks is None:
                await self._save(replace(worked, login_lacks=tuple(sorted(need.name for need in lacks))))
            return False
        # A login page lacks what comes with the login. Where nobody saw that of the last build, only what every page
        # needs counts.
        seen = worked.login_lacks if worked is not None and worked.version == running else None
        if seen is None:
            lost = worse(frozenset(need.name for need in lacks if need.use == "all"), frozenset())
        else:
            lost = worse(frozenset(need.name for need in lacks), frozenset(seen))
        self._tried = TriedBuild(version, datetime.now(UTC), lost)
        self._show()
        if lost:
            self._log.warning("page_build_not_taken", running=running, tried=version, lacks=lost)
        else:
            self._log.info("page_build_works", running=running, tried=version)
        return not lost

    async def _look(self, page: PageTarget) -> tuple[str | None, list[wire.Check]]:
        """Return the version of a trial's page and what it lacks, once it shows its login or does not get there."""
        began = time.monotonic()
        at_login: float | None = None
        while True:
            probe = wire.parse_probe(await page.call("probe"))
            lacks = [one for one in probe.checks if not one.found and one.use not in {"names"}]
            now = time.monotonic()
            if probe.state in {PageState.LOGIN_REQUIRED, PageState.READY}:
                at_login = now if at_login is None else at_login
                if not lacks or now - at_login >= self._settings.settle_s:
                    return probe.waVersion, lacks
            elif probe.state is PageState.DEGRADED or now - began >= self._settings.trial_s / 2:
                unreadable = wire.Check(name=f"a login that can be read ({probe.detail})"[:100], found=False, use="all")
                return probe.waVersion, [*lacks, unreadable]
            await asyncio.sleep(0.5)

    async def _load(self) -> SeenBuild | None:
        try:
            return await self._builds.load(self._account)
        except PonteError as error:
            self._log.warning("page_build_not_loaded", error=str(error))
            return None

    async def _save(self, build: SeenBuild) -> None:
        try:
            await self._builds.save(self._account, build)
        except PonteError as error:
            self._log.warning("page_build_not_stored", error=str(error))
        self._worked = build
        self._show()

    def _show(self) -> None:
        self._session.on_builds(self._worked, self._tried)
