"""The driver takes calls of pages that write, tell and end them in other ways, in real Chromium with the real wa-js."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from gateway.browser.page import PageTarget
from tests.integration.wasm_server.habits_page import habits_page
from tests.integration.wasm_server.rig import attached
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

HABITS: Final = (
    "",
    "silent,late,skipped",
    "doubled,replaced,get_state,processed",
    "numbers,text_jids,getters,ending",
    "names,plain_jids,get,mute_direction,early",
    "active_only,undefined,number_ids,later",
    "list_only,object_ids,sync",
    "kept,one_id,replaced",
    "kept,silent,mute_direction",
    "stuck,ending,endless",
    "no_list,untyped,endless,lazy",
)
"""Each a page; what they are is in habits_page.js. Together each habit comes at least once."""

CALLER: Final = "49301112223"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[ChromiumProcess]:
    async with chromium() as process:
        yield process


class Watched:
    """A page and what its bundle told."""

    def __init__(self, page: PageTarget, events: list[dict[str, Any]]) -> None:
        self.page = page
        self.events = events

    async def until(self, what: str, seen: Any, timeout_s: float = 15) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := seen()):
            assert time.monotonic() < deadline, f"no {what}: {self.events}"
            await asyncio.sleep(0.02)
        return found

    def of(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        return [one for one in self.events if one["type"] == kind and fields.items() <= one.items()]

    async def ended(self, id_: str) -> None:
        await self.until("end", lambda: self.of("call.gone", id=id_))
        assert await self.page.call("calls") == []
        assert len(self.of("call.gone", id=id_)) == 1


async def test_calls_both_ways_whatever_the_habits(browser: ChromiumProcess) -> None:
    """All pages at once: what takes time is their start."""
    limit, opening = asyncio.Semaphore(4), asyncio.Lock()  # who finds another page being opened gives way

    async def one(habits: str) -> None:
        async with limit, contextlib.AsyncExitStack() as stack:
            url = await stack.enter_async_context(habits_page())  # a browser has one page of an origin
            async with opening:
                page, _, events = await stack.enter_async_context(attached(browser, f"{url}?habits={habits}"))
            try:
                await calls_both_ways(Watched(page, events), skipped="skipped" in habits)
            except BaseException as fault:
                fault.add_note(f"habits: {habits or 'plain'}")
                raise

    async with asyncio.TaskGroup() as group:
        for habits in HABITS:
            group.create_task(one(habits))


async def calls_both_ways(one: Watched, *, skipped: bool) -> None:
    """A call from outside, one to the outside, and one that nobody takes."""
    page, events = one.page, one.events
    await one.until("READY", lambda: one.of("page.state", state="READY"), 60)

    # Somebody calls and hangs up in the call.
    await page.evaluate(f"lab.ring('{CALLER}@c.us')")
    incoming = await one.until("call", lambda: one.of("call.incoming"))
    assert [(call["phone"], call["name"]) for call in incoming] == [(CALLER, "Ana")]
    id_ = incoming[0]["id"]
    await page.call("accept", id_, timeout_s=8)
    await one.until("connection", lambda: one.of("call.state", id=id_, state=6))
    assert not one.of("call.state", outgoing=True)
    assert await page.evaluate("lab.log") == [["accept", True, False]]
    assert [(call["id"], call["ours"]) for call in await page.call("calls")] == [(id_, True)]
    await page.evaluate("lab.leave()")
    await one.ended(id_)

    # The account calls, and ends the call.
    events.clear()
    placed = (await page.call("dial", "4930555", timeout_s=15))["id"]
    if not skipped:
        await one.until("ringing there", lambda: one.of("call.state", id=placed, state=2, outgoing=True))
    await page.evaluate("lab.answer()")
    await one.until("answer", lambda: one.of("call.state", id=placed, state=6, outgoing=True))
    assert not one.of("call.incoming")
    await page.call("end", placed, timeout_s=8)
    await one.ended(placed)

    # The line is free: somebody else calls, is known by a LID only, and gives up.
    events.clear()
    await page.evaluate("lab.ring('555666777@lid')")
    again = await one.until("call", lambda: one.of("call.incoming"))
    assert [call["phone"] for call in again] == [CALLER]
    await page.evaluate("lab.leave()")
    await one.ended(again[0]["id"])
    assert (await page.evaluate("lab.log"))[1:] == [["start", "4930555@c.us", False, 8, 5], ["end", 2, True]]
