"""Calls over real sockets through a relay that loses 30 % and reorders."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.protocol.sip.timers import Timers
from gateway.sip import Answered, Cancelled, Ended, Failed, IncomingInvite, OutgoingInvite, SipCall, SipServer
from tests.support.ports import LOOPBACK
from tests.support.sip_relay import lossy_relay
from tests.support.sip_ua import ALICE, ANSWER, OFFER, Pair, quick_settings, ua_pair

pytestmark = pytest.mark.integration

SEED = 30
SETTINGS = replace(quick_settings(timers=Timers(0.2, 1.6, 2.0)), settle_s=0.1)  # 64*T1: 13 s


async def last_event(call: SipCall) -> object:
    while not isinstance(event := await call.next_event(), Ended | Failed | Cancelled):
        pass
    return event


async def pick_up(pair: Pair, count: int) -> None:
    async def one(incoming: IncomingInvite) -> None:
        incoming.ringing()
        if not incoming.header("X-Ring"):
            await incoming.answer(ANSWER)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one(await pair.calls.get()))


@pytest.mark.timeout(150)
async def test_calls_complete_end_and_are_given_up() -> None:
    async with (
        ua_pair(settings=SETTINGS) as pair,
        lossy_relay((LOOPBACK, pair.callee.listener.port), SEED) as relay,
        asyncio.timeout(120),
    ):
        pair.caller.settings = replace(pair.caller.settings, server=SipServer(*relay.address("caller")))
        pair.caller._targets = [replace(pair.caller._targets[0], port=relay.address("caller")[1])]
        first, _ = await pair.up()  # from now on the callee knows who calls: it repeats its challenges
        relay.loss = 0.3
        taking = asyncio.create_task(pick_up(pair, 9))
        answered = [pair.dial() for _ in range(6)]
        given_up = [pair.caller.invite(user="1", sdp=OFFER, caller=ALICE, headers=[("X-Ring", "1")]) for _ in range(3)]
        for call in answered:
            while not isinstance(event := await call.next_event(), Answered):
                assert not isinstance(event, Failed | Ended), f"seed {SEED}"
        await taking
        await asyncio.gather(*(call.cancel() for call in given_up))
        await asyncio.gather(*(call.bye() for call in [first, *answered]))
        ends = [await last_event(call) for call in [first, *answered, *given_up]]
        assert ends[:7] == [Ended()] * 7, f"seed {SEED}"
        assert [type(end) for end in ends[7:]] == [Failed] * 3
        assert relay.lost > 10
        assert 0.15 < relay.lost / (relay.lost + relay.carried) < 0.45
        assert all(call.closed for call in [first, *answered, *given_up] if isinstance(call, OutgoingInvite))
