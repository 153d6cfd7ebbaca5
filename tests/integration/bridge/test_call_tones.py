"""What a phone that we rang hears while WhatsApp is dialled for it, and where that comes to nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from gateway.bridge.call import Call
from gateway.bridge.call_media import CallMedia
from gateway.bridge.flows import click_to_call
from gateway.codecs.g711 import decode
from gateway.domain import termination as t
from gateway.domain.call_tones import CallTones
from gateway.domain.ids import AccountId, new_call_id
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.domain.states import CallState, Direction
from gateway.domain.termination import Termination
from gateway.page.driver import CallRefused
from gateway.protocol.rtp import RtpHeader, build_packet
from gateway.protocol.sip.events import Ended
from gateway.sip import IncomingInvite
from tests.integration.bridge.rig import LIMITS, Rig, bridge_rig, phone_sdp, udp_socket
from tests.integration.bridge.test_flows import until
from tests.support.audio import level_dbfs, tone_hz

pytestmark = pytest.mark.integration

RINGING_HZ, BUSY_HZ, CONGESTION_HZ = 425, 620, 950
TONES = CallTones(f"{RINGING_HZ}/20000", f"{BUSY_HZ}/20000", f"{CONGESTION_HZ}/20000", 1.2)
PAGE = b"\x55" * 160


@dataclass
class Phone:
    """A phone that was rung and has answered, and hears by a socket of its own."""

    rig: Rig
    line: socket.socket
    call: Call
    invite: IncomingInvite
    flow: asyncio.Task[Termination]
    packets: list[bytes] = field(default_factory=list)

    def take(self) -> list[bytes]:
        try:
            while True:
                self.packets.append(self.line.recv(2048))
        except BlockingIOError:
            return self.packets

    async def hears(self, hz: float) -> None:
        """Wait until a quarter of a second of this tone was heard, and nothing else."""
        self.take()
        self.packets.clear()
        await until(lambda: len(self.take()) >= 15)
        sound = np.array(decode("PCMU", b"".join(one[12:] for one in self.packets[2:15])), dtype=np.float64) / 32768
        assert abs(tone_hz(sound, 8000) - hz) < 10
        assert level_dbfs(sound) > -20

    async def hears_nothing(self) -> None:
        await asyncio.sleep(0.1)
        self.take()
        self.packets.clear()
        await asyncio.sleep(0.2)
        assert self.take() == []


@asynccontextmanager
async def answered(
    tones: CallTones = TONES, refusal: Exception | None = None, ring_timeout_s: float = 20.0
) -> AsyncIterator[Phone]:
    async with bridge_rig(replace(LIMITS, ring_timeout_s=ring_timeout_s)) as rig:
        rig.page.refusal = refusal
        call_id = new_call_id()
        media = CallMedia(call_id, rig.plane, rig.page, rig.port)
        call = Call(
            call_id, AccountId("a"), Direction.SIP_TO_WHATSAPP, media, rig.limits, lambda _: None, tones=tones
        )  # fmt: skip
        flow = rig.tasks.create_task(
            rig.run(call, lambda one: click_to_call(one, "1000", rig.page, "5511987654321", rig.sip.caller))
        )
        invite = await asyncio.wait_for(rig.sip.calls.get(), 5)
        with udp_socket() as line:
            await invite.answer(phone_sdp(line.getsockname()[1]))
            await until(lambda: bool(rig.page.dialled))
            yield Phone(rig, line, call, invite, flow)
            if not flow.done():
                await invite.bye(None)
            await asyncio.wait_for(flow, 10)
        await rig.plane.close()


async def test_it_hears_ringing_from_when_it_really_rings_until_the_answer() -> None:
    async with answered() as phone:
        await phone.hears_nothing()
        phone.rig.page.call.emit(PageRinging())
        await phone.hears(RINGING_HZ)
        assert phone.rig.port.sent == []
        phone.rig.page.call.emit(PageActive())
        await until(lambda: phone.call.state is CallState.ACTIVE)
        await phone.hears_nothing()
        receive = phone.rig.port.receiver
        assert receive is not None
        receive(build_packet(RtpHeader(0, 5, 800, 9), PAGE), asyncio.get_running_loop().time())
        await until(lambda: bool(phone.take()))
        assert [one[12:] for one in phone.packets] == [PAGE]
        assert phone.rig.port.sent == []


@pytest.mark.parametrize(("why", "hz"), [(t.DECLINED, BUSY_HZ), (t.BUSY, BUSY_HZ), (t.UNREACHABLE, CONGESTION_HZ)])
async def test_it_hears_that_the_call_came_to_nothing_and_is_hung_up(why: Termination, hz: float) -> None:
    async with answered() as phone:
        phone.rig.page.call.emit(PageRinging(), PageEnded(why))
        await phone.hears(hz)
        assert isinstance(await asyncio.wait_for(phone.invite.next_event(), 5), Ended)
        assert await phone.flow == why


async def test_it_hears_that_whatsapp_was_not_dialled() -> None:
    async with answered(refusal=CallRefused(t.NOT_ON_WHATSAPP)) as phone:
        await phone.hears(CONGESTION_HZ)
        assert await asyncio.wait_for(phone.flow, 5) == t.NOT_ON_WHATSAPP


async def test_who_does_not_answer_is_not_rung_while_the_phone_is_told() -> None:
    async with answered(ring_timeout_s=0.5) as phone:
        phone.rig.page.call.emit(PageRinging())
        await until(lambda: phone.rig.page.call.told == ["hangup"])  # after ring_timeout_s
        assert not phone.flow.done()
        await phone.hears(CONGESTION_HZ)
        assert await asyncio.wait_for(phone.flow, 5) == t.NO_ANSWER
        assert phone.rig.page.call.told == ["hangup"]


async def test_a_phone_that_hangs_up_is_told_no_more() -> None:
    async with answered(CallTones(TONES.ringing, TONES.busy, TONES.congestion, 30)) as phone:
        phone.rig.page.call.emit(PageEnded(t.BUSY))
        await phone.hears(BUSY_HZ)
        await phone.invite.bye(None)
        assert await asyncio.wait_for(phone.flow, 5) == t.BUSY


async def test_without_tones_it_is_hung_up_at_once() -> None:
    async with answered(CallTones()) as phone:
        phone.rig.page.call.emit(PageRinging())
        await phone.hears_nothing()
        phone.rig.page.call.emit(PageEnded(t.BUSY))
        assert await asyncio.wait_for(phone.flow, 5) == t.BUSY
        await phone.hears_nothing()
