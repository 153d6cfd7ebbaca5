"""What is particular to the plane of an rtpengine, with Debian's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import aioice.ice
import pytest

from gateway.domain.codecs import OPUS
from gateway.domain.errors import LocalProtocolError, Unavailable
from gateway.domain.ids import CallId
from gateway.media.page_side import LegState
from gateway.media.plane import PLANE_LOST
from gateway.media.router import PacketRouter
from gateway.media.rtpengine.client import NgClient
from gateway.media.rtpengine.page import PageLimits
from gateway.media.rtpengine.plane import RtpenginePlane
from gateway.protocol.ng import CallUnknown, MediaServerRefused, NgTiming
from gateway.protocol.rtcp import ReceiverReport, SourceDescription, build_compound
from gateway.protocol.rtp import parse_header
from tests.integration.media.planes import (
    CALL,
    a_phone,
    at_rtpengine,
    both_hear,
    is_quiet,
    page_of,
    until,
    without_payload_type,
)
from tests.integration.media.test_router import HOST
from tests.support.ports import free_ports
from tests.support.rtpengine import INSTALLED, NOT_INSTALLED, Rtpengine, rtpengine

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not INSTALLED, reason=NOT_INSTALLED)]


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [HOST])


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Rtpengine]:
    async with rtpengine(tmp_path) as engine:
        yield engine


def opus_only(sdp: str) -> str:
    """An offer to a page that knows nothing else."""
    for number in (0, 8, 9):
        sdp = without_payload_type(sdp, number)
    return sdp


async def calls_of(plane: RtpenginePlane) -> list[str]:
    """Names of the calls that rtpengine has."""
    found = (await plane.client.request("list"))["calls"]
    assert isinstance(found, list)
    return [str(one) for one in found]


async def test_a_daemon_that_dies_in_a_call_is_told_and_the_next_call_goes(engine: Rtpengine, tmp_path: Path) -> None:
    async with at_rtpengine(engine) as plane, page_of(plane) as page, a_phone() as phone:
        states: list[LegState] = []
        page.legs[-1].on_state = states.append
        lost: list[str] = []
        await phone.calls(plane, page.side)
        plane.connect(CALL, page.side, on_lost=lost.append)
        await both_hear(page, phone)
        await engine.kill()
        await until(lambda: bool(lost))
        assert lost == [PLANE_LOST]
        assert states == [LegState.FAILED]
        with pytest.raises(Unavailable, match="rtpengine at 127"):
            await plane.check()
        with pytest.raises(Unavailable):
            await plane.create_offer(CallId("refused"), local_address=HOST, page=page.side)
        assert (await plane.delete(CALL)).sip_to_wa.packets > 0  # the last figures
        page.side.use(None)
        await page.legs[-1].close()
        with pytest.raises(Unavailable):
            await page.side.new_leg().offer()

        async with rtpengine(tmp_path, like=engine):
            await until(lambda: plane.client.up)
            await plane.check()
            await page.connect()
            async with a_phone() as second:
                await second.calls(plane, page.side)
                plane.connect(CALL, page.side)
                await both_hear(page, second)


async def test_a_daemon_that_was_restarted_quickly_has_lost_the_calls(engine: Rtpengine, tmp_path: Path) -> None:
    planes = at_rtpengine(engine, lambda s: replace(s, lost_after_s=60.0))
    async with planes as plane, page_of(plane) as page, a_phone() as phone:
        lost: list[str] = []
        await phone.calls(plane, page.side)
        plane.connect(CALL, page.side, on_lost=lost.append)
        await both_hear(page, phone)
        await engine.kill()
        async with rtpengine(tmp_path, like=engine):
            await until(lambda: bool(lost))
            assert lost == [PLANE_LOST]
            assert page.legs[-1].state is LegState.FAILED
            await plane.delete(CALL)


async def test_nothing_stays_behind_at_the_daemon(engine: Rtpengine) -> None:
    async with at_rtpengine(engine) as plane:
        async with page_of(plane) as page, a_phone() as phone:
            await phone.calls(plane, page.side)
            await plane.create_offer(CallId("ringing"), local_address=HOST, page=page.side)
            assert len(await calls_of(plane)) == 1  # all of a page is one call
            await plane.delete(CallId("ringing"))
            await plane.delete(CALL)
        await until(lambda: not page.side.connected)
        assert await calls_of(plane) == []


async def test_a_pages_leg_is_made_anew_after_some_calls(engine: Rtpengine) -> None:
    async with at_rtpengine(engine, lambda s: replace(s, limits=PageLimits(calls=2))) as plane, page_of(plane) as page:
        for n in range(2):
            async with a_phone() as phone:
                assert page.legs[-1].state is LegState.CONNECTED
                await phone.calls(plane, page.side, CallId(str(n)))
                plane.connect(CallId(str(n)), page.side)
                await both_hear(page, phone)
                await plane.delete(CallId(str(n)))
        assert page.legs[-1].state is LegState.CLOSED
        page.side.use(None)
        await page.legs[-1].close()
        await page.connect()
        async with a_phone() as phone:
            await phone.calls(plane, page.side)
            plane.connect(CALL, page.side)
            await both_hear(page, phone)


async def test_the_page_is_connected_anew_with_the_number_that_a_peer_has_for_opus(engine: Rtpengine) -> None:
    planes = at_rtpengine(engine, lambda s: replace(s, codecs=("opus",)))
    async with planes as plane, page_of(plane, change=opus_only) as page, a_phone(codecs=("opus",)) as phone:
        phone.speaks = False  # this phone speaks G.711 alone
        phone.phone.sdp.use_numbers({"opus": 96})
        negotiated = await phone.calls(plane, page.side)
        assert (negotiated.codec, negotiated.payload_type) == ("opus", 96)
        plane.connect(CALL, page.side)
        await until(lambda: page.legs[-1].state is LegState.CLOSED)
        page.side.use(None)
        await page.legs[-1].close()
        await page.connect()
        await until(lambda: len(phone.packets) > 5)
        assert {parse_header(one).payload_type for one in phone.packets} == {96}
        await plane.delete(CALL)
        offer = await plane.create_offer(CallId("next"), local_address=HOST, page=page.side)
        assert f"a=rtpmap:96 {OPUS.rtpmap}" in offer


async def test_a_codec_that_the_page_does_not_speak_is_made_from_one_that_it_speaks(engine: Rtpengine) -> None:
    def no_pcma(sdp: str) -> str:
        return without_payload_type(sdp, 8)

    async with (
        at_rtpengine(engine) as plane,
        page_of(plane, change=no_pcma) as page,
        a_phone(codecs=("PCMA",)) as phone,
    ):
        assert (await phone.calls(plane, page.side)).codec == "PCMA"
        plane.connect(CALL, page.side)
        await both_hear(page, phone)
        assert {parse_header(one).payload_type for one in phone.packets[-20:]} == {8}


async def test_a_page_without_a_call_may_be_silent(engine: Rtpengine) -> None:
    limits = PageLimits(silent_s=0.3)
    async with at_rtpengine(engine, lambda s: replace(s, limits=limits)) as plane, page_of(plane) as page:
        page.peer.connection.getSenders()[0].replaceTrack(None)
        await asyncio.sleep(1.2)  # several looks
        assert page.legs[-1].state is LegState.CONNECTED
        async with a_phone() as phone:
            await phone.calls(plane, page.side)
            plane.connect(CALL, page.side)
            await until(lambda: page.legs[-1].state is LegState.FAILED)


async def test_opus_is_silenced_by_sending_nothing(engine: Rtpengine) -> None:
    planes = at_rtpengine(engine, lambda s: replace(s, codecs=("opus",)))
    async with planes as plane, page_of(plane, change=opus_only) as page, a_phone(codecs=("opus",)) as phone:
        phone.speaks = False  # this phone speaks G.711 alone
        await phone.calls(plane, page.side)
        plane.connect(CALL, page.side)
        await until(lambda: len(phone.packets) > 5)
        assert {parse_header(one).payload_type for one in phone.packets} == {111}
        plane.silence(CALL, wa_to_sip=True, sip_to_wa=False)
        assert await is_quiet(lambda: len(phone.packets))
        plane.silence(CALL, wa_to_sip=False, sip_to_wa=False)
        heard = len(phone.packets)
        await until(lambda: len(phone.packets) > heard + 5)


async def test_reports_of_the_phone_are_seen(engine: Rtpengine) -> None:
    async with at_rtpengine(engine) as plane, page_of(plane) as page, a_phone() as phone:
        await phone.calls(plane, page.side)
        plane.connect(CALL, page.side)
        await both_hear(page, phone)
        assert plane.query(CALL).last_rtcp_s is None
        phone.phone.report(build_compound([ReceiverReport(77), SourceDescription(((77, "phone"),))]))
        await until(lambda: plane.query(CALL).last_rtcp_s is not None)
        await until(lambda: plane.query(CALL).wa_to_sip.packets > 10)


async def test_refusals_are_told_apart(engine: Rtpengine) -> None:
    client = NgClient(HOST, engine.port, ping_s=0.2)
    async with client.running():
        await until(lambda: client.up)
        with pytest.raises(CallUnknown):
            await client.request("query", call_id="nobody")
        with pytest.raises(CallUnknown):
            await client.request("delete", call_id="nobody", from_tag="x")
        with pytest.raises(MediaServerRefused, match="Unrecognized command"):
            await client.request("dance")


async def test_where_nobody_listens_a_sentence_says_so() -> None:
    client = NgClient("localhost", free_ports(), ping_s=0.1, timing=NgTiming(0.05, 0.1, 0.3))
    with pytest.raises(Unavailable, match="does not answer"):
        await client.ping()
    with pytest.raises(Unavailable, match="rtpengine at localhost port"):
        await client.request("list")
    client.close()


async def test_who_asks_when_all_is_over_does_not_wait_for_ever() -> None:
    class Engine(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            self.transport.sendto(data.partition(b" ")[0] + b" d6:result4:ponge", address)

    loop = asyncio.get_running_loop()
    engine, _ = await loop.create_datagram_endpoint(Engine, local_addr=("127.0.0.1", 0))
    client = NgClient("127.0.0.1", engine.get_extra_info("sockname")[1])
    async with client.running():
        await client.ping()
        assert await client.request("list") == {"result": "pong"}
    with pytest.raises(Unavailable, match="no connection"):
        await asyncio.wait_for(client.request("list"), 5)
    engine.close()
    await asyncio.sleep(0)


async def test_a_name_that_does_not_resolve_is_a_sentence_too() -> None:
    client = NgClient("no-such-host.invalid", 22222)
    with pytest.raises(Unavailable, match=r"no-such-host\.invalid cannot be reached"):
        await client.ping()


async def test_two_planes_are_not_mixed(engine: Rtpengine) -> None:
    async with at_rtpengine(engine) as plane, page_of(plane) as page, a_phone() as phone:
        await phone.calls(plane, page.side)
        with pytest.raises(LocalProtocolError):
            plane.connect(CALL, PacketRouter().page_side())
        with contextlib.suppress(LocalProtocolError):
            await plane.create_offer(CallId("x"), local_address=HOST)
            pytest.fail("a call without a page")
