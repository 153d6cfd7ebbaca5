"""Five accounts of one gateway: one's Chromium crashes, hangs or is slow, or one is removed, and the others go on."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from gateway.sip import Ended, Failed, OutgoingInvite, Ringing
from tests.integration.accounts.many import NUMBER, Account, Gateway, gateway, until
from tests.support.processes import caller_environment
from tests.support.sip_ua import ALICE, OFFER

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

GONE = {"DETACHED", "LOST"}
NAMES = ("steady", "busy", "slow", "hanging")


class Five:
    """Four accounts whose Chromiums run, and one that the tests start one for."""

    def __init__(self, gate: Gateway, accounts: dict[str, Account], crashing: Account) -> None:
        self.gate, self.accounts, self.crashing = gate, accounts, crashing

    def __getitem__(self, name: str) -> Account:
        return self.accounts[name]

    @property
    def four(self) -> list[Account]:
        return list(self.accounts.values())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def five(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Five]:
    async with gateway(tmp_path_factory.mktemp("five")) as gate, AsyncExitStack() as stack:
        accounts = {name: await gate.add(name) for name in NAMES}
        crashing = await gate.add("crashing")
        for one in accounts.values():
            await stack.enter_async_context(one.chromium())
        yield Five(gate, accounts, crashing)


async def all_can_call(accounts: list[Account]) -> None:
    for one in accounts:
        await until(one.can_call)


async def test_one_that_crashes_in_a_loop(five: Five) -> None:
    crashing, four = five.crashing, five.four
    crashes = 0
    enough = asyncio.Event()

    async def attached() -> bool:
        return await crashing.page() not in GONE

    async def lost() -> bool:
        return not await attached()

    async def crash_in_a_loop() -> None:
        nonlocal crashes
        while not enough.is_set():
            async with crashing.chromium() as browser:
                await until(attached)
                browser.kill()
                await until(lost)
            crashes += 1

    async def two_more() -> bool:
        return crashes >= before + 2

    async with asyncio.TaskGroup() as group:
        group.create_task(crash_in_a_loop())
        await all_can_call(four)
        before = crashes
        told = [await one.page_events() for one in four]
        await asyncio.gather(*(one.call() for one in four))
        await until(two_more)
        await all_can_call(four)
        await asyncio.gather(*(one.call() for one in four))
        enough.set()
    # nothing befell the others' pages, and none was told of anything
    assert [await one.page_events() for one in four] == told
    # the one that crashed works again as soon as its Chromium stays
    async with crashing.chromium():
        await until(crashing.can_call)
        await crashing.call()


async def test_one_that_hangs_and_one_that_is_slow(five: Five) -> None:
    hanging, slow = five["hanging"], five["slow"]
    others = [five["steady"], five["busy"]]
    await all_can_call(five.four)
    told = [await one.page_events() for one in [*others, slow]]

    async def let_go() -> bool:
        return await hanging.page() in GONE

    slow.way.delay_s = 0.3
    try:
        with hanging.hanging():
            began = time.monotonic()
            stuck = hanging.phone.invite(user=NUMBER, sdp=OFFER, caller=ALICE, headers=())
            await asyncio.gather(*(one.call() for one in others))
            took_s = time.monotonic() - began
            await slow.call()
            # who calls the one that hangs is told so, and not left waiting
            async with asyncio.timeout(40):
                while isinstance(event := await stuck.next_event(), Ringing):
                    pass
            assert isinstance(event, Failed), event
            assert event.status in {480, 503}
            await until(let_go)
            await all_can_call(others)
            assert [await one.page_events() for one in [*others, slow]] == told
        assert took_s < 10, "the others' calls waited for the one that hangs"
    finally:
        slow.way.delay_s = 0.0
    await until(hanging.can_call)
    # what the page was asked before it hung may be done when it goes on; that call is nobody's, and does not stay
    await hanging.stand_in.wait_for(lambda state: state["call"] is None)
    await until(hanging.can_call)
    await hanging.call()


async def removed_by_the_api(five: Five, name: str) -> None:
    refused = await five.gate.admin.delete(f"/accounts/{name}")
    assert (refused.status_code, refused.json()["code"]) == (409, "call_in_progress")
    answer = await five.gate.admin.delete(f"/accounts/{name}?force=true")
    assert answer.status_code == 204, answer.text


async def removed_by_the_command_line(five: Five, name: str) -> None:
    settings = five.gate.settings
    env = {**caller_environment(), "PONTE_STATE_DIR": str(settings.state_dir)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli", "accounts", "remove", name, "--force", env=env,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await asyncio.wait_for(process.wait(), 60) == 0


@pytest.mark.parametrize("way", [removed_by_the_api, removed_by_the_command_line])
async def test_one_that_is_removed_by_force_while_it_is_in_a_call(five: Five, way: object) -> None:
    one, busy = five["slow" if way is removed_by_the_api else "steady"], five["busy"]
    for account in (one, busy):
        await until(account.can_call)
    told = await busy.page_events()
    other: OutgoingInvite = await busy.begin()
    call = await one.begin()
    before = (await one.stand_in.state())["call"]
    assert before["state"] == "active"
    await way(five, one.name)  # type: ignore[operator]
    # the phone gets a BYE with the reason, and WhatsApp's call is ended by the page
    async with asyncio.timeout(20):
        ended = await call.next_event()
    assert isinstance(ended, Ended), ended
    assert ended.reason is not None
    assert (ended.reason.protocol, ended.reason.cause) == ("Q.850", 41)
    state = await one.stand_in.wait_for(lambda state: state["call"] is None)
    assert (state["ended_calls"][-1]["id"], state["ended_calls"][-1]["ended_by"]) == (before["id"], "page")
    # its key and its listener are gone
    gone = await five.gate.admin.get("/call/bridge/status", headers={"Authorization": f"Bearer {one.key}"})
    assert gone.status_code == 401
    # the other's call went on meanwhile, and is ended by its phone
    assert (await busy.stand_in.state())["call"]["state"] == "active"
    assert await busy.page_events() == told
    await other.bye()
    state = await busy.stand_in.wait_for(lambda state: state["call"] is None)
    assert state["ended_calls"][-1]["ended_by"] == "page"
    await until(busy.can_call)
