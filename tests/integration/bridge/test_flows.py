"""Both call flows against a real SIP user agent: every outcome of docs/ARCHITECTURE.md 4, and who closes whom."""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from typing import TypeVar

import pytest

from gateway.bridge.call import Call
from gateway.domain import termination as t
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.domain.states import CallState
from gateway.domain.termination import Termination
from gateway.page.driver import CallRefused
from gateway.sip import Answered, CallEvent, Cancelled, Ended, Failed, Reason, Ringing, SipCall
from tests.integration.bridge.rig import IMPATIENT, Rig, bridge_rig, phone_sdp, udp_socket

pytestmark = pytest.mark.integration


E = TypeVar("E", bound=CallEvent)


async def next_of(phone: SipCall, kind: type[E]) -> E:
    """The next event of that kind; others may come before it."""
    async with asyncio.timeout(5):
        while not isinstance(event := await phone.next_event(), kind):
            pass
    return event


def rtp(sequence: int, payload: bytes, ssrc: int = 7) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence, sequence * 160, ssrc) + payload


def media_port(sdp: str) -> int:
    found = re.search(r"m=audio (\d+)", sdp)
    assert found is not None
    return int(found[1])


def ladder(call: Call) -> list[str]:
    """The call's time line, as lines of text; what a busy machine repeats is not counted."""
    lines = []
    for one in call.trace.view().entries:
        way = one.source if one.source is one.target else f"{one.source}>{one.target}"
        lines.append(re.sub(r",? \d+ times$", "", f"{way} {one.text} {one.detail}").rstrip())
    return lines


async def test_a_phone_reaches_whatsapp_and_both_are_heard() -> None:
    async with bridge_rig() as rig:
        with udp_socket() as ear:
            phone, task, call = await rig.phone_dials(phone_sdp(ear.getsockname()[1], "8 0"))
            rig.page.call.emit(PageRinging())
            assert await next_of(phone, Ringing) == Ringing(180)
            rig.page.call.emit(PageActive())
            answered = await next_of(phone, Answered)
            assert isinstance(answered, Answered)
            await until(lambda: call.state is CallState.ACTIVE)
            assert rig.page.media == ["start PCMA"]
            await speak_both_ways(rig, ear, media_port(answered.sdp), payload_type=8)
            await phone.bye()
            assert await task == t.HANGUP
    assert rig.page.call.told == ["hangup"]
    assert rig.page.media[-1] == "stop"
    assert call.state is CallState.ENDED
    assert call.stats is not None
    assert call.stats.sip_to_wa.passed == 3
    shown = ladder(call)
    heard = [line for line in shown if "first audio" in line]
    assert sorted(heard) == ["page>ponte first audio from WhatsApp", "pbx>ponte first audio from the phone"]
    started = [line for line in shown if "start media" in line]  # while it rings, and a test of the sound is over
    assert started == ["ponte>page start media PCMA", "page>ponte start media done"]
    assert shown.index("page>ponte dial done") < shown.index(started[0]) < shown.index("ponte ACTIVE")
    assert [line for line in shown if line not in heard + started] == [
        "pbx>ponte INVITE SDP", "ponte>pbx 401 Unauthorized INVITE", "pbx>ponte ACK",
        "pbx>ponte INVITE SDP, with credentials", "ponte>pbx 100 Trying INVITE", "ponte CONNECTING",
        "ponte>page dial", "page>ponte dial done",
        "page>ponte ringing", "ponte RINGING", "ponte>pbx 180 Ringing INVITE", "page>ponte active",
        "ponte connected PCMA", "ponte>pbx 200 OK INVITE, SDP", "pbx>ponte ACK", "ponte ACTIVE", "pbx>ponte BYE",
        "ponte>pbx 200 OK BYE", "ponte ENDING", "ponte>page hang up", "page>ponte hang up done",
        "ponte>page stop media", "page>ponte stop media done",
        "ponte ENDED success, hangup, Q.850 cause 16",
    ]  # fmt: skip


async def speak_both_ways(rig: Rig, ear: socket.socket, port: int, *, payload_type: int, first: int = 0) -> None:
    for sequence in range(first, first + 3):
        packet = bytearray(rtp(sequence, bytes(range(160))))
        packet[1] = payload_type
        ear.sendto(packet, ("127.0.0.1", port))
    await until(lambda: len(rig.port.sent) == 3)
    assert {packet[1] & 0x7F for packet in rig.port.sent} == {payload_type}
    assert all(packet[12:] == bytes(range(160)) for packet in rig.port.sent)
    assert rig.port.receiver is not None
    spoken = bytearray(rtp(first + 9, b"\x55" * 160))
    spoken[1] = payload_type
    rig.port.receiver(bytes(spoken), asyncio.get_running_loop().time())
    heard = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ear, 2000), 2)
    assert heard[12:] == b"\x55" * 160


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 (looks from outside: the parts have no event for it)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "outcome", [t.BUSY, t.DECLINED, t.NO_ANSWER, t.UNREACHABLE, t.PAGE_LOST, t.MEDIA_FAILED], ids=lambda o: o.reason
)
async def test_each_outcome_of_whatsapp_reaches_the_phone(outcome: Termination) -> None:
    async with bridge_rig() as rig:
        phone, task, _ = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageEnded(outcome))
        failed = await next_of(phone, Failed)
        assert failed.status == outcome.sip_status
        assert failed.reason == Reason("Q.850", outcome.q850_cause or 0, outcome.text)
        assert await task == outcome
    assert rig.page.call.told == []


async def test_a_number_that_is_not_on_whatsapp_is_a_404() -> None:
    async with bridge_rig() as rig:
        rig.page.refusal = CallRefused(t.NOT_ON_WHATSAPP)
        phone, task, _ = await rig.phone_dials(phone_sdp())
        failed = await next_of(phone, Failed)
        assert (failed.status, failed.reason) == (404, Reason("Q.850", 1, "Not on WhatsApp"))
        await task


async def test_a_phone_without_our_codecs_is_told_488_and_whatsapp_never_rings() -> None:
    async with bridge_rig() as rig:
        phone, task, _ = await rig.phone_dials(phone_sdp(codecs="18"))
        failed = await next_of(phone, Failed)
        assert failed.status == 488
        assert (await task) == t.BAD_MEDIA
    assert rig.page.dialled == []


async def test_a_phone_that_gives_up_ends_the_whatsapp_call() -> None:
    async with bridge_rig() as rig:
        phone, task, _ = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageRinging())
        await next_of(phone, Ringing)
        await phone.cancel()
        assert await task == t.CANCELLED
    assert rig.page.call.told == ["hangup"]


async def test_nobody_answers_in_time() -> None:
    async with bridge_rig(IMPATIENT) as rig:
        phone, task, _ = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageRinging())
        failed = await next_of(phone, Failed)
        assert failed.status == 480
        assert await task == t.NO_ANSWER
    assert rig.page.call.told == ["hangup"]


@pytest.mark.parametrize(("end", "cause"), [(t.HANGUP, 16), (t.PAGE_LOST, 41)], ids=["hangup", "page_lost"])
async def test_the_end_on_the_whatsapp_side_is_a_bye_with_its_cause(end: Termination, cause: int) -> None:
    async with bridge_rig() as rig:
        phone, task, _ = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageRinging(), PageActive())
        await next_of(phone, Answered)
        rig.page.call.emit(PageEnded(end))
        ended = await next_of(phone, Ended)
        assert ended.reason is not None
        assert (ended.reason.protocol, ended.reason.cause) == ("Q.850", cause)
        assert await task == end


async def test_hold_and_resume_by_the_phone() -> None:
    async with bridge_rig() as rig:
        phone, task, call = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageActive())
        await next_of(phone, Answered)
        await until(lambda: call.state is CallState.ACTIVE)
        assert "a=recvonly" in await phone.reinvite(phone_sdp(direction="sendonly"))
        assert "a=sendrecv" in await phone.reinvite(phone_sdp())
        await phone.bye()
        await task


async def test_another_codec_in_the_middle_reaches_the_page() -> None:
    async with bridge_rig() as rig:
        phone, task, call = await rig.phone_dials(phone_sdp(codecs="0"))
        rig.page.call.emit(PageActive())
        await next_of(phone, Answered)
        await until(lambda: call.state is CallState.ACTIVE)
        await phone.reinvite(phone_sdp(codecs="8"))
        await until(lambda: rig.page.media[-1] == "codec PCMA")
        await phone.bye()
        await task


async def test_a_whatsapp_call_rings_the_phone_and_is_accepted_only_when_it_answers() -> None:
    async with bridge_rig() as rig:
        with udp_socket() as ear:
            page, task, call = rig.whatsapp_rings()
            phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
            assert phone.request_user == "1000"
            assert (phone.caller_user, phone.caller_name) == ("5511987654321", "Ana")
            assert phone.header("X-WhatsApp-Call-Id") == "3EB0"
            phone.ringing()
            await until(lambda: call.state is CallState.RINGING)
            assert page.told == []
            assert phone.sdp is not None
            await phone.answer(phone_sdp(ear.getsockname()[1]))
            await until(lambda: call.state is CallState.ACTIVE)
            assert page.told == ["accept"]
            await speak_both_ways(rig, ear, media_port(phone.sdp), payload_type=0)
            await phone.bye()
            assert await task == t.HANGUP
    assert page.told == ["accept", "hangup"]
    shown = ladder(call)
    assert shown[0] == "page>ponte incoming call"
    assert {"ponte CONNECTING", "ponte>pbx INVITE SDP"} == set(shown[1:3])
    assert "ponte>page accept" in shown
    personal = re.compile(r"5511987654321|Ana|127\.0\.0\.1|3EB0|1000")
    assert not [line for line in shown if personal.search(line)]


@pytest.mark.parametrize(
    ("status", "reason"), [(486, "busy"), (603, "declined"), (480, "no_answer"), (503, "sip_failure")]
)
async def test_a_phone_that_does_not_take_the_call(status: int, reason: str) -> None:
    async with bridge_rig() as rig:
        page, task, call = rig.whatsapp_rings()
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        phone.reject(status)
        assert (await task).reason == reason
    assert page.told == ["reject"]
    shown = ladder(call)
    assert any(line.startswith(f"pbx>ponte {status} ") for line in shown)
    assert "ponte>pbx ACK" in shown
    assert f", {reason}" in shown[-1]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (t.CANCELLED, Reason("Q.850", 16, "The caller gave up")),
        (t.ELSEWHERE, Reason("SIP", 200, "Call completed elsewhere")),
    ],
    ids=["gives_up", "elsewhere"],
)
async def test_a_whatsapp_caller_who_is_gone_cancels_the_phone(end: Termination, reason: Reason) -> None:
    async with bridge_rig() as rig:
        page, task, call = rig.whatsapp_rings()
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        phone.ringing()
        await until(lambda: call.state is CallState.RINGING)
        page.emit(PageEnded(end))
        cancelled = await next_of(phone, Cancelled)
        assert cancelled.reason == reason
        assert await task == end
    assert page.told == []


async def test_a_phone_that_rings_on_is_cancelled_and_whatsapp_told_no() -> None:
    async with bridge_rig(IMPATIENT) as rig:
        page, task, _ = rig.whatsapp_rings()
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        phone.ringing()
        assert isinstance(await next_of(phone, Cancelled), Cancelled)
        assert await task == t.NO_ANSWER
    assert page.told == ["reject"]


async def test_a_page_that_never_becomes_active_ends_the_phones_call() -> None:
    async with bridge_rig(IMPATIENT) as rig:
        page, task, _ = rig.whatsapp_rings()
        page.active_on_accept = False
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        await phone.answer(phone_sdp())
        ended = await next_of(phone, Ended)
        assert ended.reason is not None
        assert ended.reason.cause == 41
        assert await task == t.MEDIA_FAILED
    assert page.told == ["accept", "hangup"]


async def test_a_stop_in_the_middle_tells_both_sides() -> None:
    async with bridge_rig() as rig:
        phone, task, call = await rig.phone_dials(phone_sdp())
        rig.page.call.emit(PageActive())
        await next_of(phone, Answered)
        await until(lambda: call.state is CallState.ACTIVE)
        task.cancel()
        ended = await next_of(phone, Ended)
        assert ended.reason is not None
        assert ended.reason.cause == 41
        with pytest.raises(asyncio.CancelledError):
            await task
    assert rig.page.call.told == ["hangup"]
