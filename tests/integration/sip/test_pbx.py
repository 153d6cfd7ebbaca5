"""Our user agent against a real PBX: kamailio with digest, baresip behind it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.protocol.sip.dialog_info import DialogView
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.outbound import Instance
from gateway.sip import (
    Answered,
    Caller,
    CallEvent,
    Ended,
    Endpoint,
    EndpointSettings,
    IncomingInvite,
    Refer,
    RegistrationState,
    Ringing,
    SipCall,
    SipServer,
    SipStack,
    parse_sip_server,
)
from gateway.sip.tls import TlsSettings
from tests.support.baresip import Baresip, baresip
from tests.support.certificates import Authority
from tests.support.kamailio import Kamailio, KamailioTls, Trunk, kamailio
from tests.support.sip_ua import OFFER, quick_settings
from tests.support.sip_watcher import lamp, until_watched

pytestmark = pytest.mark.integration

TRUNK = Trunk("whatsapp_trunk", "incoming_user", "incomingSecret123")
USERS = {"whatsapp_trunk": "mySecurePassword123", "1000": "phone1000", "1001": "phone1001"}


INSTANCE = Instance("urn:uuid:7e6a4d2c-0000-5000-8000-000000000001")


@dataclass
class Site:
    server: Kamailio
    stack: SipStack
    endpoint: Endpoint
    calls: asyncio.Queue[IncomingInvite]
    folder: Path

    async def wait(self, state: RegistrationState) -> None:
        changed = asyncio.Event()
        self.endpoint.on_status = changed.set
        async with asyncio.timeout(10):
            while self.endpoint.registration.state is not state:
                changed.clear()
                await changed.wait()


def settings(server: Kamailio, transport: str, password: str = USERS["whatsapp_trunk"]) -> EndpointSettings:
    address = f"localhost:{server.tls_port}" if transport == "tls" else server.address
    return EndpointSettings(
        server=parse_sip_server(f"{address};transport={transport}"), user=TRUNK.user, password=password,
        listen_port=0, listen_host="127.0.0.1", listen_user=TRUNK.answer_user, listen_secret=TRUNK.answer_secret,
        instance=INSTANCE,
    )  # fmt: skip


@pytest.fixture(params=["udp", "tcp", "tls", "tls with a listener"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """Give a PBX and our registration there.

    Over TLS both show certificates. Without a listener of ours the PBX calls by the connection that we opened.
    """
    transport, _, feature = request.param.partition(" with ")
    listener, gruu = feature == "a listener", feature == "GRUU"
    own, tls = None, None
    if transport == "tls":
        authority = Authority(tmp_path / "ca")
        pbx, ours = authority.issue("localhost"), authority.issue("127.0.0.1")
        tls = KamailioTls(pbx.certificate, pbx.key, authority.file, aliases=not listener)
        own = TlsSettings(str(authority.file), str(ours.certificate), str(ours.key), verify_clients=True)
    stack_settings = quick_settings(limits=CoreLimits(session_expires_s=2, min_se_s=2))
    if own is not None:
        stack_settings = replace(
            stack_settings, tls=own, tls_port=0 if listener else None, shared_host="127.0.0.1"
        )  # fmt: skip
    async with kamailio(
        tmp_path / "kamailio", users=USERS, trunk=TRUNK, reception="1000", tls=tls, gruu=gruu
    ) as server:
        stack = SipStack(stack_settings)
        await stack.start()
        calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
        try:
            endpoint = await stack.add_endpoint(settings(server, transport), calls.put_nowait)
            yield Site(server, stack, endpoint, calls, tmp_path)
        finally:
            await stack.close()


async def event(call: SipCall) -> CallEvent:
    return await asyncio.wait_for(call.next_event(), 10)


async def test_registers_calls_and_is_called(site: Site) -> None:
    await site.wait(RegistrationState.REGISTERED)
    assert site.endpoint.registration.expires_s > 0
    await site.endpoint.probe(3)
    async with baresip(
        site.folder / "phone", user="1000", password=USERS["1000"], registrar=site.server.address
    ) as phone:
        await called_by_whatsapp(site, phone)
        await calls_whatsapp(site, phone)


async def called_by_whatsapp(site: Site, phone: Baresip) -> None:
    call = site.endpoint.invite(user="1000", sdp=OFFER, caller=Caller("5511999990000", "Zoë"))
    while not isinstance(told := await event(call), Answered):
        pass
    assert "m=audio" in told.sdp
    await call.bye()
    closed = await phone.wait_event("CALL_CLOSED")
    assert "5511999990000" in str(closed.detail)


async def calls_whatsapp(site: Site, phone: Baresip) -> None:
    mark = phone.mark()
    await phone.dial("551188887777")
    incoming = await asyncio.wait_for(site.calls.get(), 10)
    assert incoming.request_user == "551188887777"
    assert incoming.caller_user == "1000"
    incoming.ringing()
    await phone.wait_event("CALL_RINGING", since=mark)
    await incoming.answer(OFFER)
    await phone.wait_event("CALL_ESTABLISHED", since=mark)
    for port in site.stack._shared.values():
        assert port._live, "the PBX called our listener"
    await phone.hang_up()
    assert isinstance(await event(incoming), Ended)


async def test_refused_then_mended_then_withdrawn(site: Site) -> None:
    server = site.endpoint.settings.server
    assert isinstance(server, SipServer)
    await site.endpoint.update(settings(site.server, str(server.transport), "falsch"))
    await site.wait(RegistrationState.REFUSED)
    assert "sipPass" in site.endpoint.registration.detail
    await site.endpoint.update(settings(site.server, str(server.transport)))
    await site.wait(RegistrationState.REGISTERED)
    site.endpoint.set_available(False, "WhatsApp Web is not ready")
    await site.wait(RegistrationState.DISABLED)
    site.endpoint.set_available(True)
    await site.wait(RegistrationState.REGISTERED)


@pytest.mark.parametrize("site", ["udp", "tls"], indirect=True)
async def test_a_phone_transfers_the_call_to_another(site: Site) -> None:
    """REFER and NOTIFY between a real phone and us through the PBX, which also routes the new INVITE."""
    await site.wait(RegistrationState.REGISTERED)
    pbx = site.server.address
    async with (
        baresip(site.folder / "first", user="1000", password=USERS["1000"], registrar=pbx) as first,
        baresip(site.folder / "second", user="1001", password=USERS["1001"], registrar=pbx) as second,
    ):
        call = site.endpoint.invite(user="1000", sdp=OFFER, caller=Caller("5511999990000", "Zoë"))
        while not isinstance(await event(call), Answered):
            pass
        await first.command("transfer", f"sip:1001@{pbx}")
        while not isinstance(refer := await event(call), Refer):
            pass
        moved = site.endpoint.invite(uri=refer.uri, sdp=OFFER, caller=Caller("5511999990000", "Zoë"))
        while not isinstance(told := await event(moved), Answered):
            assert isinstance(told, Ringing)
            call.refer_progress(refer, told.status)
        call.refer_progress(refer, 200)
        assert isinstance(await event(call), Ended)  # the phone takes its leave by itself
        assert "5511999990000" in str((await second.wait_event("CALL_ESTABLISHED")).detail)
        await moved.bye()
        await second.wait_event("CALL_CLOSED")


@pytest.mark.parametrize("site", ["udp", "tls"], indirect=True)
async def test_a_phone_that_dies_is_noticed(site: Site) -> None:
    """The phone has no session timers: OPTIONS go through the PBX, which answers for it when it is gone."""
    await site.wait(RegistrationState.REGISTERED)
    async with baresip(
        site.folder / "phone", user="1000", password=USERS["1000"], registrar=site.server.address
    ) as phone:
        call = site.endpoint.invite(user="1000", sdp=OFFER, caller=Caller("5511999990000", "Zoë"))
        while not isinstance(await event(call), Answered):
            pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call.next_event(), 2.5)  # twice asked, twice answered
        phone.process.signal(signal.SIGKILL)
        ended = await event(call)
        assert isinstance(ended, Ended)
        assert ended.reason is not None
        assert ended.reason.cause in {408, 481}


@pytest.mark.parametrize("site", ["udp", "tcp"], indirect=True)
async def test_a_phone_watches_the_account_through_the_pbx(site: Site) -> None:
    """The PBX answers our challenge; NOTIFYs and refreshes go by its Record-Route."""
    await site.wait(RegistrationState.REGISTERED)
    async with lamp(site.server.port, watched=TRUNK.user) as phone:
        await phone.until("terminated")
        for state in ("early", "confirmed", "terminated"):
            await until_watched(site.stack)  # of states that come faster only the newest is told
            site.endpoint.show_dialogs((DialogView("c1", state, "recipient"),))
            await phone.until(state)
        told = len(phone.documents)
        phone.subscribe()
        await phone.until("terminated", documents=told + 1)
        assert site.stack.agent.watchers == 1
        phone.subscribe(expires_s=0)
        await phone.until("terminated", documents=told + 2)
        assert site.stack.agent.watchers == 0


@pytest.mark.parametrize("site", ["tcp with GRUU"], indirect=True)
async def test_the_pbx_gives_a_gruu_where_it_is_asked_for(site: Site) -> None:
    await site.wait(RegistrationState.REGISTERED)
    assert site.endpoint._binding.gruu == ""
    await site.endpoint.update(replace(site.endpoint.settings, instance=replace(INSTANCE, gruu=True)))
    await site.wait(RegistrationState.REGISTERED)
    assert site.endpoint._binding.gruu.startswith(f"sip:{TRUNK.user}@")
    assert ";gr=" in site.endpoint._binding.gruu
