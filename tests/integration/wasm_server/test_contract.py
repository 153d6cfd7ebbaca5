"""The driver leans on wa-js's contract only: a page with other habits than the stand-in's, in real Chromium.

What WhatsApp does here it does without an event, late, or by another name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from gateway.browser.cdp import connect_cdp
from gateway.browser.discovery import chrome_version
from gateway.browser.endpoint import parse_browser_url
from gateway.browser.errors import PageError
from gateway.browser.page import PageTarget
from gateway.browser.settings import BrowserSettings, HttpSettings
from tests.integration.wasm_server.contract_page import contract_page
from tests.integration.wasm_server.rig import attached
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

PEER: Final = "4915112345678@c.us"
NONE, CALLING, RINGS_THERE, RINGS, ACCEPT_SENT, ACTIVE, ELSEWHERE, LINK, ENDING = 0, 1, 2, 3, 4, 6, 7, 10, 13


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[ChromiumProcess]:
    async with chromium() as process:
        yield process


class Lab:
    """The page, the events of the bundle, and WhatsApp as the test plays it."""

    def __init__(self, page: PageTarget, events: list[dict[str, Any]], browser: ChromiumProcess) -> None:
        self.browser = browser
        self.page = page
        self.events = events

    async def act(self, name: str, *args: object) -> Any:
        return await self.page.evaluate(f"lab.{name}({', '.join(json.dumps(arg) for arg in args)})")

    async def ring(self, id_: str = "A", *, jid: str = PEER, state: int = RINGS, **fields: object) -> None:
        await self.act("active", id_, jid, state, fields)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def ids(self, kind: str) -> set[str]:
        return {event["id"] for event in self.of(kind)}

    async def until(self, kind: str, count: int = 1, timeout_s: float = 10) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while len(self.of(kind)) < count:
            assert time.monotonic() < deadline, f"no {kind} within {timeout_s} s: {self.events}"
            await asyncio.sleep(0.02)
        return self.of(kind)[count - 1]

    async def until_state(self, state: str, timeout_s: float = 20) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while (probe := await self.page.call("probe"))["state"] != state:
            assert time.monotonic() < deadline, f"not {state} within {timeout_s} s: {probe}"
            await asyncio.sleep(0.05)
        found: dict[str, Any] = probe
        return found

    async def log(self) -> list[list[Any]]:
        found: list[list[Any]] = await self.page.evaluate("lab.log")
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(browser: ChromiumProcess) -> AsyncIterator[Lab]:
    async with contract_page() as url, attached(browser, url) as (page, _, events):
        lab = Lab(page, events, browser)
        await lab.until_state("READY")
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def lab(opened: Lab) -> AsyncIterator[Lab]:
    opened.events.clear()
    yield opened
    await opened.act("clear")
    deadline = time.monotonic() + 10
    # A call's end is told a moment later than it is seen, since WhatsApp writes the reason late.
    while await opened.page.call("calls") or opened.ids("call.state") - opened.ids("call.gone"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_call_is_seen_without_any_event(lab: Lab) -> None:
    await lab.ring("A", isVideo=True)
    incoming = await lab.until("call.incoming")
    assert (incoming["id"], incoming["peer"], incoming["phone"]) == ("A", PEER, "4915112345678")
    assert incoming["video"] is True
    await lab.page.call("accept", "A")
    assert await lab.log() == [["accept", True, False]], "audio, and never the camera"
    await lab.act("state", ACTIVE)
    await lab.until("call.state", 2)
    await lab.act("none")
    await lab.until("call.gone")
    assert [event["state"] for event in lab.of("call.state")] == [RINGS, ACTIVE]


@pytest.mark.parametrize("late_ms", [60, 500])
async def test_a_state_that_comes_late_and_silently_is_seen_soon(lab: Lab, late_ms: int) -> None:
    await lab.act("active", f"L{late_ms}", PEER, NONE)
    await lab.page.evaluate(f"setTimeout(() => {{ lab.state({RINGS}); lab.at = performance.now(); }}, {late_ms})")
    await lab.until("call.incoming")
    # Seen by the page itself, so that the way to the test is not counted: 50 ms of polling, and a loaded machine.
    assert await lab.page.evaluate("performance.now() - lab.at") < 2000
    assert len(lab.of("call.incoming")) == 1


async def test_a_caller_who_is_gone_within_100_ms_is_announced_at_most_once_and_then_gone(lab: Lab) -> None:
    for number, after_ms in enumerate((0, 20, 60, 100)):
        lab.events.clear()
        await lab.page.evaluate(f"lab.active('Q{number}', '{PEER}', 3), setTimeout(lab.none, {after_ms})")
        await asyncio.sleep(0.1)
        deadline = time.monotonic() + 5
        while await lab.page.call("calls") or len(lab.of("call.incoming")) != len(lab.of("call.gone")):
            assert time.monotonic() < deadline, lab.events
            await asyncio.sleep(0.02)
        assert len(lab.of("call.incoming")) <= 1
    assert await lab.page.call("calls") == []


async def test_commands_that_meet_the_other_sides_end_are_no_faults(lab: Lab) -> None:
    await lab.ring("B", state=ACTIVE)
    await lab.until("call.state")
    # The stack fails since the far end was faster, and WhatsApp puts the call away while it is being asked.
    await lab.page.evaluate("lab.failing = 'no call', null")
    with pytest.raises(PageError) as refused:
        await lab.page.call("end", "B")
    assert refused.value.page_code == "call_failed", "the call still stands, so it is one"
    await lab.act("state", ENDING)
    assert await lab.page.call("end", "B") is None
    await lab.act("none")
    await lab.until("call.gone")


async def test_taking_a_call_whose_caller_just_left_says_so(lab: Lab) -> None:
    await lab.ring("C")
    await lab.until("call.incoming")
    await lab.page.evaluate("lab.failing = 'gone', setTimeout(lab.none, 0)")
    with pytest.raises(PageError) as refused:
        await lab.page.call("accept", "C")
    assert refused.value.page_code == "call_not_found"


@pytest.mark.parametrize(
    ("jid", "state", "fields"),
    [
        (PEER, RINGS, {"isGroup": True}),
        (PEER, RINGS, {"groupJid": "1203@g.us"}),
        ("1203@g.us", RINGS, {}),
        ("77@call", RINGS, {}),
        (PEER, LINK, {}),
    ],
    ids=["group", "group jid", "group peer", "group call", "call link"],
)
async def test_calls_of_groups_and_links_are_left_alone_but_hold_the_line(
    lab: Lab, jid: str, state: int, fields: dict[str, object]
) -> None:
    await lab.ring(f"G{jid}{state}{len(fields)}{'groupJid' in fields}", jid=jid, state=state, **fields)
    with pytest.raises(PageError) as refused:
        await lab.page.call("dial", "4930111222")
    assert refused.value.page_code == "busy_line"
    assert lab.of("call.incoming") == []
    assert lab.of("call.state") == []
    assert await lab.log() == []


async def test_a_second_call_does_not_end_the_first(lab: Lab) -> None:
    await lab.ring("D", state=ACTIVE)
    await lab.until("call.state")
    await lab.ring("E", jid="4930222333@c.us")
    assert (await lab.until("call.incoming"))["id"] == "E"
    assert {call["id"] for call in await lab.page.call("calls")} == {"D", "E"}
    assert lab.of("call.gone") == []
    with pytest.raises(PageError) as refused:
        await lab.page.call("end", "D")  # the stack would end the other one
    assert refused.value.page_code == "call_failed"
    assert await lab.log() == []
    await lab.act("none")
    await lab.until("call.gone", 2)


async def test_a_call_in_which_others_join_goes_on(lab: Lab) -> None:
    await lab.ring("F", state=ACTIVE)
    await lab.until("call.state")
    await lab.page.evaluate("lab.calls.activeCall.isGroup = true")
    await asyncio.sleep(0.6)
    assert [call["id"] for call in await lab.page.call("calls")] == ["F"]


@pytest.mark.parametrize("how", ["state", "log"])
async def test_a_call_taken_elsewhere_says_so(lab: Lab, how: str) -> None:
    await lab.ring(f"H{how}")
    await lab.until("call.incoming")
    if how == "state":
        await lab.act("state", ELSEWHERE)
    else:
        await lab.page.evaluate("lab.calls.activeCall.callLogResult = 6, lab.none()")
    assert (await lab.until("call.gone"))["elsewhere"] is True


async def test_a_lid_gets_its_number_and_name_though_the_mapping_comes_later(lab: Lab) -> None:
    await lab.page.evaluate(
        "lab.active('I', '99887766@lid', 3), setTimeout(() => {"
        " lab.contacts.people.set('4930777888@c.us', {name: ' Ana '});"
        " lab.phones.set('99887766@lid', lab.wid('4930777888@c.us')); }, 150)"
    )
    incoming = await lab.until("call.incoming")
    assert (incoming["peer"], incoming["phone"], incoming["name"]) == ("99887766@lid", "4930777888", "Ana")


async def test_a_lid_that_nobody_knows_is_announced_without_a_number(lab: Lab) -> None:
    await lab.ring("J", jid="11223344@lid")
    incoming = await lab.until("call.incoming")
    assert (incoming["phone"], incoming["name"]) == (None, None)


async def test_a_call_is_dialled_though_the_offer_gives_nothing(lab: Lab) -> None:
    await lab.page.evaluate("lab.onStart = (jid) => lab.active('K', jid, 1, {outgoing: true})")
    assert await lab.page.call("dial", "4930111222") == {"id": "K"}
    assert await lab.log() == [["start", "4930111222@c.us", False, 8, 5]]
    await lab.act("state", RINGS_THERE)
    await lab.until("call.state", 2)
    assert [event["state"] for event in lab.of("call.state")] == [CALLING, RINGS_THERE]


async def test_a_call_that_is_placed_when_nobody_waits_any_more_is_ended(lab: Lab) -> None:
    await lab.page.evaluate(
        "lab.onStart = (jid) => setTimeout(() => lab.active('L', jid, 1, {outgoing: true}), 2800), null"
    )
    with pytest.raises(PageError) as refused:
        await lab.page.call("dial", "4930111223")
    assert refused.value.page_code == "timeout"
    async with asyncio.timeout(10):
        while ["end", 2, True] not in await lab.log():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_empty_group_and_a_long_name_keep_nobody_from_calling(lab: Lab) -> None:
    await lab.page.evaluate(f"lab.contacts.people.set('{PEER}', {{name: 'n'.repeat(300)}}), null")
    await lab.ring("N", groupJid="")
    assert (await lab.until("call.incoming"))["name"] == "n" * 200
    await lab.page.evaluate("lab.contacts.people.clear()")


async def test_a_number_that_cannot_be_asked_for_is_not_said_to_be_absent(lab: Lab) -> None:
    await lab.page.evaluate("lab.failing = 'no server', null")
    with pytest.raises(PageError) as refused:
        await lab.page.call("dial", "4930111333")
    assert refused.value.page_code == "call_failed"
    await lab.page.evaluate("lab.failing = '', lab.absent = ['4930111444'], null")
    with pytest.raises(PageError) as refused:
        await lab.page.call("dial", "4930111444")
    assert refused.value.page_code == "not_on_whatsapp"


async def test_states_by_their_old_names_are_understood_and_gates_are_forced_by_command(
    browser: ChromiumProcess,
) -> None:
    async with contract_page() as url, attached(browser, url + "?old") as (page, _, events):
        lab = Lab(page, events, browser)
        await lab.until_state("READY")
        await lab.act("active", "A", PEER, "INCOMING_RING")
        for count, name in enumerate(("ACTIVE", "ENDED"), start=1):
            await lab.until("call.state", count)
            await lab.act("state", name)
        await lab.until("call.state", 3)
        await lab.act("none")
        await lab.until("call.gone")
        assert [event["state"] for event in lab.of("call.state")] == [RINGS, ACTIVE, ENDING]

        # Only by its own command are WhatsApp's gates forced; the page is of no more use after that.
        await page.evaluate("lab.gate = false, null")
        await lab.until_state("DEGRADED")
        assert await page.call("forceGates") is None
        await lab.until_state("READY")
        assert ["init"] in await lab.log()


async def test_nothing_leaves_the_page_for_anybody_else(browser: ChromiumProcess) -> None:
    """wa-js sends beacons to an analytics service unless it is told not to."""
    beacon = "https://analytics.google.com/g/collect"
    asked: list[str] = []
    async with (
        contract_page() as url,
        attached(browser, url) as (page, _, events),
        connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()) as watch,
    ):
        lab = Lab(page, events, browser)
        attached_to = await watch.send("Target.attachToTarget", {"targetId": page.target_id, "flatten": True})
        watch.on("Network.requestWillBeSent", lambda params, _session: asked.append(params["request"]["url"]))
        await watch.send("Network.enable", session_id=attached_to["sessionId"])
        await page.reload()
        await lab.until("page.state")
        await lab.until_state("READY")
        # What wa-js would tell of: a start, a module that it misses, a login.
        await page.evaluate("void WPP.whatsapp.ChatStore, WPP.emit?.('conn.authenticated'), null")
        await lab.ring("A")
        await lab.until("call.incoming")
        # The watch itself sees what goes elsewhere.
        await page.evaluate(f"fetch('{beacon}').catch(() => null)")
        deadline = time.monotonic() + 10
        while beacon not in asked:
            assert time.monotonic() < deadline, asked
            await asyncio.sleep(0.05)
        assert {one for one in asked if not one.startswith((url, "data:", "blob:"))} == {beacon}


BROKEN: Final = {
    "without=WAXStart": ("DEGRADED", "startWAWebVoipCall", "calls from WhatsApp work", (True, False)),
    "without=WAXCalls": ("DEGRADED", "CallCollection", "no calls can be made or taken", (False, False)),
    "without=WAXStack": ("DEGRADED", "getVoipStackInterface", "no calls can be made or taken", (False, False)),
    "without=WAXLids": ("DEGRADED", "lidPnCache", "calls to WhatsApp do not", (True, False)),
    "stack=native": ("DEGRADED", "call stack of type web", "no calls", (False, False)),
    "plain": ("DEGRADED", "cross-origin isolat", "take --disable-web-security", (False, False)),
    "out&without=WAXStart": ("LOGIN_REQUIRED", "startWAWebVoipCall", "scan the QR code", (False, False)),
}
"""What the page lacks; the state that follows, what it names, what it says of calls, and which of them can be had."""


async def test_what_is_missing_is_named_with_what_works_and_what_to_do(browser: ChromiumProcess) -> None:
    async with contextlib.AsyncExitStack() as stack:
        labs = {}
        for query in BROKEN:
            url = await stack.enter_async_context(contract_page())  # a browser has one page of an origin
            page, _, events = await stack.enter_async_context(attached(browser, f"{url}?{query}"))
            labs[query] = Lab(page, events, browser)
        for query, (state, name, sentence, can) in BROKEN.items():
            deadline = time.monotonic() + 40
            while True:
                probe = await labs[query].page.call("probe")
                if probe["state"] == state and name in probe["detail"]:
                    break
                assert time.monotonic() < deadline, (query, probe)
                await asyncio.sleep(0.2)
            assert sentence in probe["detail"], query
            assert (probe["can"]["incoming"], probe["can"]["outgoing"]) == can, query
            assert any(name in missing for missing in probe["missing"]) or query == "plain", query
            assert (probe["waVersion"], probe["wajsVersion"]) == ("2.3000.77", "4.6.0")
            found = {check["name"]: check["found"] for check in probe["checks"]}
            assert found["isLoggedIn (WAWebUserPrefsLogin)"] is True
            # The gates are as WhatsApp has them: nobody forced them.
            assert ["init"] not in await labs[query].log()


async def test_a_closed_gate_is_said_and_left_closed(lab: Lab) -> None:
    await lab.page.evaluate("lab.gate = false, null")
    probe = await lab.until_state("DEGRADED")
    assert "has not enabled calls on the web for this account" in probe["detail"]
    assert await lab.page.evaluate("WPP.whatsapp.functions.isCallingEnabled()") is False
    await lab.page.evaluate("lab.gate = true, null")
    await lab.until_state("READY")


async def test_the_page_sees_an_ordinary_chrome(lab: Lab) -> None:
    seen = await lab.page.evaluate(
        "(async () => ({agent: navigator.userAgent, ...(await navigator.userAgentData.getHighEntropyValues("
        "['fullVersionList', 'platform', 'architecture', 'bitness', 'platformVersion', 'uaFullVersion']))}))()"
    )
    version = (await chrome_version(parse_browser_url(lab.browser.http_url), HttpSettings())).product.partition("/")[2]
    assert f" Chrome/{version.partition('.')[0]}." in seen["agent"]
    assert "Headless" not in json.dumps(seen)
    assert {"brand": "Chromium", "version": version} in seen["fullVersionList"]
    assert (seen["platform"], seen["uaFullVersion"]) == ("Linux", version)
