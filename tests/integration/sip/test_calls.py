"""Our user agent against our user agent, over real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.domain.errors import Refused
from gateway.sip import Answered, CallEvent, Cancelled, Ended, Failed, Reason, ReInvite, Ringing, SipCall
from tests.support.sip_refer import replaces, send_refer
from tests.support.sip_ua import ALICE, ANSWER, OFFER, quick_settings, ua_pair

pytestmark = pytest.mark.integration


async def event(call: SipCall) -> CallEvent:
    return await asyncio.wait_for(call.next_event(), 5)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_call_answered_and_ended_by_caller(transport: str) -> None:
    async with ua_pair(transport) as pair:
        call, incoming = await pair.ring()
        assert incoming.request_user == "551188887777"
        assert (incoming.caller_user, incoming.caller_name) == (ALICE.user, ALICE.name)
        assert incoming.sdp == OFFER
        assert incoming.header("X-Ponte") == "1"
        assert incoming.sip_call_id == call.sip_call_id
        assert incoming.local_address == call.local_address == "127.0.0.1"
        incoming.ringing()
        assert await event(call) == Ringing(180)
        assert await incoming.answer(ANSWER) is None
        assert await event(call) == Answered(ANSWER)
        await call.bye(Reason("Q.850", 16, "Normal call clearing"))
        assert await event(incoming) == Ended(Reason("Q.850", 16, "Normal call clearing"))
        assert await event(call) == Ended()
        assert call.closed
        assert incoming.closed


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_call_ended_by_callee(transport: str) -> None:
    async with ua_pair(transport) as pair:
        call, incoming = await pair.up()
        await incoming.bye()
        assert await event(call) == Ended()


async def test_rejected_with_reason() -> None:
    async with ua_pair() as pair:
        call, incoming = await pair.ring()
        incoming.reject(486, reason=Reason("Q.850", 17, "Busy"), retry_after_s=30)
        assert await event(call) == Failed(486, "Busy Here", Reason("Q.850", 17, "Busy"))


@pytest.mark.parametrize("ringing", [True, False])
async def test_cancelled(ringing: bool) -> None:
    async with ua_pair() as pair:
        call, incoming = await pair.ring()
        if ringing:
            incoming.ringing()
            assert await event(call) == Ringing(180)
        reason = Reason("SIP", 200, "Call completed elsewhere")
        await call.cancel(reason)
        assert await event(call) == Failed(487, "Request Terminated")
        assert await event(incoming) == Cancelled(reason)
        with pytest.raises(Refused):
            await incoming.answer(ANSWER)


async def test_wrong_password_never_rings() -> None:
    async with ua_pair(password="falsch") as pair:
        call = pair.dial()
        assert await event(call) == Failed(401, "Unauthorized")
        assert pair.calls.empty()


async def test_reinvite_both_ways() -> None:
    async with ua_pair() as pair:
        call, incoming = await pair.up()
        changing = asyncio.create_task(call.reinvite(OFFER + "a=sendonly\r\n"))
        change = await event(incoming)
        assert change == ReInvite(OFFER + "a=sendonly\r\n", change.request_id)  # type: ignore[union-attr]
        assert isinstance(change, ReInvite)
        assert await incoming.answer_reinvite(change, ANSWER + "a=recvonly\r\n") is None
        assert await changing == ANSWER + "a=recvonly\r\n"
        changing = asyncio.create_task(incoming.reinvite(OFFER))
        change = await event(call)
        assert isinstance(change, ReInvite)
        call.refuse_reinvite(change, 488)
        with pytest.raises(Refused):
            await changing
        await incoming.bye()
        assert await event(call) == Ended()


async def test_update_both_ways() -> None:
    async with ua_pair() as pair:
        call, incoming = await pair.up()
        for one, other in ((call, incoming), (incoming, call)):
            changing = asyncio.create_task(one.update(OFFER + "a=sendonly\r\n"))
            change = await event(other)
            assert isinstance(change, ReInvite)
            assert change.sdp == OFFER + "a=sendonly\r\n"
            assert await other.answer_reinvite(change, ANSWER + "a=recvonly\r\n") is None
            assert await changing == ANSWER + "a=recvonly\r\n"
        await call.bye()


async def test_what_an_owner_is_too_slow_to_take_is_refused() -> None:
    async with ua_pair(settings=replace(quick_settings(), max_events=0)) as pair:
        call, incoming = await pair.up()
        told = send_refer(call, "<sip:2000@pbx.test>")
        async with asyncio.timeout(5):
            while told[-1:] != ["503 Service Unavailable"]:  # noqa: ASYNC110 (the other side has no event for it)
                await asyncio.sleep(0.01)
        named = pair.caller.invite(user="1", sdp=OFFER, caller=ALICE, headers=[("Replaces", replaces(call))])
        refused = await event(named)
        assert isinstance(refused, Failed)
        assert refused.status == 503
        assert incoming.events_dropped == 2


async def test_glare_is_waited_out() -> None:
    async with ua_pair() as pair:
        call, incoming = await pair.up()
        first, second = asyncio.create_task(call.reinvite(OFFER)), asyncio.create_task(incoming.reinvite(OFFER))

        async def accept(side: SipCall) -> None:
            change = await event(side)
            assert isinstance(change, ReInvite)
            await side.answer_reinvite(change, ANSWER)

        await asyncio.gather(accept(call), accept(incoming))
        assert [await first, await second] == [ANSWER, ANSWER]
