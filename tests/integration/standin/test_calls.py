"""The two call flows as the unmodified wa-js sees them, and the ways in which they fail."""

from __future__ import annotations

import pytest

from tests.integration.standin.page import FAKE_DEVICES, WATCH, Page, PageError, open_tab
from tests.standin.lines import lid_of
from tests.standin.server import StandIn
from tests.support.chromium import ChromiumProcess

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="package")]

LISTEN = """
globalThis.incoming ??= (WPP.on('call.incoming_call', (call) => incoming.push(call.id)), []);
incoming.length = 0;
"""
# What WhatsApp's model keeps of a call that has ended.
RESULT = "[lastCall.callLogResult, lastCall.getState(), importDefault('WAWebCallCollection').activeCall]"
CANCELED, MISSED, UNAVAILABLE, REJECTED, CONNECTED, ELSEWHERE, FAILED = range(1, 8)


async def rung(page: Page, stand_in: StandIn, phone: str, **fields: object) -> str:
    call_id = await stand_in.ring(f"+{phone}", **fields)
    await page.wait_for("told.includes(3)")
    return call_id


async def accepted(page: Page, stand_in: StandIn, phone: str) -> str:
    call_id = await rung(page, stand_in, phone)
    assert await page.evaluate("WPP.call.accept()") is True
    await stand_in.wait_for(lambda state: state["call"] is not None and state["call"]["state"] == "active")
    return call_id


async def dialled(page: Page, stand_in: StandIn, phone: str) -> None:
    assert await page.evaluate(f"WPP.call.offer('{phone}@c.us').then((call) => call === undefined)"), "facts.md says so"
    await stand_in.wait_for(lambda state: state["call"] is not None)


async def reloaded(page: Page, stand_in: StandIn) -> None:
    seen = (await stand_in.state())["page"]["seen"]
    await page.send("Page.reload")
    await stand_in.wait_for(lambda state: state["page"]["seen"] > seen and state["page"]["stack_ready"])
    await page.wait_for("WPP.isFullReady")
    await page.evaluate(WATCH)


async def told(page: Page, *wanted: object) -> None:
    await page.wait_for(f"told.length >= {len(wanted)}")
    assert await page.evaluate("told") == list(wanted)


async def test_incoming_call_whose_state_comes_late_is_lost_to_wajs(page: Page, stand_in: StandIn, phone: str) -> None:
    await page.evaluate(LISTEN)
    await rung(page, stand_in, phone, name="Anna")
    await told(page, "active 0", 3)
    assert await page.evaluate("incoming") == []


async def test_incoming_call_event(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", late_state_ms=0)
    await page.evaluate(LISTEN)
    call_id = await rung(page, stand_in, phone, name="Anna")
    await told(page, "active null", 3)
    assert await page.wait_for("incoming.length && incoming") == [call_id]
    assert await page.evaluate("[lastCall.id, lastCall.peerJid.toString(), lastCall.outgoing, lastCall.state]") == [
        call_id, f"{phone}@c.us", False, None
    ]  # fmt: skip
    name = "WPP.whatsapp.ContactStore.get(lastCall.peerJid).pushname"
    assert await page.evaluate(name) == "Anna"


async def test_caller_behind_a_lid(page: Page, stand_in: StandIn, phone: str) -> None:
    await rung(page, stand_in, phone, lid=True)
    assert await page.evaluate("lastCall.peerJid.toString()") == f"{lid_of(phone)}@lid"
    assert await page.evaluate("WPP.whatsapp.ApiContact.getPhoneNumber(lastCall.peerJid).toString()") == f"{phone}@c.us"
    assert await page.evaluate("WPP.whatsapp.lidPnCache.getPhoneNumber(lastCall.peerJid).user") == phone


async def test_accept_and_the_far_end_hangs_up(page: Page, stand_in: StandIn, phone: str) -> None:
    await accepted(page, stand_in, phone)
    state = await stand_in.state()
    assert state["get_user_media_calls"] >= 3
    assert state["ring_tone"]["playing"] is False
    await stand_in.post("/hangup")
    await told(page, "active 0", 3, 4, 6, 13, "none")
    assert await page.evaluate(RESULT) == [CONNECTED, 13, None]


async def test_accept_and_the_page_ends(page: Page, stand_in: StandIn, phone: str) -> None:
    await accepted(page, stand_in, phone)
    await page.evaluate("WPP.call.end()")
    state = await stand_in.wait_for(lambda state: state["call"] is None)
    assert (state["ended_calls"][-1]["ended_by"], state["ended_calls"][-1]["reason"]) == ("page", "2")
    assert await page.evaluate("players.at(-1).node.context.state") == "closed"


async def test_reject(page: Page, stand_in: StandIn, phone: str) -> None:
    await rung(page, stand_in, phone)
    await page.evaluate("WPP.call.reject()")
    state = await stand_in.wait_for(lambda state: state["call"] is None)
    assert (state["ended_calls"][-1]["ended_by"], state["ended_calls"][-1]["reason"]) == ("page", "declined")
    await told(page, "active 0", 3, 13, "none")
    assert await page.evaluate(RESULT) == [REJECTED, 13, None]
    await stand_in.wait_for(lambda state: not state["ring_tone"]["playing"])


async def test_result_may_come_after_the_end(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", late_result_ms=300)
    await page.evaluate("importDefault('WAWebCallCollection').on('change:activeCall', (call) => call ?? early())")
    await page.evaluate("globalThis.early = () => (globalThis.atEnd = lastCall.callLogResult)")
    await rung(page, stand_in, phone)
    await stand_in.post("/hangup")
    await page.wait_for("lastCall.callLogResult === 2")
    assert await page.evaluate("atEnd") is None


@pytest.mark.parametrize("sticks", [True, False])
async def test_ring_tone_after_the_caller_gave_up(page: Page, stand_in: StandIn, sticks: bool, phone: str) -> None:
    await stand_in.post("/settings", ring_tone_sticks=sticks)
    await rung(page, stand_in, phone)
    await stand_in.wait_for(lambda state: state["ring_tone"]["playing"])
    await stand_in.post("/hangup")
    await told(page, "active 0", 3, 13, "none")
    assert await page.evaluate(RESULT) == [MISSED, 13, None]
    state = await stand_in.wait_for(lambda state: state["page"]["call"] is None)
    assert state["ring_tone"]["playing"] is sticks


async def test_ringing_has_an_end(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", ring_timeout_s=0.5)
    await rung(page, stand_in, phone)
    state = await stand_in.wait_for(lambda state: state["call"] is None)
    assert state["ended_calls"][-1]["reason"] == "timeout"


async def test_answered_on_another_device(page: Page, stand_in: StandIn, phone: str) -> None:
    await rung(page, stand_in, phone)
    await stand_in.post("/elsewhere")
    await told(page, "active 0", 3, 7, 13, "none")
    assert await page.evaluate(RESULT) == [ELSEWHERE, 13, None]
    assert (await stand_in.wait_for(lambda state: not state["ring_tone"]["playing"]))["call"] is None


async def test_another_device_was_faster(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", answered_elsewhere=True)
    await rung(page, stand_in, phone)
    await page.evaluate("WPP.call.accept()")
    await told(page, "active 0", 3, 4, 7, 13, "none")
    assert await page.evaluate(RESULT) == [ELSEWHERE, 13, None]


async def test_without_a_microphone_the_call_fails_at_once(
    stand_in: StandIn, browser: ChromiumProcess, wajs: str, phone: str
) -> None:
    async with open_tab(browser.http_url, stand_in.url, wajs) as tab:
        await stand_in.wait_for(lambda state: state["page"]["stack_ready"])
        await tab.wait_for("WPP.isFullReady")
        await tab.evaluate(WATCH)
        asked = (await stand_in.state())["get_user_media_calls"]
        await rung(tab, stand_in, phone)
        with pytest.raises(PageError, match="NotFoundError: no microphone"):
            await tab.evaluate("WPP.call.accept()")
        state = await stand_in.wait_for(lambda state: state["call"] is None)
        assert state["ended_calls"][-1]["reason"] == "NotFoundError: no microphone"
        assert state["get_user_media_calls"] == asked
        await told(tab, "active 0", 3, 4, 13, "none")
        assert await tab.evaluate(RESULT) == [FAILED, 13, None]


async def test_without_a_gesture_accepting_hangs(
    stand_in: StandIn, browser: ChromiumProcess, wajs: str, phone: str
) -> None:
    async with open_tab(browser.http_url, stand_in.url, FAKE_DEVICES, wajs) as tab:
        await stand_in.wait_for(lambda state: state["page"]["stack_ready"])
        await tab.wait_for("WPP.isFullReady", gesture=False)
        await tab.evaluate(WATCH, gesture=False)
        await stand_in.ring(phone)
        await tab.wait_for("told.includes(3)", gesture=False)
        assert (await stand_in.wait_for(lambda state: state["ring_tone"]["blocked"]))["ring_tone"]["playing"] is False
        await tab.evaluate("globalThis.done = 0; WPP.call.accept().finally(() => (done = 1)); null", gesture=False)
        suspended = ["suspended", "suspended"]
        state = await stand_in.wait_for(lambda state: (state["page"]["call"] or {}).get("contexts") == suspended)
        assert state["call"]["state"] == "ringing"
        assert await tab.evaluate("[done, told]", gesture=False) == [0, ["active 0", 3, 4]]


@pytest.mark.parametrize("lid", [False, True])
async def test_outgoing_call_is_answered(page: Page, stand_in: StandIn, lid: bool, phone: str) -> None:
    await stand_in.post("/settings", late_state_ms=0, lid=lid)
    await dialled(page, stand_in, phone)
    state = await stand_in.wait_for(lambda state: state["call"]["state"] == "ringing")
    assert (state["call"]["phone"], state["call"]["direction"]) == (phone, "outgoing")
    peer = f"{lid_of(phone)}@lid" if lid else f"{phone}@c.us"
    assert await page.evaluate("[lastCall.outgoing, lastCall.peerJid.toString()]") == [True, peer]
    await stand_in.post("/answer")
    await stand_in.wait_for(lambda state: state["call"]["state"] == "active")
    await told(page, "active null", 1, 2, 5, 6)
    await page.evaluate("WPP.call.end()")
    await stand_in.wait_for(lambda state: state["call"] is None)
    assert await page.evaluate(RESULT) == [CONNECTED, 13, None]


async def test_outgoing_call_answers_itself(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", auto_answer_ms=50)
    await dialled(page, stand_in, phone)
    await stand_in.wait_for(lambda state: state["call"] is not None and state["call"]["state"] == "active")


@pytest.mark.parametrize(
    ("reason", "states", "result"),
    [
        ("declined", [1, 2, 13], REJECTED),
        ("busy", [1, 2, "busy 2", "busy 13"], REJECTED),
        ("timeout", [1, 2, 13], UNAVAILABLE),
        ("blocked", [1, 2, 13], REJECTED),
    ],
)
async def test_outgoing_call_is_refused(
    page: Page, stand_in: StandIn, reason: str, states: list[object], result: int, phone: str
) -> None:
    await stand_in.post("/settings", late_state_ms=0)
    await dialled(page, stand_in, phone)
    await stand_in.wait_for(lambda state: state["call"]["state"] == "ringing")
    await stand_in.post("/reject", reason=reason)
    await told(page, "active null", *states, "none")
    assert await page.evaluate(RESULT) == [result, 13, None]


async def test_unreachable_phone_never_rings(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", late_state_ms=0, unreachable=[phone], dial_timeout_s=1)
    await dialled(page, stand_in, phone)
    await told(page, "active null", 1, 13, "none")
    assert await page.evaluate(RESULT) == [UNAVAILABLE, 13, None]


async def test_number_that_is_not_on_whatsapp(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", not_on_whatsapp=[f"+{phone}"])
    code = await page.evaluate(f"WPP.call.offer('{phone}@c.us').catch((error) => error.code)")
    assert code == "contact_not_found"


async def test_account_without_calling(page: Page, stand_in: StandIn, phone: str) -> None:
    await stand_in.post("/settings", calling_enabled=False)
    await reloaded(page, stand_in)  # earlier calls by wa-js have forced the page's own gates open
    gate = "importNamespace('WAWebVoipGatingUtils').isCallingEnabled()"
    await page.wait_for(f"!{gate}")
    await stand_in.ring(phone)
    # wa-js forces the page's gate open; the server still does not let the account call.
    await stand_in.post("/hangup")
    await page.evaluate(f"WPP.call.offer('{phone}@c.us')")
    await page.wait_for("told.at(-1) === 'none'")
    assert await page.evaluate("[lastCall.outgoing, lastCall.callLogResult, lastCall.callFailedReason]") == [
        True, FAILED, "refused by the server"
    ]  # fmt: skip
    assert (await stand_in.state())["call"] is None


async def test_one_call_at_a_time(page: Page, stand_in: StandIn, phone: str) -> None:
    await rung(page, stand_in, phone)
    second = await stand_in.request("POST", "/ring", json={"from": "4930123456"})
    assert (second.status_code, second.json()["error"]) == (409, "The account is in a call; there is one at a time.")


async def test_reload_ends_the_call_and_the_page_comes_back(page: Page, stand_in: StandIn, phone: str) -> None:
    await accepted(page, stand_in, phone)
    reports = len((await stand_in.state())["csp_reports"])
    await reloaded(page, stand_in)
    state = await stand_in.state()
    assert (state["call"], state["ended_calls"][-1]["ended_by"]) == (None, "page_gone")
    await accepted(page, stand_in, phone)
    assert len((await stand_in.state())["csp_reports"]) == reports
