"""The PBX side alone: what the demo and the end-to-end tests stand on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.pbx.sipp import (
    Sipp,
    calling_scenario,
    challenging_scenario,
    register_scenario,
    run_sipp,
    settle,
    sipp,
)
from tests.support.audio import level_dbfs, read_wav, sine, tone_hz, write_wav
from tests.support.baresip import SAMPLE_RATE_HZ, Baresip, baresip
from tests.support.kamailio import Kamailio, Trunk, kamailio
from tests.support.ports import free_ports
from tests.support.processes import ProcessFailed

pytestmark = pytest.mark.integration

TRUNK = Trunk("whatsapp_trunk", "incoming_user", "incomingSecret123")
USERS = {"whatsapp_trunk": "mySecurePassword123", "1000": "phone1000", "1001": "phone1001"}


@dataclass(frozen=True, slots=True)
class Pbx:
    server: Kamailio
    phone: Baresip
    folder: Path


@pytest.fixture
async def pbx(tmp_path: Path) -> AsyncIterator[Pbx]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            kamailio(tmp_path / "kamailio", users=USERS, trunk=TRUNK, reception="1000")
        )
        phone = await stack.enter_async_context(
            baresip(tmp_path / "phone", user="1000", password=USERS["1000"], registrar=server.address)
        )
        yield Pbx(server, phone, tmp_path)


@contextlib.asynccontextmanager
async def registered_trunk(pbx: Pbx, secret: str, *, hang_up: bool = False) -> AsyncIterator[Sipp]:
    """SIPp registered as the trunk and waiting for a call."""
    port = free_ports(4)
    media_port = port + 2
    registering = register_scenario(TRUNK.user, USERS[TRUNK.user])
    remote = pbx.server.address
    assert await run_sipp(pbx.folder / "registering", registering, remote=remote, port=port, media_port=media_port)
    challenging = challenging_scenario(TRUNK.answer_user, secret, hang_up=hang_up)
    async with sipp(pbx.folder / "challenging", challenging, remote=remote, port=port, media_port=media_port) as trunk:
        await settle()
        yield trunk


def cseqs(messages: Path) -> list[tuple[str, int]]:
    """Method and CSeq of each request in SIPp's log, repetitions left out."""
    found = re.findall(r"^(?:(INVITE|ACK|BYE) sip:\S+ SIP/2\.0)$.*?^CSeq: (\d+)", messages.read_text(), re.M | re.S)
    return list(dict.fromkeys((method, int(number)) for method, number in found))


async def test_two_phones_hear_each_other(pbx: Pbx) -> None:
    async with baresip(
        pbx.folder / "second", user="1001", password=USERS["1001"], registrar=pbx.server.address
    ) as second:
        for phone, hz in ((pbx.phone, 440.0), (second, 1000.0)):
            write_wav(pbx.folder / "tone.wav", sine(hz, -12, 30, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
            phone.play(pbx.folder / "tone.wav")
        await pbx.phone.dial("1001")
        await second.wait_event("CALL_ESTABLISHED")
        established = await pbx.phone.wait_event("CALL_ESTABLISHED")
        await pbx.phone.wait_event("CALL_RTPESTAB")
        await settle()
        await settle()
        mark = pbx.phone.mark()
        await second.hang_up()
        closed = await pbx.phone.wait_event("CALL_CLOSED", since=mark)
        await second.wait_event("CALL_CLOSED")
        assert closed.at_s > established.at_s
        for phone, hz in ((pbx.phone, 1000.0), (second, 440.0)):
            heard, rate_hz = read_wav(phone.recorded()[-1])
            assert rate_hz == SAMPLE_RATE_HZ
            middle = heard[len(heard) // 4 : -len(heard) // 4]
            assert tone_hz(middle, rate_hz) == pytest.approx(hz, abs=0.5)
            assert level_dbfs(middle) == pytest.approx(-12, abs=0.3)


async def test_call_from_the_trunk_reaches_the_extension(pbx: Pbx) -> None:
    scenario = calling_scenario(TRUNK.user, USERS[TRUNK.user], "1000")
    first = free_ports(4)
    assert await run_sipp(pbx.folder / "sipp", scenario, remote=pbx.server.address, port=first, media_port=first + 2), (
        pbx.folder / "sipp" / "messages.log"
    ).read_text()
    await pbx.phone.wait_event("CALL_ESTABLISHED")
    await pbx.phone.wait_event("CALL_CLOSED")


async def test_call_from_the_trunk_to_an_unknown_number_reaches_the_reception(pbx: Pbx) -> None:
    scenario = calling_scenario(TRUNK.user, USERS[TRUNK.user], "5511999990000")
    first = free_ports(4)
    assert await run_sipp(pbx.folder / "sipp", scenario, remote=pbx.server.address, port=first, media_port=first + 2)
    await pbx.phone.wait_event("CALL_ESTABLISHED")


async def test_wrong_password_of_the_trunk_rings_nobody(pbx: Pbx) -> None:
    scenario = calling_scenario(TRUNK.user, "wrong", "1000")
    port = free_ports(4)
    here = {"port": port, "media_port": port + 2, "limit_s": 2}
    assert not await run_sipp(pbx.folder / "sipp", scenario, remote=pbx.server.address, **here)
    assert not [event for event in pbx.phone.events if event.type.startswith("CALL_")]


@pytest.mark.parametrize("hung_up_by", ["phone", "trunk"])
async def test_the_pbx_answers_the_challenge_of_the_trunk(pbx: Pbx, hung_up_by: str) -> None:
    async with registered_trunk(pbx, TRUNK.answer_secret, hang_up=hung_up_by == "trunk") as trunk:
        await pbx.phone.dial("+5511988887777")
        await pbx.phone.wait_event("CALL_ESTABLISHED")
        if hung_up_by == "phone":
            await pbx.phone.hang_up()
        await pbx.phone.wait_event("CALL_CLOSED")
        assert await trunk.succeeded(timeout_s=10), trunk.messages.read_text()
    assert "INVITE sip:+5511988887777@127.0.0.1" in trunk.messages.read_text()
    seen = cseqs(trunk.messages)
    # RFC 3261, 22.2: a request with credentials is a new one with its own number; all that follows goes on from there.
    (_, challenged), (_, refused), (_, admitted), (_, confirmed), (_, ended) = seen
    assert [method for method, _ in seen] == ["INVITE", "ACK", "INVITE", "ACK", "BYE"]
    assert refused == challenged
    assert admitted == challenged + 1
    assert confirmed == admitted
    assert ended == (admitted + 1 if hung_up_by == "phone" else 1)


async def test_wrong_secret_for_the_trunk_is_told_to_the_phone(pbx: Pbx) -> None:
    async with registered_trunk(pbx, "another"):
        await pbx.phone.dial("5511988887777")
        closed = await pbx.phone.wait_event("CALL_CLOSED")
        assert "403" in str(closed.detail["param"])


async def test_a_number_without_a_registered_trunk_is_refused_at_once(pbx: Pbx) -> None:
    await pbx.phone.dial("5511988887777")
    closed = await pbx.phone.wait_event("CALL_CLOSED")
    assert "503" in str(closed.detail["param"])


async def test_wrong_password_does_not_register(pbx: Pbx) -> None:
    with pytest.raises(ProcessFailed):
        async with baresip(
            pbx.folder / "second", user="1001", password="wrong", registrar=pbx.server.address, register_timeout_s=1
        ):
            pass
