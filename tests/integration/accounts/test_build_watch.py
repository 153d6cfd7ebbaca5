"""A newer build of WhatsApp Web is tried in a page of its own before the account's page takes it, in real Chromium."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from gateway.accounts.build_watch import BuildSettings
from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.accounts.page_link import PageLink
from gateway.accounts.page_session import PageSession
from gateway.browser import BrowserSettings, LocalHelperSettings, connect_cdp, parse_browser_url
from gateway.config import Settings as GatewaySettings
from gateway.domain.ids import AccountId
from gateway.domain.page_session import SeenBuild
from gateway.media.page_side import PagePort
from gateway.store.store import Store
from gateway.webrtc.leg import WebRtcLeg
from tests.integration.wasm_server.rig import serve
from tests.standin.schemas import Settings
from tests.standin.server import StandIn
from tests.support.chromium import chromium
from wasm_server.app import create_app
from wasm_server.build import build, default_directory

pytestmark = pytest.mark.integration

ACCOUNT = AccountId("one")
FIRST, BROKEN, GOOD = Settings().build, "2.3000.2000000001", "2.3000.2000000002"


def no_helper(account: AccountId) -> LocalHelperSettings:
    raise AssertionError("no helper is started here")


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    found = await Store.open(GatewaySettings(state_dir=tmp_path / "state"))
    yield found
    await found.close()


async def test_what_worked_last_is_kept_and_what_cannot_be_read_is_forgotten(store: Store) -> None:
    assert await store.builds.load(ACCOUNT) is None
    for lacks in (None, (), ("a", "b")):
        seen = SeenBuild("2.3000.1", datetime.now(UTC), lacks)
        await store.builds.save(ACCOUNT, seen)
        assert await store.builds.load(ACCOUNT) == seen
    assert await store.builds.load(AccountId("two")) is None


async def until(seen: Callable[[], object], what: str, timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        await asyncio.sleep(0.05)


async def test_a_build_that_breaks_calls_is_not_taken_and_one_that_works_is_when_no_call_runs(store: Store) -> None:
    directory = default_directory()
    await asyncio.to_thread(build, directory)
    session = PageSession()
    calls = 0
    async with (
        StandIn() as stand_in,
        chromium(stand_in.flags) as browser,
        serve(create_app(directory)) as wasm_url,
        connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()) as cdp,
    ):
        await stand_in.post("/settings", link_by_profile=True)
        settings = PageLinkSettings(
            browser=BrowserSettings(), page_url=stand_in.url, local_helper=no_helper, poll_s=0.3, retry_max_s=0.5,
            builds=BuildSettings(check_s=2.0, first_s=0.1, look_s=0.2, settle_s=2.5, spread_s=0.0),
        )  # fmt: skip
        config = PageLinkConfig(ACCOUNT, browser.ws_url, None, "127.0.0.1", urlsplit(wasm_url).port or 0)
        link = PageLink(
            config, settings, side=PagePort(WebRtcLeg), on_change=lambda: None, on_incoming=lambda call: None,
            session=session, builds=store.builds, idle=lambda: calls == 0,
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            working = group.create_task(link.run())
            try:
                await until(lambda: link.page.state == "READY", "READY")
                # The page's own build is tried once, to know what a login page of it shows.
                await until(
                    lambda: session.status.worked and session.status.worked.login_lacks is not None, "the first trial"
                )
                assert session.status.worked is not None
                assert (session.status.worked.version, session.status.worked.login_lacks) == (FIRST, ())
                assert (await store.builds.load(ACCOUNT)) == session.status.worked

                await stand_in.post("/settings", build=BROKEN, renamed_modules=["WAWebVoipStartCall"])
                await until(lambda: session.status.tried, "a trial of the broken build")
                assert session.status.tried is not None
                assert session.status.tried.version == BROKEN
                assert session.status.tried.lacks == ("startWAWebVoipCall (WAWebVoipStartCall)",)
                await asyncio.sleep(0.5)
                assert (link.page.state, session.status.whatsapp) == ("READY", FIRST)

                calls = 1
                await stand_in.post("/settings", build=GOOD, renamed_modules=[])
                await asyncio.sleep(3)
                assert session.status.whatsapp == FIRST, "nothing is loaded anew while a call runs"
                calls = 0
                await until(lambda: session.status.whatsapp == GOOD, "the good build")
                await until(lambda: link.page.state == "READY", "READY again")
                await until(lambda: session.status.worked and session.status.worked.version == GOOD, "its record")
                stored = await store.builds.load(ACCOUNT)
                assert stored is not None
                assert stored.version == GOOD

            finally:
                working.cancel()
        # Trials leave nothing behind.
        infos = (await cdp.send("Target.getTargets"))["targetInfos"]
        assert len([one for one in infos if one["type"] == "page" and one["url"].startswith(stand_in.url)]) == 1
        assert (await cdp.send("Target.getBrowserContexts"))["browserContextIds"] == []
