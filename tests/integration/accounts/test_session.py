"""An account's WhatsApp session by its API: linking, unlinking and what else befalls it, in the stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx2
import numpy as np
import pytest
import pytest_asyncio
import segno

from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.accounts.page_link import PageLink
from gateway.accounts.page_session import PageSession
from gateway.api.app import create_app
from gateway.api.deps import ApiDeps
from gateway.browser import BrowserSettings, LocalHelperSettings
from gateway.config import Settings as GatewaySettings
from gateway.domain.ids import AccountId
from gateway.domain.page_session import LinkCodeChanged, PageStateChanged, QrChanged, SessionEvent
from gateway.events.hub import EventHub
from gateway.media.page_side import PagePort
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.service import bridge_check, host_policy
from gateway.store.store import Store
from gateway.webrtc.leg import WebRtcLeg
from tests.integration.api.fakes import FakeAccounts
from tests.integration.wasm_server.rig import serve
from tests.standin.schemas import Settings
from tests.standin.server import StandIn
from tests.support.chromium import chromium
from wasm_server.app import create_app as create_wasm_app
from wasm_server.build import build, default_directory

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

PHONE = "4930901820"


def no_helper(account: AccountId) -> LocalHelperSettings:
    raise AssertionError("no helper is started here")


@dataclass
class Rig:
    """The page and its phone on one side, the API on the other.

    Attributes:
        events: what the session told, oldest first.
    """

    stand_in: StandIn
    session: PageSession
    client: httpx2.AsyncClient
    link: PageLink
    events: list[SessionEvent]

    async def get(self, path: str, status: int = 200, accept: str = "*/*") -> httpx2.Response:
        answer = await self.client.get(path, headers={"accept": accept})
        assert answer.status_code == status, answer.text
        return answer

    async def post(self, path: str, status: int = 200, **fields: object) -> Any:
        answer = await self.client.post(path, json=fields)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def until(self, seen: Callable[[dict[str, Any]], object], timeout_s: float = 30) -> dict[str, Any]:
        """Ask ``GET /session`` until *seen* says yes to it."""
        deadline = time.monotonic() + timeout_s
        while not seen(found := (await self.get("/session")).json()):
            assert time.monotonic() < deadline, f"not seen within {timeout_s} s: {found}"
            await asyncio.sleep(0.05)
        answer: dict[str, Any] = found
        return answer

    async def until_state(self, state: str, timeout_s: float = 30) -> dict[str, Any]:
        return await self.until(lambda found: found["state"] == state, timeout_s)

    async def until_event(self, seen: Callable[[SessionEvent], object], timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while not any(seen(event) for event in self.events):
            assert time.monotonic() < deadline, self.events
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    ready: asyncio.Future[Rig] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()
    holder = asyncio.create_task(hold(tmp_path_factory.mktemp("session"), ready, done))
    holder.add_done_callback(lambda task: ready.done() or ready.cancel())
    try:
        found = await asyncio.wait_for(ready, 90)
    except asyncio.CancelledError:
        await holder  # raises what kept it from getting ready
        raise
    yield found
    done.set()
    await asyncio.wait_for(holder, 20)


async def hold(folder: Path, ready: asyncio.Future[Rig], done: asyncio.Event) -> None:
    """One page, one API for the module, held by a task of its own since fixtures begin and end in different ones."""
    directory = default_directory()
    await asyncio.to_thread(build, directory)
    gateway = GatewaySettings(state_dir=folder / "state")
    store = await Store.open(gateway)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        _, key = await store.keys.create("acme")
        stand_in = await stack.enter_async_context(StandIn())
        browser = await stack.enter_async_context(chromium(stand_in.flags))
        wasm_url = await stack.enter_async_context(serve(create_wasm_app(directory)))
        settings = PageLinkSettings(
            browser=BrowserSettings(), page_url=stand_in.url, local_helper=no_helper, poll_s=0.3, retry_max_s=0.5
        )
        config = PageLinkConfig(AccountId("one"), browser.ws_url, None, "127.0.0.1", urlsplit(wasm_url).port or 0)
        accounts = FakeAccounts()
        session = accounts.page_session
        link = PageLink(
            config,
            settings,
            side=PagePort(WebRtcLeg),
            on_change=lambda: None,
            on_incoming=lambda call: None,
            session=session,
        )
        app = create_app(
            ApiDeps(
                store,
                accounts,
                Metrics(),
                Health(),
                host_policy(gateway),
                bridge_check(gateway, accounts),
                EventHub(store),
                lambda url: None,
            )
        )
        client = await stack.enter_async_context(
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=app), base_url="http://gateway", timeout=40,
                headers={"Authorization": f"Bearer {key}"},
            )
        )  # fmt: skip
        events: list[SessionEvent] = []
        stack.callback(session.subscribe(events.append))
        async with asyncio.TaskGroup() as group:
            working = group.create_task(link.run())
            ready.set_result(Rig(stand_in, session, client, link, events))
            await done.wait()
            working.cancel()


@pytest_asyncio.fixture(loop_scope="module")
async def there(running: Rig) -> Rig:
    """The page READY, as it is by default, and its events of this test only."""
    await running.stand_in.post("/settings", **Settings().model_dump())
    await running.stand_in.post("/phone", online=True)
    await running.until_state("READY")
    running.events.clear()
    return running


@pytest_asyncio.fixture(loop_scope="module")
async def unlinked(there: Rig) -> Rig:
    """The page at its login."""
    await there.stand_in.post("/settings", logged_in=False)
    await there.until_state("LOGIN_REQUIRED")
    return there


async def test_a_linked_page_shows_its_state_and_versions_and_has_no_code(there: Rig) -> None:
    found = await there.until(lambda found: found["whatsapp_version"] and found["number"])
    assert (found["state"], found["detail"], found["number"]) == ("READY", "", PHONE)
    assert (found["takes_calls"], found["places_calls"], found["missing"]) == (True, True, [])
    assert (found["whatsapp_version"], found["wajs_version"]) == (Settings().build, "4.6.0")
    assert all(need["found"] for need in found["needs"]), found["needs"]
    for path, body in (("/session/qr", None), ("/session/code", {"phone": "+4930901820"})):
        request = there.client.get(path) if body is None else there.client.post(path, json=body)
        refused = await request
        assert refused.status_code == 409
        assert refused.json()["code"] == "wrong_page_state"
        assert "it is READY" in refused.json()["detail"]
    assert (await there.post("/session/takeover", 409))["code"] == "wrong_page_state"


async def test_the_qr_code_is_shown_as_text_and_picture_and_links_the_page(unlinked: Rig) -> None:
    code = (await unlinked.get("/session/qr")).json()["code"]
    assert [len(part) > 0 for part in code.split(",")] == [True] * 4
    assert any(event == QrChanged(code) for event in unlinked.events)

    for path, accept in (("/session/qr", "image/avif,image/png,*/*;q=0.8"), ("/session/qr?format=png", "*/*")):
        answer = await unlinked.get(path, accept=accept)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "no-store"
        shown = picture(answer.content)
        assert np.array_equal(shown, modules(code)), "the picture is that of the code, with its quiet zone"
    assert (await unlinked.get("/session/qr?format=json", accept="image/png")).json() == {"code": code}
    assert (await unlinked.get("/session/qr?format=gif", 400)).json()["code"] == "request_invalid"

    await unlinked.stand_in.post("/scan", code=code)
    await unlinked.until_state("READY")
    assert unlinked.session.qr is None
    assert QrChanged(None) in unlinked.events
    states = [event.status.state.value for event in unlinked.events if isinstance(event, PageStateChanged)]
    assert states[0] == "LOGIN_REQUIRED"
    assert states[-1] == "READY"


def picture(png: bytes) -> np.ndarray[Any, Any]:
    """The modules of a picture of 8 pixels a module: True is dark."""
    with av.open(io.BytesIO(png), "r") as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="gray")
    dark: np.ndarray[Any, Any] = pixels[4::8, 4::8] < 128
    return dark


def modules(code: str) -> np.ndarray[Any, Any]:
    made = segno.make_qr(code, error="l", boost_error=False)
    return np.array([[bool(cell) for cell in row] for row in made.matrix_iter(border=4)])


async def test_the_qr_code_follows_whatsapps_and_is_asked_for_again_when_whatsapp_stops(unlinked: Rig) -> None:
    await unlinked.stand_in.post("/settings", qr_rotate_ms=700, qr_codes=2)
    first = (await unlinked.get("/session/qr")).json()["code"]
    await unlinked.until_event(lambda event: isinstance(event, QrChanged) and event.code not in (first, None))
    # WhatsApp stops after some codes; nobody asked, so nothing is shown until somebody does.
    await unlinked.until_event(lambda event: event == QrChanged(None))
    await unlinked.stand_in.wait_for(lambda state: not state["link"]["shows_code"])
    await unlinked.stand_in.post("/settings", qr_rotate_ms=60_000)
    fresh = (await unlinked.get("/session/qr")).json()["code"]
    refused = await unlinked.stand_in.request("POST", "/scan", json={"code": first})
    assert refused.status_code == 409, "an old code is worth nothing"
    await unlinked.stand_in.post("/scan", code=fresh)
    await unlinked.until_state("READY")


async def test_a_page_is_linked_by_a_code_that_is_typed_into_the_phone(unlinked: Rig) -> None:
    assert (await unlinked.post("/session/code", 400, phone="12"))["errors"][0]["field"] == "phone"
    code = (await unlinked.post("/session/code", phone=f"+{PHONE}"))["code"]
    assert LinkCodeChanged(code) in unlinked.events
    await unlinked.stand_in.post("/phone", online=False)
    refused = await unlinked.stand_in.request("POST", "/type_code", json={"code": code})
    assert refused.status_code == 409, "a phone without a connection links nothing"
    await unlinked.stand_in.post("/phone", online=True)
    await unlinked.stand_in.post("/type_code", code=code)
    await unlinked.until_state("READY")


async def test_a_page_is_logged_out_and_can_be_linked_again(there: Rig) -> None:
    left = await there.post("/session/logout")
    assert left["state"] in {"READY", "LOADING", "LOGIN_REQUIRED"}
    found = await there.until_state("LOGIN_REQUIRED")
    assert not found["detail"].startswith("the phone unlinked"), "it was we who did"
    assert (await there.stand_in.state())["link"]["linked"] is False
    assert (await there.post("/session/logout", 409))["code"] == "wrong_page_state"
    await scan(there)
    await there.until_state("READY")


async def test_a_session_that_the_phone_revokes_says_so_also_after_the_pages_reload(there: Rig) -> None:
    await there.stand_in.ring("+5511987654321")
    await there.stand_in.post("/unlink")
    found = await there.until_state("LOGIN_REQUIRED")
    assert found["detail"].startswith("the phone unlinked this page; no phone is linked: scan the QR code")
    assert (found["takes_calls"], found["places_calls"]) == (False, False)
    assert there.link.line is None
    await there.stand_in.wait_for(lambda state: state["call"] is None)


async def test_a_page_that_was_displaced_is_taken_over_when_somebody_asks(there: Rig) -> None:
    await there.stand_in.post("/displace")
    found = await there.until_state("DEGRADED")
    assert "open in another place" in found["detail"]
    assert "POST /session/takeover" in found["detail"]
    await asyncio.sleep(1.5)  # of itself the page does not fight for it
    assert (await there.get("/session")).json()["state"] == "DEGRADED"
    await there.post("/session/takeover")
    await there.until_state("READY")


async def test_a_phone_that_is_offline_changes_nothing(there: Rig) -> None:
    """A linked page has its own connection to WhatsApp; the phone is needed for linking only."""
    await there.stand_in.post("/phone", online=False)
    call_id = await there.stand_in.ring("+5511987654321")
    await there.stand_in.wait_for(lambda state: (state["page"]["call"] or {}).get("id") == call_id)
    assert (await there.get("/session")).json()["state"] == "READY"
    await there.stand_in.post("/hangup")


async def test_a_page_without_a_connection_says_so_and_comes_back(there: Rig) -> None:
    await there.stand_in.post("/settings", offline=True)
    found = await there.until_state("DEGRADED")
    assert "lost its connection" in found["detail"]
    await there.stand_in.post("/settings", offline=False)
    await there.until_state("READY")


async def test_a_renamed_module_is_named_before_and_after_the_login_and_calls_that_can_be_had_are(there: Rig) -> None:
    name = "startWAWebVoipCall (WAWebVoipStartCall)"
    await there.stand_in.post("/settings", renamed_modules=["WAWebVoipStartCall"])
    await there.post("/session/logout")
    await there.until(lambda found: found["state"] == "LOGIN_REQUIRED" and found["missing"] == [name])
    await scan(there)
    found = await there.until_state("DEGRADED")
    assert found["detail"].startswith("calls from WhatsApp work, calls to WhatsApp do not: not found in WhatsApp Web")
    assert name in found["detail"]
    assert (found["takes_calls"], found["places_calls"]) == (True, False)
    deadline = time.monotonic() + 20
    while there.link.line is None:  # the media leg is made for the calls that can be had
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)

    await there.stand_in.post("/settings", renamed_modules=[])
    await there.post("/session/logout")
    await there.until(lambda found: found["state"] == "LOGIN_REQUIRED" and found["missing"] == [])
    await scan(there)
    found = await there.until_state("READY")
    assert found["missing"] == []


async def scan(there: Rig) -> None:
    """Scan the code of a page that WhatsApp may be loading anew."""
    deadline = time.monotonic() + 20
    while (answer := await there.client.get("/session/qr")).status_code == 409:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)
    await there.stand_in.post("/scan", code=answer.json()["code"])
