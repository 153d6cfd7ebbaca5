"""Calls through an rtpengine, Debian's: real RTP, SRTP and WebRTC at both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aioice.ice
import numpy as np
import pytest

from gateway.domain.ids import CallId
from gateway.media.plane import MediaPlane, MediaStats, NoCommonCodec
from gateway.protocol.rtp import parse_header
from gateway.protocol.sdp import LocalMedia, SdpSession
from tests.integration.media.planes import (
    CALL,
    LEVEL_DBFS,
    PAGE_HZ,
    PHONE_HZ,
    SpeakingPhone,
    TestPage,
    a_phone,
    at_rtpengine,
    both_hear,
    hears,
    is_quiet,
    page_of,
    until,
)
from tests.integration.media.test_router import HOST
from tests.support.audio import Samples, level_dbfs
from tests.support.rtpengine import INSTALLED, NOT_INSTALLED, rtpengine
from tests.support.webrtc_peer import Peer

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not INSTALLED, reason=NOT_INSTALLED)]

OTHER = CallId("other")


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [HOST])


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[MediaPlane]:
    async with rtpengine(tmp_path) as engine, at_rtpengine(engine) as plane:
        yield plane


@pytest.fixture
async def page(plane: MediaPlane) -> AsyncIterator[TestPage]:
    async with page_of(plane) as page:
        yield page


@pytest.fixture
async def phone() -> AsyncIterator[SpeakingPhone]:
    async with a_phone() as phone:
        yield phone


async def test_a_phone_is_called_and_another_calls(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    negotiated = await phone.called(plane, page.side)
    assert (negotiated.codec, negotiated.direction) == ("PCMU", "sendrecv")
    plane.connect(CALL, page.side)
    await both_hear(page, phone)
    await until(lambda: plane.query(CALL).wa_to_sip.packets >= 10)
    stats = await plane.delete(CALL)
    assert stats.sip_to_wa.packets >= 10
    assert stats.wa_to_sip.last_packet_s is not None
    assert stats.last_rtp_s is not None
    assert abs(stats.last_rtp_s - asyncio.get_running_loop().time()) < 10
    assert await is_quiet(lambda: len(phone.phone.heard))

    async with a_phone(codecs=("PCMA",)) as second:  # over the same leg
        assert (await second.calls(plane, page.side, OTHER)).codec == "PCMA"
        plane.connect(OTHER, page.side)
        await hears_page(page, second)
        await plane.delete(OTHER)
    assert await plane.delete(OTHER) == MediaStats()


async def hears_page(page: TestPage, phone: SpeakingPhone) -> None:
    """The phone speaks, and the page hears; what the page sends is of a codec of its own choice."""
    page.peer.heard.clear()
    await hears(lambda: page_sound(page), PHONE_HZ, "the phone's tone in the page")


def page_sound(page: TestPage) -> Samples:
    """The newest second that the page heard."""
    return np.concatenate(page.peer.heard[-60:]) if page.peer.heard else np.zeros(0)


async def test_nothing_flows_before_it_is_wanted(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    await phone.calls(plane, page.side)
    assert await is_quiet(lambda: len(phone.packets))
    assert not any(level_dbfs(frame) > LEVEL_DBFS - 20 for frame in page.peer.heard)


async def test_hold_and_resume(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    await phone.calls(plane, page.side)
    plane.connect(CALL, page.side)
    await both_hear(page, phone)
    held = await phone.calls(plane, page.side, change=lambda sdp: sdp.replace("a=sendrecv", "a=sendonly"))
    assert held.direction == "recvonly"
    assert await is_quiet(lambda: len(phone.packets))
    assert (await phone.calls(plane, page.side)).direction == "sendrecv"
    await both_hear(page, phone)


async def test_another_phone_takes_the_call_over(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    await phone.calls(plane, page.side)
    plane.connect(CALL, page.side)
    await both_hear(page, phone)
    async with a_phone() as second:
        offered = await plane.create_offer(OTHER, local_address=HOST, page=page.side)
        await both_hear(page, phone)  # nothing is noticed of the other one
        answer, ours = second.phone.sdp.answer_offer(offered, second.phone.local)
        second.phone.to = ours.remote
        await plane.accept_answer(OTHER, answer)
        await both_hear(page, phone)
        await plane.delete(CALL)
        plane.connect(OTHER, page.side)
        await both_hear(page, second)
        assert await is_quiet(lambda: len(phone.packets))
        await plane.delete(OTHER)


async def test_an_offer_that_came_to_nothing_leaves_the_call(
    plane: MediaPlane, page: TestPage, phone: SpeakingPhone
) -> None:
    await phone.calls(plane, page.side)
    plane.connect(CALL, page.side)
    await plane.create_offer(OTHER, local_address=HOST, page=page.side)
    await plane.delete(OTHER)
    await both_hear(page, phone)


async def test_several_phones_ring_and_one_answers(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    names = [CallId(f"ring{n}") for n in range(3)]
    offers = [await plane.create_offer(name, local_address=HOST, page=page.side) for name in names]
    await plane.delete(names[0])  # gave up first
    answer, ours = phone.phone.sdp.answer_offer(offers[1], phone.phone.local)
    phone.phone.to = ours.remote
    await plane.accept_answer(names[1], answer)
    await plane.delete(names[2])
    plane.connect(names[1], page.side)
    await both_hear(page, phone)


async def test_the_page_is_connected_anew_in_a_call(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    await phone.calls(plane, page.side)
    plane.connect(CALL, page.side)
    await both_hear(page, phone)
    page.side.use(None)
    await page.legs[-1].close()
    assert not page.side.connected
    await page.connect()
    await both_hear(page, phone)


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
async def test_srtp_with_keys_in_sdp(plane: MediaPlane, page: TestPage, suite: str) -> None:
    def only(sdp: str) -> str:
        return "\r\n".join(line for line in sdp.split("\r\n") if "a=crypto" not in line or suite in line)

    async with a_phone(secure=True) as phone:
        negotiated = await phone.calls(plane, page.side, change=only)
        assert negotiated.crypto is not None
        assert negotiated.crypto.ours.suite == suite
        plane.connect(CALL, page.side)
        await both_hear(page, phone)
        await phone.calls(plane, page.side, change=only)  # a re-INVITE starts nothing over
        await both_hear(page, phone)


@pytest.mark.parametrize("calling", [True, False], ids=["calls", "is called"])
async def test_a_browser_is_the_phone(plane: MediaPlane, page: TestPage, calling: bool) -> None:
    client = Peer(PHONE_HZ, LEVEL_DBFS)
    try:
        if calling:
            answer, negotiated = await plane.answer_offer(
                CALL, await client.offer(), local_address=HOST, page=page.side
            )
            plane.connect(CALL, page.side)
            await client.accept(answer)
        else:
            offer = await plane.create_offer(CALL, local_address=HOST, webrtc=True, page=page.side)
            negotiated = await plane.accept_answer(CALL, await client.answer(offer))
            plane.connect(CALL, page.side)
        assert negotiated.codec == "PCMU"
        page.peer.heard.clear()
        await hears(lambda: page_sound(page), PHONE_HZ, "the client's tone in the page")
        client.heard.clear()
        await hears(
            lambda: np.concatenate(client.heard[-60:]) if client.heard else np.zeros(0),
            PAGE_HZ,
            "the page's tone in the client",
        )
        await plane.delete(CALL)
    finally:
        await client.close()


async def test_a_bad_reinvite_leaves_the_call(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    await phone.calls(plane, page.side)
    plane.connect(CALL, page.side)
    strange = SdpSession(9, ("G722",)).create_offer(LocalMedia(HOST, 9000, 9001))
    with pytest.raises(NoCommonCodec):
        await plane.answer_offer(CALL, strange, local_address=HOST, page=page.side)
    await both_hear(page, phone)


async def test_an_offer_of_ours_in_a_running_call(plane: MediaPlane, page: TestPage, phone: SpeakingPhone) -> None:
    await phone.called(plane, page.side)
    plane.connect(CALL, page.side)
    await both_hear(page, phone)
    offer = await plane.reoffer(CALL, local_address=HOST)
    answer, ours = phone.phone.sdp.answer_offer(offer, phone.phone.local)
    assert ours.remote == phone.phone.to  # the ports stay
    await plane.accept_answer(CALL, answer)
    await both_hear(page, phone)
    assert {parse_header(one).payload_type for one in phone.packets[-20:]} == {0}
