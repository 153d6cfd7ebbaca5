"""A phone that falls silent is asked, and one that is gone loses the call; nothing else does."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from gateway.bridge.call import Call
from gateway.domain import termination as t
from gateway.domain.page_call import PageActive
from gateway.domain.states import CallState
from gateway.domain.termination import Termination
from gateway.sip import Answered, OutgoingInvite
from tests.integration.bridge.rig import LIMITS, Rig, bridge_rig, phone_sdp, udp_socket
from tests.integration.bridge.test_flows import media_port, next_of, rtp, until

pytestmark = pytest.mark.integration

QUICK = replace(LIMITS, phone_silence_s=0.3)
PATIENT = replace(LIMITS, phone_silence_s=1.5)  # a busy machine may hold the reports up


async def talking(rig: Rig, ear: socket.socket) -> tuple[OutgoingInvite, asyncio.Task[Termination], Call, int]:
    """A call in which the phone was heard, and the port that it sends to."""
    phone, task, call = await rig.phone_dials(phone_sdp(ear.getsockname()[1]))
    rig.page.call.emit(PageActive())
    answered = await next_of(phone, Answered)
    await until(lambda: call.state is CallState.ACTIVE)
    port = media_port(answered.sdp)
    for sequence in range(3):
        ear.sendto(rtp(sequence, bytes(160)), ("127.0.0.1", port))
    await until(lambda: call.media.query().last_rtp_s is not None)
    return phone, task, call, port


def asked(rig: Rig) -> int:
    """How many questions the phone's side has got in its dialogs."""
    return rig.sip.caller._stack.agent.counts["requests"]


async def test_a_phone_that_lost_its_power_is_noticed() -> None:
    async with bridge_rig(QUICK) as rig:
        with udp_socket() as ear:
            _, task, call, _ = await talking(rig, ear)
            assert rig.sip.caller.port is not None
            await rig.sip.caller.port.close()  # no BYE, no answer, no packet any more
            assert await asyncio.wait_for(task, 20) == t.PHONE_LOST
    assert rig.page.call.told == ["hangup"]
    assert call.termination == t.PHONE_LOST


async def test_a_phone_that_was_restarted_is_noticed_at_once() -> None:
    async with bridge_rig(QUICK) as rig:
        with udp_socket() as ear:
            _, task, _, _ = await talking(rig, ear)
            rig.sip.caller._stack.agent._engine.dialogs.clear()  # it answers 481 now
            assert await asyncio.wait_for(task, 10) == t.PHONE_LOST


async def test_a_muted_phone_that_answers_keeps_its_call() -> None:
    async with bridge_rig(QUICK) as rig:
        with udp_socket() as ear:
            phone, task, call, _ = await talking(rig, ear)
            before = asked(rig)
            await until(lambda: asked(rig) >= before + 2)
            assert call.state is CallState.ACTIVE
            await phone.bye()
            assert await task == t.HANGUP


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_a_phone_that_holds_is_not_asked(direction: str) -> None:
    async with bridge_rig(QUICK) as rig:
        with udp_socket() as ear:
            phone, task, call, _ = await talking(rig, ear)
            await phone.reinvite(phone_sdp(ear.getsockname()[1], direction=direction))
            assert call.media.held
            await asyncio.sleep(0)
            before = asked(rig)
            heard = call.media.query().last_rtp_s
            # three times what it may be silent
            await until(lambda: asyncio.get_running_loop().time() > (heard or 0) + 3 * QUICK.phone_silence_s)
            assert asked(rig) == before
            await phone.reinvite(phone_sdp(ear.getsockname()[1]))
            await until(lambda: asked(rig) > before)  # resumed, and silent still
            await phone.bye()
            assert await task == t.HANGUP


async def test_a_phone_that_reports_by_rtcp_is_not_asked() -> None:
    async with bridge_rig(PATIENT) as rig:
        with udp_socket() as ear:
            phone, task, call, port = await talking(rig, ear)
            before = asked(rig)
            report = bytes([0x80, 201, 0, 1, 0, 0, 0, 7])  # an empty receiver report
            end = asyncio.get_running_loop().time() + 2 * PATIENT.phone_silence_s
            target = ("127.0.0.1", port + 1)
            while asyncio.get_running_loop().time() < end:
                ear.sendto(report, target)
                await asyncio.sleep(0.05)
            assert call.media.query().last_rtcp_s is not None
            assert asked(rig) == before
            await phone.bye()
            assert await task == t.HANGUP
