"""What people do to a call, against a real SIP user agent: end it, silence it, key into it, move it, ask for one."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from gateway.bridge.control import HANGUP_UNANSWERED, REJECTED, TransferState, WrongState
from gateway.bridge.flows import click_to_call
from gateway.domain import termination as t
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.domain.states import CallState, Direction
from gateway.sip import Cancelled, Ended, Failed
from tests.integration.bridge.rig import bridge_rig, phone_sdp, udp_socket
from tests.integration.bridge.test_flows import media_port, next_of, rtp, until
from tests.integration.bridge.test_transfer import talking

pytestmark = pytest.mark.integration

SPEECH, SILENCE = b"\x12" * 160, b"\xff" * 160


async def test_a_call_that_is_up_is_hung_up() -> None:
    async with talking() as talk:
        talk.call.control.hangup()
        with pytest.raises(WrongState) as caught:
            talk.call.control.hangup()  # told a moment ago
        assert caught.value.state is CallState.ENDING
        assert await talk.task == t.HANGUP
        assert isinstance(await next_of(talk.phone, Ended), Ended)
        for wrong in (talk.call.control.hangup, talk.call.control.reject):
            with pytest.raises(WrongState, match="ENDED"):
                wrong()
    assert talk.whatsapp.told == ["accept", "hangup"]


@pytest.mark.parametrize(("action", "ending"), [("hangup", HANGUP_UNANSWERED), ("reject", REJECTED)])
async def test_a_whatsapp_call_that_rings_is_declined(action: str, ending: t.Termination) -> None:
    async with bridge_rig() as rig:
        whatsapp, task, call = rig.whatsapp_rings()
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        phone.ringing()
        await until(lambda: call.state is CallState.RINGING)
        for not_now in (lambda: call.control.hold(True), lambda: call.control.dtmf("1", 100)):
            with pytest.raises(WrongState, match="RINGING"):
                not_now()
        getattr(call.control, action)()
        assert await task == ending
        await next_of(phone, Cancelled)
    assert whatsapp.told == ["reject"]


@pytest.mark.parametrize(("action", "status"), [("hangup", 487), ("reject", 603)])
async def test_a_phones_call_that_rings_is_declined(action: str, status: int) -> None:
    async with bridge_rig() as rig:
        phone, task, call = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageRinging())
        await until(lambda: call.state is CallState.RINGING)
        getattr(call.control, action)()
        failed = await next_of(phone, Failed)
        assert failed.status == status
        await task
    assert rig.page.call.told == ["hangup"]


async def test_a_call_is_declined_before_its_flow_began() -> None:
    async with bridge_rig() as rig:
        call = rig.call(Direction.SIP_TO_WHATSAPP)
        call.control.hangup()
        flow = click_to_call(call, "1000", rig.page, "5511987654321", rig.sip.caller)
        try:
            assert await rig.run(call, lambda _: flow) == HANGUP_UNANSWERED
        finally:
            flow.close()
        assert rig.sip.calls.empty()


async def test_hold_and_mute_are_silence_and_end_again() -> None:
    async with talking() as talk:
        control, port, ear = talk.call.control, talk.rig.port, talk.ears[0]
        loop, numbers = asyncio.get_running_loop(), iter(range(1, 1000))
        router = ("127.0.0.1", media_port(talk.phone.sdp or ""))

        async def heard() -> tuple[bool, bool]:
            """Whether the phone hears WhatsApp, and WhatsApp the phone; each gets a packet in any case."""
            sequence = next(numbers)
            port.sent.clear()
            ear.sendto(rtp(sequence, SPEECH), router)
            await until(lambda: bool(port.sent))
            assert port.receiver is not None
            port.receiver(rtp(sequence, SPEECH, ssrc=9), loop.time())
            packet = await asyncio.wait_for(loop.sock_recv(ear, 2048), 5)
            for payload in (packet[12:], port.sent[-1][12:]):
                assert payload in {SPEECH, SILENCE}
            return packet[12:] == SPEECH, port.sent[-1][12:] == SPEECH

        assert await heard() == (True, True)
        control.mute(True)
        assert await heard() == (True, False)
        control.hold(True)
        assert await heard() == (False, False)
        control.mute(False)
        assert await heard() == (False, False)
        control.mute(True)
        control.hold(False)
        assert await heard() == (True, False)
        control.mute(False)
        assert await heard() == (True, True)


async def test_keys_are_played_to_whatsapp_beside_those_of_the_phone() -> None:
    async with talking() as talk:
        assert talk.call.control.dtmf("1#", 60) == 2
        await until(lambda: talk.rig.page.keys == [("1", 60), ("#", 60)])
        assert talk.call.control.dtmf("5" * 64, 50) <= 64
        assert talk.call.control.dtmf("5" * 64, 50) == 0  # no room behind those that wait


async def test_a_transfer_that_the_api_asks_for() -> None:
    async with talking() as talk:
        control = talk.call.control
        uri = f"sip:2000@127.0.0.1:{talk.rig.sip.callee.listener.port}"
        wanted = control.transfer("2000", uri)
        second = await talk.next_phone()
        assert second.request_user == "2000"
        with pytest.raises(WrongState):
            control.transfer("2001", uri)
        second.reject(486)
        await until(lambda: wanted.state is TransferState.FAILED)
        await talk.hears(0, talk.phone.sdp)
        control.mute(True)
        wanted = control.transfer("2000", uri)
        third = await talk.next_phone()
        await third.answer(talk.sdp(1))
        await until(lambda: wanted.state is TransferState.DONE)
        await next_of(talk.phone, Ended)
        control.mute(False)  # it held for the new phone too, and ends for it
        await talk.hears(1, third.sdp)


async def test_click_to_call_rings_the_phone_first_and_then_whatsapp() -> None:
    async with bridge_rig() as rig:
        with ExitStack() as stack:
            ear = stack.enter_context(udp_socket())
            call = rig.call(Direction.SIP_TO_WHATSAPP)
            task = rig.tasks.create_task(
                rig.run(call, lambda one: click_to_call(one, "1000", rig.page, "5511987654321", rig.sip.caller))
            )
            phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
            assert (phone.request_user, phone.caller_user) == ("1000", "5511987654321")
            phone.ringing()
            await until(lambda: call.state is CallState.RINGING)
            assert rig.page.dialled == []
            await phone.answer(phone_sdp(ear.getsockname()[1]))
            await until(lambda: rig.page.dialled == ["5511987654321"])
            rig.page.call.emit(PageRinging())
            assert call.state is CallState.RINGING
            rig.page.call.emit(PageActive())
            await until(lambda: call.state is CallState.ACTIVE)
            await phone.bye()
            assert await task == t.HANGUP
    assert rig.page.call.told == ["hangup"]


@pytest.mark.parametrize("who", ["phone", "whatsapp"])
async def test_click_to_call_and_somebody_does_not_want_it(who: str) -> None:
    async with bridge_rig() as rig:
        call = rig.call(Direction.SIP_TO_WHATSAPP)
        task = rig.tasks.create_task(
            rig.run(call, lambda one: click_to_call(one, "1000", rig.page, "5511987654321", rig.sip.caller))
        )
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        if who == "phone":
            phone.reject(486)
            assert (await task).reason == "busy"
            assert rig.page.dialled == []
        else:
            await phone.answer(phone_sdp())
            await until(lambda: bool(rig.page.dialled))
            rig.page.call.emit(PageEnded(t.DECLINED))
            assert await task == t.DECLINED
            await next_of(phone, Ended)
