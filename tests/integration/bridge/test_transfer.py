"""The PBX moves its side of a call to another phone while the WhatsApp side stays up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway.bridge.call import Call, CallLimits
from gateway.domain import termination as t
from gateway.domain.errors import Unavailable
from gateway.domain.page_call import PageActive, PageEnded
from gateway.domain.states import CallState
from gateway.domain.termination import Termination
from gateway.media.plane import PLANE_LOST
from gateway.sip import Answered, Cancelled, Ended, Failed, IncomingInvite, OutgoingInvite, Reason, Replaced
from tests.integration.bridge.rig import IMPATIENT, LIMITS, PlayedCall, Rig, bridge_rig, phone_sdp, udp_socket
from tests.integration.bridge.test_flows import media_port, next_of, speak_both_ways, until
from tests.support.sip_refer import core, replaces, send_refer
from tests.support.sip_ua import ALICE

pytestmark = pytest.mark.integration

TARGET = "<sip:2000@pbx.test>"


@dataclass
class Talk:
    """A WhatsApp call that a phone has answered, and the ears of two phones."""

    rig: Rig
    whatsapp: PlayedCall
    task: asyncio.Task[Termination]
    call: Call
    phone: IncomingInvite
    ears: list[socket.socket]
    spoken: int = 0

    async def hears(self, ear: int, sdp: str | None, payload_type: int = 0) -> None:
        """Both sides of the call hear each other by that phone."""
        self.rig.port.sent.clear()
        self.spoken += 10
        port = media_port(sdp or "")
        await speak_both_ways(self.rig, self.ears[ear], port, payload_type=payload_type, first=self.spoken)

    def sdp(self, ear: int, codecs: str = "0") -> str:
        return phone_sdp(self.ears[ear].getsockname()[1], codecs)

    async def next_phone(self) -> IncomingInvite:
        return await asyncio.wait_for(self.rig.sip.calls.get(), 5)


@asynccontextmanager
async def talking(limits: CallLimits = LIMITS) -> AsyncIterator[Talk]:
    """Give a call that is up; it is ended with the block."""
    async with bridge_rig(limits) as rig:
        with ExitStack() as stack:
            ears = [stack.enter_context(udp_socket()) for _ in range(2)]
            whatsapp, task, call = rig.whatsapp_rings()
            phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
            talk = Talk(rig, whatsapp, task, call, phone, ears)
            await phone.answer(talk.sdp(0))
            await until(lambda: call.state is CallState.ACTIVE)
            yield talk
            whatsapp.emit(PageEnded(t.HANGUP))
            await asyncio.wait([task], timeout=5)
            assert call.state is CallState.ENDED


async def test_blind_transfer() -> None:
    async with talking() as talk:
        await talk.hears(0, talk.phone.sdp)
        told = send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        assert second.request_user == "2000"
        assert (second.caller_user, second.caller_name) == ("5511987654321", "Ana")
        second.ringing()
        await until(lambda: "180 Ringing" in told)
        await talk.hears(0, talk.phone.sdp)  # the old leg is up until the new one is
        await second.answer(talk.sdp(1, "8"))
        assert await next_of(talk.phone, Ended) == Ended(Reason("Q.850", 16, "Normal call clearing"))
        await until(lambda: told[-1:] == ["200 OK"])
        assert talk.rig.page.media == ["start PCMU", "codec PCMA"]
        await talk.hears(1, second.sdp, payload_type=8)
        assert talk.call.state is CallState.ACTIVE
        await second.bye()
        assert await talk.task == t.HANGUP
    assert talk.whatsapp.told == ["accept", "hangup"]
    assert talk.call.stats is not None
    assert talk.call.stats.sip_to_wa.passed == 9


async def test_the_pbx_hangs_up_right_after_refer() -> None:
    async with talking() as talk:
        first = talk.call.sip
        send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        await talk.phone.bye()
        await asyncio.sleep(0.1)
        assert talk.call.state is CallState.ACTIVE
        await second.answer(talk.sdp(1))
        await until(lambda: talk.call.sip is not first)
        await talk.hears(1, second.sdp)


async def test_the_pbx_is_gone_and_the_new_phone_is_busy() -> None:
    async with talking() as talk:
        send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        await talk.phone.bye()
        await asyncio.sleep(0.1)
        second.reject(486)
        assert (await talk.task).reason == "busy"
    assert talk.whatsapp.told == ["accept", "hangup"]


@pytest.mark.parametrize("status", [486, 603, 404])
async def test_a_transfer_that_fails_leaves_the_old_leg(status: int) -> None:
    async with talking() as talk:
        told = send_refer(talk.phone, TARGET)
        (await talk.next_phone()).reject(status)
        await until(lambda: len(told) > 1)
        assert told[-1].startswith(str(status))
        await talk.hears(0, talk.phone.sdp)
        told = send_refer(talk.phone, TARGET)  # and it may try again
        second = await talk.next_phone()
        await second.answer(talk.sdp(1))
        await next_of(talk.phone, Ended)
        await talk.hears(1, second.sdp)


async def test_nobody_answers_the_transfer() -> None:
    async with talking(IMPATIENT) as talk:
        told = send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        second.ringing()
        assert isinstance(await next_of(second, Cancelled), Cancelled)
        await until(lambda: told[-1:] == ["480 Temporarily Unavailable"])
        await talk.hears(0, talk.phone.sdp)


@pytest.mark.parametrize("gone", [False, True], ids=["the old phone is there", "the old phone is gone"])
async def test_media_that_dies_while_the_new_phone_rings_ends_the_call_at_once(gone: bool) -> None:
    async with talking() as talk:
        send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        second.ringing()
        if gone:
            await talk.phone.bye()
            await until(lambda: talk.call.sip is not None and talk.call.sip.ended)
        talk.rig.plane._sessions[talk.call.call_id].link.on_lost(PLANE_LOST)
        assert await asyncio.wait_for(talk.task, 10) == t.MEDIA_LOST
        assert isinstance(await next_of(second, Cancelled), Cancelled)
        if not gone:
            assert await next_of(talk.phone, Ended) == Ended(Reason("Q.850", 41, t.MEDIA_LOST.text))
    assert talk.whatsapp.told == ["accept", "hangup"]


async def test_media_that_dies_while_the_call_is_moved_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking() as talk:
        send_refer(talk.phone, TARGET)
        second = await talk.next_phone()

        def gone(*_: object) -> None:
            raise Unavailable("The media worker went away")

        monkeypatch.setattr(talk.rig.plane, "connect", gone)
        await second.answer(talk.sdp(1))
        assert await asyncio.wait_for(talk.task, 10) == t.MEDIA_LOST
        assert isinstance(await next_of(talk.phone, Ended), Ended)
        assert isinstance(await next_of(second, Ended), Ended)
    assert talk.whatsapp.told == ["accept", "hangup"]


async def test_a_new_phone_without_a_common_codec() -> None:
    async with talking() as talk:
        told = send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        await second.answer(phone_sdp(40000, "18"))
        await next_of(second, Ended)
        await until(lambda: told[-1:] == ["488 Not Acceptable Here"])
        await talk.hears(0, talk.phone.sdp)


async def test_attended_transfer() -> None:
    """The phone has talked with another one first; the new INVITE takes the place of that call (RFC 3891)."""
    async with talking() as talk:
        consultation = talk.rig.sip.dial()
        other = await talk.next_phone()
        await other.answer(talk.sdp(1))
        await next_of(consultation, Answered)
        named = replaces(consultation).replace(";", "%3B").replace("=", "%3D")
        told = send_refer(talk.phone, f"<sip:2000@pbx.test?Replaces={named}>")
        taken = await next_of(other, Replaced)
        assert taken.invite.header("Replaces") == replaces(consultation)
        await taken.invite.answer(talk.sdp(1))
        await next_of(talk.phone, Ended)
        await until(lambda: told[-1:] == ["200 OK"])
        await talk.hears(1, taken.invite.sdp)
        await other.bye()


async def test_whatsapp_hangs_up_during_a_transfer() -> None:
    async with talking() as talk:
        told = send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        second.ringing()
        talk.whatsapp.emit(PageEnded(t.HANGUP))
        await next_of(second, Cancelled)
        await next_of(talk.phone, Ended)
        assert await talk.task == t.HANGUP
        assert told[-1:] == ["487 Request Terminated"]


async def test_ponte_stops_during_a_transfer() -> None:
    async with talking() as talk:
        send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        second.ringing()
        await asyncio.sleep(0.1)
        talk.task.cancel()
        assert isinstance(await next_of(second, Cancelled), Cancelled)
        await next_of(talk.phone, Ended)
        await asyncio.wait([talk.task])
    assert talk.call.termination == t.SHUTDOWN


async def test_hold_while_the_new_phone_rings() -> None:
    async with talking() as talk:
        send_refer(talk.phone, TARGET)
        second = await talk.next_phone()
        answer = await talk.phone.reinvite(talk.sdp(0).replace("sendrecv", "sendonly"))
        assert "a=recvonly" in answer
        again = talk.rig.sip.caller.invite(
            sdp=talk.sdp(1), caller=ALICE, uri="sip:1@pbx.test", headers=[("Replaces", "a;to-tag=1;from-tag=2")]
        )  # the far side knows no such call
        assert (await next_of(again, Failed)).status == 481
        await second.answer(talk.sdp(1))
        await next_of(talk.phone, Ended)
        await talk.hears(1, second.sdp)


async def test_a_pbx_without_an_address_cannot_transfer() -> None:
    async with bridge_rig() as rig:
        phone, task, call = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageActive())
        await next_of(phone, Answered)
        told = send_refer(phone, TARGET)  # this account only takes calls: it has no sipServer
        await until(lambda: told[-1:] == ["503 Service Unavailable"])
        assert call.state is CallState.ACTIVE
        await phone.bye()
        assert await task == t.HANGUP


@dataclass
class Dialled:
    """A WhatsApp call that a phone has placed, and the ear of a second phone."""

    rig: Rig
    phone: OutgoingInvite
    call: Call
    ear: socket.socket

    def replacing(self, sdp: str) -> OutgoingInvite:
        return self.rig.sip.caller.invite(
            user="551188887777", sdp=sdp, caller=ALICE, headers=[("Replaces", replaces(self.phone))]
        )

    @property
    def ear_port(self) -> int:
        return int(self.ear.getsockname()[1])


@asynccontextmanager
async def dialled() -> AsyncIterator[Dialled]:
    async with bridge_rig() as rig:
        with udp_socket() as ear:
            phone, task, call = await rig.phone_dials(phone_sdp())
            rig.page.call.emit(PageActive())
            await next_of(phone, Answered)
            await until(lambda: call.state is CallState.ACTIVE)
            yield Dialled(rig, phone, call, ear)
            rig.page.call.emit(PageEnded(t.HANGUP))
            await asyncio.wait_for(task, 5)


async def test_another_phone_takes_the_call_over() -> None:
    async with dialled() as there:
        second = there.replacing(phone_sdp(there.ear_port, "8"))
        answered = await next_of(second, Answered)
        await next_of(there.phone, Ended)
        assert there.rig.page.media == ["start PCMU", "codec PCMA"]
        await speak_both_ways(there.rig, there.ear, media_port(answered.sdp), payload_type=8)
        assert there.call.state is CallState.ACTIVE


async def test_a_phone_without_our_codecs_does_not_take_it_over() -> None:
    async with dialled() as there:
        assert (await next_of(there.replacing(phone_sdp(codecs="18")), Failed)).status == 488
        assert there.call.state is CallState.ACTIVE
        answer = await there.phone.reinvite(phone_sdp(there.ear_port))
        await speak_both_ways(there.rig, there.ear, media_port(answer), payload_type=0)


async def test_a_phone_takes_the_call_over_without_an_offer() -> None:
    async with dialled() as there:
        second = there.replacing("")
        offered = await next_of(second, Answered)
        assert media_port(offered.sdp)
        await next_of(second, Ended)  # our user agent acknowledges without an answer, and that is refused
        assert there.call.state is CallState.ACTIVE
        answer = await there.phone.reinvite(phone_sdp(there.ear_port))
        await speak_both_ways(there.rig, there.ear, media_port(answer), payload_type=0)


async def test_nothing_is_moved_before_whatsapp_is_up() -> None:
    async with bridge_rig() as rig:
        incoming, task, _ = rig.whatsapp_rings()
        incoming.active_on_accept = False
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        await phone.answer(phone_sdp())
        told = send_refer(phone, TARGET)
        await until(lambda: told[-1:] == ["491 Request Pending"])
        incoming.emit(PageEnded(t.HANGUP))
        await task


async def test_who_waits_for_a_place_that_is_gone_is_told() -> None:
    async with bridge_rig() as rig:
        phone = rig.sip.dial()
        held = await asyncio.wait_for(rig.sip.calls.get(), 5)  # a call whose events nobody takes
        await held.answer(phone_sdp())
        await next_of(phone, Answered)
        second = rig.sip.caller.invite(user="1", sdp=phone_sdp(), caller=ALICE, headers=[("Replaces", replaces(phone))])
        await asyncio.sleep(0.1)
        await phone.bye()
        assert (await next_of(second, Failed)).status == 481


async def test_a_phone_that_is_gone_ends_the_call_by_its_name() -> None:
    async with talking() as talk:
        leg = talk.call.sip
        assert leg is not None
        core(leg.call)._end_dead_dialog(408, core(leg.call)._engine.heap.next_timeout() or 0.0)
        leg.call._driver.flush()
        assert await talk.task == t.PHONE_LOST
    assert talk.whatsapp.told == ["accept", "hangup"]
