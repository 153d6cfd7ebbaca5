"""Our user agent against SIPp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.protocol.sip.dialog_info import DialogView
from gateway.protocol.sip.diversion import Diverted
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.outbound import Granted, Instance
from gateway.sip import (
    Answered,
    CallEvent,
    Cancelled,
    Ended,
    Endpoint,
    EndpointSettings,
    Failed,
    IncomingInvite,
    Reason,
    Refer,
    RegistrationState,
    ReInvite,
    Ringing,
    SipCall,
    SipServer,
    SipStack,
)
from tests.support.sip_sipp import start_sipp
from tests.support.sip_ua import ALICE, ANSWER, OFFER, quick_settings
from tests.support.sip_watcher import until_watched

pytestmark = pytest.mark.integration


@dataclass
class Ua:
    stack: SipStack
    endpoint: Endpoint
    folder: Path
    calls: asyncio.Queue[IncomingInvite] = field(default_factory=asyncio.Queue)

    @property
    def port(self) -> int:
        return self.endpoint.listener.port

    async def call(self) -> IncomingInvite:
        return await asyncio.wait_for(self.calls.get(), 10)

    async def towards(
        self, port: int, transport: str = "udp", user: str = "", instance: Instance | None = None
    ) -> Endpoint:
        return await self.stack.add_endpoint(
            EndpointSettings(
                server=SipServer("127.0.0.1", port, transport), user=user, password="geheim", listen_port=0,
                listen_host="127.0.0.1", instance=instance or Instance(),
            ),
            self.calls.put_nowait,
        )  # fmt: skip


@pytest.fixture
async def ua(tmp_path: Path) -> AsyncIterator[Ua]:
    stack = SipStack(quick_settings())
    await stack.start()
    calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
    try:
        endpoint = await stack.add_endpoint(
            EndpointSettings(listen_port=0, listen_host="127.0.0.1", listen_user="pbx", listen_secret="geheim"),
            calls.put_nowait,
        )
        yield Ua(stack, endpoint, tmp_path, calls)
    finally:
        await stack.close()


async def event(call: SipCall) -> CallEvent:
    return await asyncio.wait_for(call.next_event(), 10)


@pytest.mark.parametrize("tcp", [False, True])
async def test_called_with_digest(ua: Ua, tcp: bool) -> None:
    sipp = await start_sipp(ua.folder, "uac_digest", remote=ua.port, tcp=tcp)
    incoming = await ua.call()
    assert (incoming.request_user, incoming.caller_user, incoming.caller_name) == ("551188887777", "1000", "Sipp")
    incoming.ringing()
    await incoming.answer(ANSWER)
    assert isinstance(await event(incoming), Ended)
    await sipp.wait()


async def test_fifty_calls_at_once(ua: Ua) -> None:
    def answer(call: IncomingInvite) -> None:
        answering.append(asyncio.get_running_loop().create_task(call.answer(ANSWER)))

    answering: list[asyncio.Task[str | None]] = []
    ua.endpoint.on_invite = answer
    sipp = await start_sipp(ua.folder, "uac_digest", remote=ua.port, calls=50, rate=50)
    await sipp.wait()
    assert len(answering) == 50
    await asyncio.gather(*answering)


async def test_wrong_password(ua: Ua) -> None:
    await (await start_sipp(ua.folder, "uac_wrong_password", remote=ua.port)).wait()
    assert ua.calls.empty()
    assert ua.stack.agent.counts["auth_wrong"] == 1


async def test_caller_cancels(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uac_cancel", remote=ua.port)
    incoming = await ua.call()
    incoming.ringing()
    assert await event(incoming) == Cancelled(Reason("SIP", 200, "Call completed elsewhere"))
    await sipp.wait()


async def test_late_offer_then_reinvite(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uac_late_offer", remote=ua.port)
    incoming = await ua.call()
    assert incoming.sdp is None
    answer = await incoming.answer(OFFER)
    assert answer is not None
    assert "m=audio" in answer
    change = await event(incoming)
    assert isinstance(change, ReInvite)
    assert change.sdp is not None
    await incoming.answer_reinvite(change, ANSWER)
    await incoming.bye()
    await sipp.wait()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_calls_and_hangs_up(ua: Ua, transport: str) -> None:
    sipp = await start_sipp(ua.folder, "uas_answer", tcp=transport == "tcp")
    endpoint = await ua.towards(sipp.port, transport)
    call = endpoint.invite(user="100", sdp=OFFER, caller=ALICE)
    assert await event(call) == Ringing(180)
    assert isinstance(await event(call), Answered)
    await call.bye()
    await sipp.wait()


async def test_calls_a_busy_phone(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uas_busy")
    call = (await ua.towards(sipp.port)).invite(user="100", sdp=OFFER, caller=ALICE)
    assert await event(call) == Failed(486, "Busy Here", Reason("Q.850", 17, "User busy"))
    await sipp.wait()


async def test_gives_a_call_up(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uas_cancelled")
    call = (await ua.towards(sipp.port)).invite(user="100", sdp=OFFER, caller=ALICE)
    assert await event(call) == Ringing(180)
    await call.cancel()
    assert await event(call) == Failed(487, "Request Terminated")
    await sipp.wait()


async def test_registers(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "registrar")
    endpoint = await ua.towards(sipp.port, user="gw")
    changed = asyncio.Event()
    endpoint.on_status = changed.set
    async with asyncio.timeout(10):
        while endpoint.registration.state is not RegistrationState.REGISTERED:
            changed.clear()
            await changed.wait()
    assert endpoint.registration.expires_s == 300
    await sipp.wait()


async def test_registers_a_flow_and_keeps_it(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "registrar_outbound", tcp=True)
    instance = Instance("urn:uuid:7e6a4d2c-0000-5000-8000-000000000001")
    endpoint = await ua.towards(sipp.port, "tcp", user="gw", instance=instance)
    changed = asyncio.Event()
    endpoint.on_status = changed.set
    async with asyncio.timeout(10):
        while endpoint.registration.state is not RegistrationState.REGISTERED:
            changed.clear()
            await changed.wait()
    assert endpoint._binding == Granted("", ("<sip:orig@home.pbx.test;lr>",), True, 20)
    assert endpoint.port is not None
    assert [one._keep_alive_s for one in endpoint.port._live] == [16.0]  # 0.8 of what the registrar allows
    await sipp.wait()


async def test_a_phone_that_lost_the_call_is_noticed_by_the_session_timer(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uas_session_timer")
    stack = SipStack(quick_settings(limits=CoreLimits(session_expires_s=2, min_se_s=2)))
    await stack.start()
    try:
        settings = EndpointSettings(
            server=SipServer("127.0.0.1", sipp.port, "udp"), listen_port=0, listen_host="127.0.0.1"
        )
        endpoint = await stack.add_endpoint(settings, ua.calls.put_nowait)
        call = endpoint.invite(user="100", sdp=OFFER, caller=ALICE)
        assert isinstance(await event(call), Answered)
        assert await event(call) == Ended(Reason("SIP", 481, "The peer lost the call"))
        await sipp.wait()
    finally:
        await stack.close()


async def test_reliable_ringing_is_acknowledged(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uas_prack")
    call = (await ua.towards(sipp.port)).invite(user="100", sdp=OFFER, caller=ALICE)
    early = await event(call)
    assert isinstance(early, Ringing)
    assert early.status == 183
    assert early.sdp is not None
    assert await event(call) == Ringing(180)
    assert await event(call) == Answered(early.sdp)
    await call.bye()
    await sipp.wait()


async def test_called_with_prack_and_updated(ua: Ua) -> None:
    endpoint = await ua.towards(5060)  # lets its address call without a password
    sipp = await start_sipp(ua.folder, "uac_prack_update", remote=endpoint.listener.port)
    incoming = await ua.call()
    incoming.ringing()
    await asyncio.sleep(0.2)
    await incoming.answer(ANSWER)
    change = await event(incoming)
    assert isinstance(change, ReInvite)
    assert change.sdp is not None
    await incoming.answer_reinvite(change, ANSWER)
    assert isinstance(await event(incoming), Ended)
    await sipp.wait()


async def test_an_unknown_extension_is_refused_by_name(ua: Ua) -> None:
    endpoint = await ua.towards(5060)
    await (await start_sipp(ua.folder, "uac_required_unknown", remote=endpoint.listener.port)).wait()
    assert ua.calls.empty()


async def test_transfer_is_reported(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uas_refer")
    call = (await ua.towards(sipp.port)).invite(user="100", sdp=OFFER, caller=ALICE)
    assert isinstance(await event(call), Answered)
    refer = await event(call)
    assert isinstance(refer, Refer)
    assert (refer.uri, refer.replaces, refer.referred_by) == ("sip:200@pbx.test", "", "<sip:100@pbx.test>")
    call.refer_progress(refer, 180)
    await asyncio.sleep(0.2)  # else the last word would make the one before it needless
    call.refer_progress(refer, 200)
    assert isinstance(await event(call), Ended)
    await sipp.wait()


async def test_a_lamp_is_lit_and_goes_out(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uac_subscribe", remote=ua.port)
    for state in ("early", "confirmed", "terminated"):
        await until_watched(ua.stack)  # of states that come faster only the newest is told
        ua.endpoint.show_dialogs((DialogView("c1", state, "recipient"),))
    await sipp.wait()
    assert ua.stack.agent.watchers == 0


async def test_a_watcher_is_told_what_there_is_and_forgotten_when_it_is_gone(ua: Ua) -> None:
    endpoint = await ua.towards(5060)  # lets its address in without a password
    await (await start_sipp(ua.folder, "uac_subscribe_bad", remote=endpoint.listener.port)).wait()
    assert ua.stack.agent.watchers == 0


async def test_a_caller_who_wants_privacy_is_not_known_but_where_the_call_comes_from_is(ua: Ua) -> None:
    sipp = await start_sipp(ua.folder, "uac_diverted", remote=ua.port, words={"STATUS": "486", "CAUSE": "17"})
    incoming = await ua.call()
    assert (incoming.caller_user, incoming.caller_name) == ("", "")
    assert incoming.diverted == (Diverted("6001", "user-busy"),)
    incoming.reject(486, reason=Reason("Q.850", 17, "Busy"))
    await sipp.wait()
