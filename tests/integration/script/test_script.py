"""A user's Playwright script makes a page leg of web phones that nobody prepared for Ponte: calls both ways, heard."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest

from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.accounts.page_link import Line, PageLink
from gateway.browser import BrowserSettings, connect_cdp, parse_browser_url
from gateway.domain import termination as t
from gateway.domain.ids import AccountId
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.media.page_side import PagePort
from gateway.page.driver import PageCall
from gateway.webrtc.leg import WebRtcLeg
from tests.integration.accounts.test_page_link import no_helper
from tests.integration.browser.site import until
from tests.integration.script.web_phone import WebPhone, web_phone
from tests.integration.wasm_server.rig import RATE_HZ, Wire, serve
from tests.integration.wasm_server.test_page_audio import sends
from tests.support.audio import sine
from tests.support.chromium import chromium
from wasm_server.app import create_app
from wasm_server.build import build, default_directory

pytestmark = [pytest.mark.integration, pytest.mark.alone]

SCRIPT = Path(__file__).with_name("phone.py")
NUMBER = "5511977776666"


@contextlib.asynccontextmanager
async def driven(kind: str, script: Path = SCRIPT) -> AsyncIterator[tuple[WebPhone, PageLink, list[PageCall]]]:
    """A web phone in Chromium, driven by the script."""
    await asyncio.to_thread(build, default_directory())
    incoming: list[PageCall] = []
    async with (
        serve(create_app(default_directory())) as wasm,
        web_phone(kind) as phone,
        chromium(["--allow-loopback-in-peer-connection"]) as browser,
        connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings()) as cdp,
    ):
        await phone.start_far_end(cdp)
        settings = PageLinkSettings(
            browser=BrowserSettings(), page_url=phone.url, local_helper=no_helper, poll_s=0.3, page_script=script
        )
        port = urlsplit(wasm).port or 0
        config = PageLinkConfig(AccountId("one"), browser.ws_url, None, "127.0.0.1", port)
        link = PageLink(config, settings, side=PagePort(WebRtcLeg), on_change=lambda: None, on_incoming=incoming.append)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(link.run())
            try:
                yield phone, link, incoming
            finally:
                running.cancel()


async def line_of(link: PageLink) -> Line:
    async def ready() -> bool:
        return link.line is not None

    try:
        await until(ready, 30)
    except TimeoutError:
        raise AssertionError((link.page, link.media)) from None
    assert link.line is not None
    return link.line


async def talk(phone: WebPhone, line: Line) -> None:
    """Both sides send a tone, and hear the other's."""
    assert isinstance(line.side, PagePort)
    wire = Wire(cast(WebRtcLeg, line.side))
    line.side.set_receiver(wire.take)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(wire.run())
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await sends(wire, 700, -20)
        await phone.hears(1000)
        sending.cancel()


@pytest.mark.parametrize("kind", ["element", "web_audio"])
async def test_a_web_phone_calls_and_is_called(kind: str) -> None:
    async with driven(kind) as (phone, link, incoming):
        line = await line_of(link)
        await line.driver.start_media("PCMU")
        call = await line.driver.dial(NUMBER)
        async with asyncio.timeout(20):
            assert await call.next_event() == PageRinging()
            assert phone.dialled == NUMBER
            assert line.driver.busy
            phone.pick_up()
            assert await call.next_event() == PageActive()
            await talk(phone, line)
            await call.hangup()
            assert await call.next_event() == PageEnded(t.HANGUP)
            assert phone.state == "over"
        await line.driver.stop_media()

        phone.state = "idle"
        await asyncio.sleep(0.3)  # the phone looks at its server ten times a second
        phone.ring("+55 11 98888-7777")

        async def rings() -> bool:
            return bool(incoming)

        await until(rings)
        assert incoming[0].peer.phone == "5511988887777"
        await line.driver.start_media("PCMA")
        await incoming[0].accept()
        async with asyncio.timeout(20):
            assert await incoming[0].next_event() == PageActive()
            await talk(phone, line)
            phone.hang_up()
            assert await incoming[0].next_event() == PageEnded(t.HANGUP)
        assert not line.driver.busy


async def test_a_script_that_fails_is_said_so_and_taken_up_when_it_is_mended(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("async def dial(page, number): ...\n")
    async with driven("element", script) as (_, link, _):

        async def told() -> bool:
            return "must have async functions" in link.page.detail

        await until(told)
        script.write_text(
            "async def dial(page, number):\n    raise ValueError(number)\n"
            "async def answer(page): ...\nasync def hangup(page): ...\n"
        )
        line = await line_of(link)
        with pytest.raises(Exception, match="Not reachable"):
            await line.driver.dial(NUMBER)
        assert not line.driver.busy
