"""What Asterisk (chan_pjsip) and FreeSWITCH (mod_sofia) say with the configurations of docs/pbx.md, by SIPp.

The bridge and the media plane are real; the page is played. Both PBXes were not run: the scenarios have the form of
their messages, and check our answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sip import RegistrationState
from tests.bench.called import Called, called
from tests.integration.sip.calling import run_call_from_whatsapp, towards
from tests.support.sip_sipp import start_sipp

pytestmark = pytest.mark.integration


@pytest.fixture
async def ponte() -> AsyncIterator[Called]:
    async with called(bridged=True) as one:
        yield one


@pytest.mark.parametrize("scenario", ["asterisk_calls", "freeswitch_calls"])
async def test_the_pbx_calls_whatsapp(ponte: Called, tmp_path: Path, scenario: str) -> None:
    sipp = await start_sipp(tmp_path, scenario, remote=ponte.port)
    await sipp.wait()
    await ponte.until(lambda now: now.ended == 1)
    assert (ponte.live, ponte.faults) == (0, [])


@pytest.mark.parametrize("scenario", ["asterisk_called", "freeswitch_called"])
async def test_whatsapp_calls_the_pbx(ponte: Called, tmp_path: Path, scenario: str) -> None:
    sipp = await start_sipp(tmp_path, scenario)
    assert await run_call_from_whatsapp(ponte, sipp.port) == ["accept", "hangup"]
    await sipp.wait()


@pytest.mark.parametrize(("scenario", "granted_s"), [("asterisk_registrar", 240), ("freeswitch_registrar", 180)])
async def test_registers_with_the_pbx(ponte: Called, tmp_path: Path, scenario: str, granted_s: int) -> None:
    sipp = await start_sipp(tmp_path, scenario)
    endpoint = await towards(ponte, sipp.port, registers=True)
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
