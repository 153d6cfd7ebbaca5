"""What Asterisk (chan_pjsip) and FreeSWITCH (mod_sofia) say with the configurations of docs/pbx.md, by SIPp.

The bridge and the media plane are real; the page is played. Both PBXes were not run: the scenarios have the form of
their messages, and check our answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.bridge.call import Call, CallLimits
from gateway.bridge.call_media import CallMedia
from gateway.bridge.flows import whatsapp_to_sip
from gateway.domain.ids import AccountId, new_call_id
from gateway.domain.states import Direction
from gateway.domain.termination import HANGUP
from gateway.media.router import PacketRouter
from gateway.protocol.sip.digest import DigestClient
from gateway.sip import Endpoint, EndpointSettings, RegistrationState, SipServer
from tests.bench.called import Called, called
from tests.integration.bridge.rig import PlayedCall, PlayedPage, PlayedPort
from tests.support.sip_sipp import start_sipp

pytestmark = pytest.mark.integration


@pytest.fixture
async def ponte() -> AsyncIterator[Called]:
    async with called(bridged=True) as one:
        yield one


async def towards(ponte: Called, port: int, *, user: str = "") -> Endpoint:
    """An endpoint whose server is SIPp."""
    settings = EndpointSettings(
        server=SipServer("127.0.0.1", port, "udp"), user=user, password="mySecurePassword123", listen_port=0,
        listen_host="127.0.0.1",
    )  # fmt: skip
    return await ponte.stack.add_endpoint(settings, ponte.take)


@pytest.mark.parametrize("scenario", ["asterisk_calls", "freeswitch_calls"])
async def test_the_pbx_calls_whatsapp(ponte: Called, tmp_path: Path, scenario: str) -> None:
    sipp = await start_sipp(tmp_path, scenario, remote=ponte.port)
    await sipp.wait()
    await ponte.until(lambda now: now.ended == 1)
    assert (ponte.live, ponte.faults) == (0, [])


@pytest.mark.parametrize("scenario", ["asterisk_called", "freeswitch_called"])
async def test_whatsapp_calls_the_pbx(ponte: Called, tmp_path: Path, scenario: str) -> None:
    sipp = await start_sipp(tmp_path, scenario)
    endpoint = await towards(ponte, sipp.port)
    # credentials without a registration, which has a scenario of its own
    endpoint._auth = DigestClient("whatsapp_trunk", "mySecurePassword123", ponte.stack.token)
    assert isinstance(ponte.plane, PacketRouter)
    incoming, call_id = PlayedCall(outgoing=False), new_call_id()
    media = CallMedia(call_id, ponte.plane, PlayedPage(), PlayedPort())
    limits = CallLimits(ring_timeout_s=20, accept_timeout_s=20, close_timeout_s=20)
    call = Call(call_id, AccountId("a"), Direction.WHATSAPP_TO_SIP, media, limits, lambda _: None)
    assert await call.run(lambda one: whatsapp_to_sip(one, incoming, endpoint, "1000")) == HANGUP
    assert incoming.told == ["accept", "hangup"]
    await sipp.wait()


@pytest.mark.parametrize(("scenario", "granted_s"), [("asterisk_registrar", 240), ("freeswitch_registrar", 180)])
async def test_registers_with_the_pbx(ponte: Called, tmp_path: Path, scenario: str, granted_s: int) -> None:
    sipp = await start_sipp(tmp_path, scenario)
    endpoint = await towards(ponte, sipp.port, user="whatsapp_trunk")
    changed = asyncio.Event()
    endpoint.on_status = changed.set
    async with asyncio.timeout(15):
        while endpoint.registration.state is not RegistrationState.REGISTERED:
            changed.clear()
            await changed.wait()
    assert endpoint.registration.expires_s == granted_s
    await sipp.wait()


@pytest.mark.parametrize("scenario", ["asterisk_qualify", "freeswitch_ping"])
async def test_the_pbx_asks_whether_we_are_there(ponte: Called, tmp_path: Path, scenario: str) -> None:
    await (await start_sipp(tmp_path, scenario, remote=ponte.port)).wait()


async def test_the_pbx_is_told_when_no_call_can_be_taken(ponte: Called, tmp_path: Path) -> None:
    ponte.endpoint.set_available(False, "Chrome is gone")
    await (await start_sipp(tmp_path, "asterisk_qualify_503", remote=ponte.port)).wait()
