"""Redirections, forks, and what crosses each other on the way, with SIPp as the other side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.protocol.sip.digest import DigestClient
from gateway.sip import (
    Answered,
    CallEvent,
    Ended,
    Endpoint,
    EndpointSettings,
    Failed,
    IncomingInvite,
    OutgoingInvite,
    Ringing,
    SipCall,
    SipServer,
    SipStack,
)
from tests.support.sip_sipp import Sipp, start_sipp
from tests.support.sip_ua import ALICE, OFFER, quick_settings

pytestmark = pytest.mark.integration


@dataclass
class Ua:
    stack: SipStack
    folder: Path
    calls: asyncio.Queue[IncomingInvite] = field(default_factory=asyncio.Queue)

    async def towards(self, port: int | None) -> Endpoint:
        server = SipServer("127.0.0.1", port)
        settings = EndpointSettings(server=server, listen_port=0, listen_host="127.0.0.1")
        return await self.stack.add_endpoint(settings, self.calls.put_nowait)

    async def dial(self, scenario: str) -> tuple[Sipp, OutgoingInvite]:
        sipp = await start_sipp(self.folder, scenario)
        return sipp, (await self.towards(sipp.port)).invite(user="100", sdp=OFFER, caller=ALICE)


@pytest.fixture
async def ua(tmp_path: Path) -> AsyncIterator[Ua]:
    stack = SipStack(quick_settings())
    await stack.start()
    try:
        yield Ua(stack, tmp_path)
    finally:
        await stack.close()


async def event(call: SipCall) -> CallEvent:
    return await asyncio.wait_for(call.next_event(), 10)


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if ready():
                return
            await asyncio.sleep(0.01)


async def test_a_redirected_call_goes_on_by_the_same_server(ua: Ua) -> None:
    sipp, call = await ua.dial("uas_redirect")
    assert isinstance(await event(call), Answered)
    await call.bye()
    await sipp.wait()


async def test_the_second_of_two_phones_that_answer_is_hung_up(ua: Ua) -> None:
    sipp, call = await ua.dial("uas_forked")
    assert [type(await event(call)) for _ in range(3)] == [Ringing, Ringing, Answered]
    await until(lambda: ua.stack.agent.counts["responses"] == 5)  # two of each, and to the BYE of the second
    await call.bye()
    await sipp.wait()


async def test_an_answer_that_crosses_our_cancel_is_hung_up(ua: Ua) -> None:
    sipp, call = await ua.dial("uas_crossing")
    assert await event(call) == Ringing(180)
    await call.cancel()
    assert await event(call) == Failed(487, "Request Terminated")
    await sipp.wait()


async def test_glare_is_waited_out(ua: Ua) -> None:
    sipp, call = await ua.dial("uas_glare")
    assert isinstance(await event(call), Answered)
    assert "m=audio" in await asyncio.wait_for(call.reinvite(OFFER), 10)
    await call.bye()
    await sipp.wait()


async def test_one_call_that_comes_by_two_ways(ua: Ua) -> None:
    endpoint = await ua.towards(None)
    sipp = await start_sipp(ua.folder, "uac_merged", remote=endpoint.listener.port)
    incoming = await asyncio.wait_for(ua.calls.get(), 10)
    await until(lambda: ua.stack.agent.answers["INVITE", 482] == 1)
    incoming.reject(486)
    await sipp.wait()
    assert ua.calls.empty()


async def test_a_proxy_and_the_far_end_ask_for_the_password(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uas_two_challenges")
    endpoint = await ua.towards(sipp.port)
    endpoint._auth = DigestClient("gw", "geheim", ua.stack.token)  # SIPp is no registrar
    call = endpoint.invite(user="100", sdp=OFFER, caller=ALICE)
    assert isinstance(await event(call), Answered)
    await call.bye()
    await sipp.wait()
    assert await event(call) == Ended()
