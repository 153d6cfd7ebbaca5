"""Bridged calls with SIPp as the phone: hold in every form, early media, and every outcome of a WhatsApp call."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.bridge.flows import sip_to_whatsapp, whatsapp_to_sip
from gateway.bridge.sip_leg import refuse
from gateway.domain import termination as t
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.domain.states import CallState, Direction
from gateway.domain.termination import Termination
from gateway.page.driver import CallRefused
from gateway.sip import EndpointSettings, SipServer
from tests.integration.bridge.rig import LIMITS, PlayedCall, bridge_rig
from tests.integration.bridge.test_flows import rtp, until
from tests.support.sip_sipp import start_sipp

pytestmark = pytest.mark.integration

PHASE_MS = 400


async def test_hold_and_resume_in_every_form_is_answered_and_heard(tmp_path: Path) -> None:
    """SIPp sends back every packet that it gets: what the page says is heard again by it, and only while both send."""
    async with bridge_rig() as rig:
        assert rig.sip.callee.port is not None
        sipp = await start_sipp(tmp_path, "uac_holds", remote=rig.sip.callee.port.number, hold_ms=PHASE_MS, echo=True)
        invite = await asyncio.wait_for(rig.sip.calls.get(), 10)
        call = rig.call(Direction.SIP_TO_WHATSAPP)
        task = rig.tasks.create_task(
            rig.run(call, lambda one: sip_to_whatsapp(one, invite, rig.page, "5511987654321", rig.sip.callee))
        )
        rig.page.call.emit(PageRinging(), PageActive())
        await until(lambda: call.state is CallState.ACTIVE)
        spoken: list[tuple[str, int]] = []  # what stood when the page said it, and its number
        for sequence in itertools.count():
            if task.done():
                break
            assert call.media.negotiated is not None
            if rig.port.receiver is not None:
                spoken.append((call.media.negotiated.direction, sequence))
                rig.port.receiver(rtp(sequence, numbered(sequence)), asyncio.get_running_loop().time())
            await asyncio.sleep(0.02)
        await sipp.wait()
        assert await task == t.HANGUP
    heard = {packet[12:] for packet in rig.port.sent}
    phases = [(direction, list(part)) for direction, part in itertools.groupby(spoken, key=lambda one: one[0])]
    assert [direction for direction, _ in phases] == [
        "sendrecv", "recvonly", "sendrecv", "inactive", "sendrecv", "recvonly", "sendrecv", "sendonly", "sendrecv",
        "recvonly", "sendrecv",
    ]  # fmt: skip
    for direction, part in phases:
        back = [sequence for _, sequence in part if numbered(sequence) in heard]
        if direction == "sendrecv":
            assert back, part
        elif direction == "sendonly":  # it leaves, and only what was on its way at the end may be let in
            assert len(back) <= len(part) // 2
        else:
            assert not back


def numbered(sequence: int) -> bytes:
    """20 ms of audio that is known again."""
    return sequence.to_bytes(2, "big") * 80


async def test_early_media_shows_and_the_call_is_accepted_only_when_it_is_answered(tmp_path: Path) -> None:
    sipp = await start_sipp(tmp_path, "uas_early_media", hold_ms=PHASE_MS, echo=True)
    async with bridge_rig() as rig:
        await rig.sip.caller.update(
            EndpointSettings(server=SipServer("127.0.0.1", sipp.port, "udp"), listen_port=0, listen_host="127.0.0.1")
        )
        page, task, call = rig.whatsapp_rings()
        await until(lambda: call.state is CallState.EARLY_MEDIA)
        assert page.told == []
        await until(lambda: call.state is CallState.ACTIVE)
        assert page.told == ["accept"]
        assert rig.port.receiver is not None
        for sequence in range(5):
            rig.port.receiver(rtp(sequence, bytes(160)), asyncio.get_running_loop().time())
        await until(lambda: len(rig.port.sent) > 0)
        page.emit(PageEnded(t.HANGUP))
        assert await task == t.HANGUP
        await sipp.wait()


OUTCOMES = [
    t.NO_NUMBER, t.NOT_ON_WHATSAPP, t.BUSY, t.DECLINED, t.NO_ANSWER, t.UNREACHABLE, t.LINE_BUSY, t.PAGE_UNAVAILABLE,
    t.PAGE_LOST, t.MEDIA_FAILED, t.SHUTDOWN,
]  # fmt: skip


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda one: one.reason)
async def test_a_pbx_is_told_every_outcome_with_its_cause(tmp_path: Path, outcome: Termination) -> None:
    """The table of docs/ARCHITECTURE.md, section 4, as a PBX sees it."""
    words = {"STATUS": str(outcome.sip_status), "CAUSE": str(outcome.q850_cause)}
    if outcome.retry_after_s is not None:
        words["</action>"] = (
            f'  <ereg regexp="{outcome.retry_after_s}" search_in="hdr" header="Retry-After:" check_it="true"'
            ' assign_to="seen"/>\n    </action>'
        )
    async with bridge_rig() as rig:
        assert rig.sip.callee.port is not None
        sipp = await start_sipp(tmp_path, "uac_refused", remote=rig.sip.callee.port.number, words=words)
        invite = await asyncio.wait_for(rig.sip.calls.get(), 10)
        if outcome in {t.NO_NUMBER, t.LINE_BUSY, t.PAGE_UNAVAILABLE, t.SHUTDOWN}:
            refuse(invite, outcome)  # as the account does before there is a call
        else:
            call = rig.call(Direction.SIP_TO_WHATSAPP)
            if outcome in {t.NOT_ON_WHATSAPP}:
                rig.page.refusal = CallRefused(outcome)
            else:
                rig.page.call.emit(PageEnded(outcome))
            flow = rig.run(call, lambda one: sip_to_whatsapp(one, invite, rig.page, "5511987654321", rig.sip.callee))
            assert await flow == outcome
        await sipp.wait()


async def test_answered_elsewhere_is_a_cancel_that_says_so(tmp_path: Path) -> None:
    words = {"REASON": "SIP;cause=200;text=.Call completed elsewhere."}
    sipp = await start_sipp(tmp_path, "uas_cancelled_why", words=words)
    async with bridge_rig() as rig:
        await rig.sip.caller.update(
            EndpointSettings(server=SipServer("127.0.0.1", sipp.port, "udp"), listen_port=0, listen_host="127.0.0.1")
        )
        page = PlayedCall(outgoing=False)
        call = rig.call(Direction.WHATSAPP_TO_SIP)
        task = rig.tasks.create_task(rig.run(call, lambda one: whatsapp_to_sip(one, page, rig.sip.caller, "1000")))
        await until(lambda: call.state is CallState.RINGING)
        page.emit(PageEnded(t.ELSEWHERE))
        assert await task == t.ELSEWHERE
        await sipp.wait()


async def test_a_call_without_an_offer_is_heard_too(tmp_path: Path) -> None:
    async with bridge_rig() as rig:
        assert rig.sip.callee.port is not None
        sipp = await start_sipp(tmp_path, "uac_late_offer", remote=rig.sip.callee.port.number, echo=True)
        invite = await asyncio.wait_for(rig.sip.calls.get(), 10)
        assert invite.sdp is None
        call = rig.call(Direction.SIP_TO_WHATSAPP)
        task = rig.tasks.create_task(
            rig.run(call, lambda one: sip_to_whatsapp(one, invite, rig.page, "5511987654321", rig.sip.callee))
        )
        rig.page.call.emit(PageRinging(), PageActive())
        await until(lambda: call.state is CallState.ACTIVE)
        await until(lambda: "codec PCMU" in rig.page.media)  # the phone's re-INVITE, with an offer this time
        for sequence in itertools.count():
            if rig.port.sent:
                break
            assert sequence < 500
            assert rig.port.receiver is not None
            rig.port.receiver(rtp(sequence, numbered(sequence)), asyncio.get_running_loop().time())
            await asyncio.sleep(0.02)
        rig.page.call.emit(PageEnded(t.HANGUP))
        await sipp.wait()
        assert await task == t.HANGUP


async def test_a_phone_that_fell_silent_is_asked_and_one_that_lost_the_call_is_left(tmp_path: Path) -> None:
    """SIPp sends our packets back; when the page is silent so is the phone. It answers the first question, not more."""
    async with bridge_rig(replace(LIMITS, phone_silence_s=0.3)) as rig:
        assert rig.sip.callee.port is not None
        sipp = await start_sipp(tmp_path, "uac_silent", remote=rig.sip.callee.port.number, echo=True)
        invite = await asyncio.wait_for(rig.sip.calls.get(), 10)
        call = rig.call(Direction.SIP_TO_WHATSAPP)
        task = rig.tasks.create_task(
            rig.run(call, lambda one: sip_to_whatsapp(one, invite, rig.page, "5511987654321", rig.sip.callee))
        )
        rig.page.call.emit(PageActive())
        await until(lambda: call.state is CallState.ACTIVE)
        for sequence in itertools.count():
            if rig.port.sent:
                break
            assert sequence < 500
            assert rig.port.receiver is not None
            rig.port.receiver(rtp(sequence, numbered(sequence)), asyncio.get_running_loop().time())
            await asyncio.sleep(0.02)
        assert await asyncio.wait_for(task, 10) == t.PHONE_LOST
        await sipp.wait()
    assert rig.page.call.told == ["hangup"]
