"""kamailio with MD5 and SHA-256, and linphone as the phone: registration and again, calls both ways, hold, keys."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.sip import (
    Answered,
    Caller,
    CallEvent,
    Ended,
    Endpoint,
    EndpointSettings,
    IncomingInvite,
    RegistrationState,
    ReInvite,
    SipCall,
    SipStack,
    parse_sip_server,
)
from gateway.sip.tls import TlsSettings
from tests.support.certificates import Authority
from tests.support.kamailio import Kamailio, KamailioTls, Trunk, kamailio
from tests.support.linphone import Linphone, linphone
from tests.support.ports import LOOPBACK
from tests.support.sip_ua import quick_settings

pytestmark = pytest.mark.integration

TRUNK = Trunk("whatsapp_trunk", "incoming_user", "incomingSecret123")
USERS = {"whatsapp_trunk": "mySecurePassword123", "1000": "phone1000"}
KEYS = 101


@dataclass
class Site:
    server: Kamailio
    stack: SipStack
    endpoint: Endpoint
    calls: asyncio.Queue[IncomingInvite]
    folder: Path

    async def registered(self, times: int) -> None:
        """Wait until the registration was granted so often."""
        changed, seen = asyncio.Event(), 0
        self.endpoint.on_status = changed.set
        async with asyncio.timeout(20):
            while True:
                if self.endpoint.registration.state is RegistrationState.REGISTERED:
                    seen += 1
                    if seen >= times:
                        return
                changed.clear()
                await changed.wait()


@contextlib.asynccontextmanager
async def pbx(
    folder: Path, transport: str, algorithm: str, *, nonce_life_s: int = 300, expires_s: int = 300
) -> AsyncIterator[Site]:
    """Run a PBX, and register there."""
    own, tls = TlsSettings(), None
    if transport == "tls":
        authority = Authority(folder / "ca")
        theirs, ours = authority.issue("localhost"), authority.issue(LOOPBACK)
        tls = KamailioTls(theirs.certificate, theirs.key, authority.file)
        own = TlsSettings(str(authority.file), str(ours.certificate), str(ours.key))
    (folder / "kamailio").mkdir()
    async with kamailio(
        folder / "kamailio", users=USERS, trunk=TRUNK, reception="1000", tls=tls, algorithm=algorithm,
        nonce_life_s=nonce_life_s,
    ) as server:  # fmt: skip
        stack = SipStack(replace(quick_settings(), tls=own))
        await stack.start()
        calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
        address = f"localhost:{server.tls_port}" if transport == "tls" else server.address
        settings = EndpointSettings(
            server=parse_sip_server(f"{address};transport={transport}"), user=TRUNK.user, password=USERS[TRUNK.user],
            listen_port=0, listen_host=LOOPBACK, listen_user=TRUNK.answer_user, listen_secret=TRUNK.answer_secret,
            register_expires_s=expires_s,
        )  # fmt: skip
        try:
            endpoint = await stack.add_endpoint(settings, calls.put_nowait)
            yield Site(server, stack, endpoint, calls, folder)
        finally:
            await stack.close()


async def event(call: SipCall) -> CallEvent:
    return await asyncio.wait_for(call.next_event(), 15)


async def answered(call: SipCall) -> str:
    while not isinstance(told := await event(call), Answered):
        assert not isinstance(told, Ended)
    return told.sdp


def sdp(port: int, direction: str = "sendrecv") -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {LOOPBACK}\r\ns=-\r\nc=IN IP4 {LOOPBACK}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0 {KEYS}\r\na=rtpmap:{KEYS} telephone-event/8000\r\na=fmtp:{KEYS} 0-15\r\n"
        f"a={direction}\r\n"
    )


class Ear(asyncio.DatagramProtocol):
    """Hears RTP, and notes which keys are pressed in it."""

    def __init__(self) -> None:
        self.pressed: asyncio.Queue[int] = asyncio.Queue()
        self._last = -1

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        stamp = int.from_bytes(data[4:8], "big")
        if len(data) >= 16 and data[1] & 0x7F == KEYS and stamp != self._last:
            self._last = stamp
            self.pressed.put_nowait(data[12])


@contextlib.asynccontextmanager
async def ear() -> AsyncIterator[tuple[int, Ear]]:
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held.bind((LOOPBACK, 0))
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Ear, sock=held)
    try:
        yield held.getsockname()[1], protocol
    finally:
        transport.close()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_registers_and_registers_again_when_the_nonce_is_old(
    tmp_path: Path, transport: str, algorithm: str
) -> None:
    async with pbx(tmp_path, transport, algorithm, nonce_life_s=1, expires_s=3) as site:
        await site.registered(2)  # the second after 2.1 s, with a nonce that is stale by then
        assert site.stack.agent.counts["malformed_dropped"] == 0
        asked = site.stack.agent.counts["responses"]
        assert asked >= 4, "401 and 200, twice"


@pytest.mark.parametrize(
    ("transport", "theirs", "algorithm"),
    [("udp", "tcp", "MD5"), ("udp", "tcp", "SHA-256"), ("tcp", "udp", "SHA-256"), ("tls", "udp", "SHA-256")],
)
async def test_linphone_calls_and_is_called(tmp_path: Path, transport: str, theirs: str, algorithm: str) -> None:
    async with (
        pbx(tmp_path, transport, algorithm) as site,
        linphone(
            tmp_path / "phone", user="1000", password=USERS["1000"], registrar=site.server.address, transport=theirs
        ) as phone,
    ):
        await site.registered(1)
        await called(site, phone)
        await calls(site, phone)


async def called(site: Site, phone: Linphone) -> None:
    """Call the phone; it answers, holds and resumes, presses a key and hangs up."""
    async with ear() as (port, heard):
        call = site.endpoint.invite(user="1000", sdp=sdp(port), caller=Caller("5511999990000", "Zoë"))
        await phone.wait_state("IncomingReceived")
        await phone.command("answer")
        assert "telephone-event/8000" in await answered(call)
        await phone.wait_state("StreamsRunning")
        await phone.command("call-pause 1")
        hold = await event(call)
        assert isinstance(hold, ReInvite)
        assert "a=sendonly" in (hold.sdp or "")
        await call.answer_reinvite(hold, sdp(port, "recvonly"))
        await phone.wait_state("Paused")
        mark = len(phone.events)
        await phone.command("call-resume 1")
        resume = await event(call)
        assert isinstance(resume, ReInvite)
        assert "a=sendonly" not in (resume.sdp or "")
        await call.answer_reinvite(resume, sdp(port))
        await phone.wait_state("StreamsRunning", since=mark)
        await phone.command("dtmf 5")
        assert await asyncio.wait_for(heard.pressed.get(), 15) == 5
        await phone.command("terminate 1")
        assert isinstance(await event(call), Ended)
        await phone.wait_state("Released", since=mark)


async def calls(site: Site, phone: Linphone) -> None:
    """Let the phone call a number; we hold, resume and hang up."""
    mark = len(phone.events)
    async with ear() as (port, _):
        await phone.dial("551188887777")
        incoming = await asyncio.wait_for(site.calls.get(), 15)
        assert (incoming.request_user, incoming.caller_user) == ("551188887777", "1000")
        incoming.ringing()
        await phone.wait_state("OutgoingRinging", since=mark)
        await incoming.answer(sdp(port))
        await phone.wait_state("StreamsRunning", since=mark)
        assert "a=recvonly" in await asyncio.wait_for(incoming.reinvite(sdp(port, "sendonly")), 15)
        await phone.wait_state("PausedByRemote", since=mark)
        held = len(phone.events)
        assert "m=audio" in await asyncio.wait_for(incoming.reinvite(sdp(port)), 15)
        await phone.wait_state("StreamsRunning", since=held)
        await incoming.bye()
        await phone.wait_state("End", since=held)
