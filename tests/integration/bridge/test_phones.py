"""Incoming WhatsApp calls for phones that registered with us: real SIP on loopback, a page that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.bridge.call import Call, CallLimits
from gateway.bridge.call_media import CallMedia
from gateway.bridge.phones import click_to_phones, whatsapp_to_phones
from gateway.domain import termination as t
from gateway.domain.ids import AccountId, new_call_id
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.domain.states import CallState, Direction
from gateway.domain.termination import Termination
from gateway.media.router import PacketRouter
from gateway.protocol.sip.events import Cancelled, Ended
from gateway.sip import Endpoint, EndpointSettings, IncomingInvite, SipServer, SipStack
from tests.integration.bridge.rig import IMPATIENT, LIMITS, PlayedCall, PlayedPage, PlayedPort, phone_sdp
from tests.support.baresip import PORTS_NEEDED, baresip
from tests.support.ports import free_ports
from tests.support.sip_ua import quick_settings

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"


@dataclass
class Phone:
    """A SIP phone that registers with the gateway; Ponte's own user agent."""

    endpoint: Endpoint
    calls: asyncio.Queue[IncomingInvite]

    async def rings(self) -> IncomingInvite:
        return await asyncio.wait_for(self.calls.get(), 5)


@dataclass
class House:
    """A gateway's SIP side with one account, and what makes phones."""

    stack: SipStack
    account: Endpoint
    phones_stack: SipStack
    plane: PacketRouter
    tasks: asyncio.TaskGroup
    page: PlayedPage = field(default_factory=PlayedPage)
    limits: CallLimits = LIMITS

    async def phone(self, name: str, transport: str = "udp", password: str = "geheim") -> Phone:
        calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
        server = SipServer(HOST, self.account.listener.port, transport)
        settings = EndpointSettings(
            server=server, user="alice", password=password, listen_port=0, listen_host=HOST, contact_user=name
        )
        return Phone(await self.phones_stack.add_endpoint(settings, calls.put_nowait), calls)

    async def registered(self, count: int) -> None:
        await until(lambda: len(self.account.phones) == count)

    def call(self, direction: Direction) -> Call:
        call_id = new_call_id()
        media = CallMedia(call_id, self.plane, self.page, PlayedPort())
        return Call(call_id, AccountId("a"), direction, media, self.limits, on_change=lambda _: None)

    def rings(self) -> tuple[PlayedCall, asyncio.Task[Termination], Call]:
        incoming, call = PlayedCall(outgoing=False), self.call(Direction.WHATSAPP_TO_SIP)
        phones = self.account.phones
        flow = call.run(lambda one: whatsapp_to_phones(one, incoming, self.account, phones))
        return incoming, self.tasks.create_task(flow), call


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(8):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[House]:
    stack, phones = SipStack(quick_settings()), SipStack(quick_settings())
    await stack.start()
    await phones.start()
    plane = PacketRouter(port_range=(39_000, 39_399), port_rest_s=0.0)
    try:
        account = await stack.add_endpoint(
            EndpointSettings(listen_port=0, listen_host=HOST, listen_user="alice", listen_secret="geheim"),
            lambda invite: invite.reject(603),
        )
        async with asyncio.TaskGroup() as tasks:
            yield House(stack, account, phones, plane, tasks)
    finally:
        await phones.close()
        await stack.close()
        await plane.close()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with opened() as house:
        yield house


async def test_all_phones_ring_and_the_first_that_answers_has_the_call(house: House) -> None:
    one, two = await house.phone("one"), await house.phone("two", "tcp")
    await house.registered(2)
    incoming, ended, call = house.rings()
    first, second = await one.rings(), await two.rings()
    assert first.caller_user == second.caller_user == "5511987654321"
    first.ringing()
    second.ringing()
    await until(lambda: call.state is CallState.RINGING)
    await second.answer(phone_sdp())
    event = await asyncio.wait_for(first.next_event(), 5)
    assert isinstance(event, Cancelled)
    assert event.reason is not None
    assert (event.reason.protocol, event.reason.cause, event.reason.text.lower()) == (
        "SIP", 200, "call completed elsewhere",
    )  # fmt: skip
    await until(lambda: call.state is CallState.ACTIVE)
    assert incoming.told == ["accept"]
    assert house.page.media == ["start PCMU"]
    await second.bye()
    assert (await asyncio.wait_for(ended, 5)) is t.HANGUP
    assert incoming.told == ["accept", "hangup"]


async def test_who_declines_does_not_stop_the_others_but_all_of_them_do(house: House) -> None:
    one, two = await house.phone("one"), await house.phone("two")
    await house.registered(2)
    incoming, ended, _ = house.rings()
    (await one.rings()).reject(480)
    second = await two.rings()
    second.ringing()
    assert not ended.done()
    second.reject(486)
    assert (await asyncio.wait_for(ended, 5)).reason == "busy"
    assert incoming.told == ["reject"]


async def test_a_decline_for_everybody_stops_all(house: House) -> None:
    one, two = await house.phone("one"), await house.phone("two")
    await house.registered(2)
    _, ended, _ = house.rings()
    other = await two.rings()
    other.ringing()
    (await one.rings()).reject(603)
    assert isinstance(await asyncio.wait_for(other.next_event(), 5), Cancelled)
    assert (await asyncio.wait_for(ended, 5)).reason == "declined"


async def test_a_caller_who_gives_up_stops_all(house: House) -> None:
    one, two = await house.phone("one"), await house.phone("two")
    await house.registered(2)
    incoming, ended, _ = house.rings()
    invites = [await one.rings(), await two.rings()]
    for invite in invites:
        invite.ringing()
    incoming.emit(PageEnded(t.CANCELLED))
    for invite in invites:
        assert isinstance(await asyncio.wait_for(invite.next_event(), 5), Cancelled)
    assert (await asyncio.wait_for(ended, 5)) is t.CANCELLED
    assert incoming.told == []


async def test_nobody_answers(house: House) -> None:
    house.limits = IMPATIENT
    one = await house.phone("one")
    await house.registered(1)
    incoming, ended, _ = house.rings()
    invite = await one.rings()
    invite.ringing()
    assert (await asyncio.wait_for(ended, 5)) is t.NO_ANSWER
    assert incoming.told == ["reject"]
    assert isinstance(await asyncio.wait_for(invite.next_event(), 5), Cancelled)


async def test_an_answer_that_is_no_use_leaves_the_call_to_the_others(house: House) -> None:
    one, two = await house.phone("one"), await house.phone("two")
    await house.registered(2)
    incoming, ended, call = house.rings()
    useless, good = await one.rings(), await two.rings()
    await useless.answer(phone_sdp(codecs="99"))
    assert isinstance(await asyncio.wait_for(useless.next_event(), 5), Ended)
    await good.answer(phone_sdp())
    await until(lambda: call.state is CallState.ACTIVE)
    incoming.emit(PageEnded(t.HANGUP))
    assert isinstance(await asyncio.wait_for(good.next_event(), 5), Ended)
    await asyncio.wait_for(ended, 5)


async def test_a_phone_comes_and_goes(house: House) -> None:
    phone = await house.phone("one", "tcp")
    await house.registered(1)
    await until(lambda: phone.endpoint.registration.state == "registered")  # the answer is under way to it
    await phone.endpoint.close()
    await house.registered(0)


async def test_a_wrong_password_registers_nobody(house: House) -> None:
    phone = await house.phone("one", password="falsch")
    await until(lambda: phone.endpoint.registration.state == "refused")
    assert house.account.phones == []


async def test_a_real_phone_registers_and_takes_a_call(house: House, tmp_path: Path) -> None:
    registrar = f"{HOST}:{house.account.listener.port}"
    first = free_ports(PORTS_NEEDED)
    async with baresip(tmp_path, user="alice", password="geheim", registrar=registrar, first_port=first) as phone:
        await house.registered(1)
        mark = phone.mark()
        incoming, ended, call = house.rings()
        await phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
        await until(lambda: call.state is CallState.ACTIVE)
        incoming.emit(PageEnded(t.HANGUP))
        await phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
        await asyncio.wait_for(ended, 5)
    await house.registered(0)  # it unregisters when it ends


async def test_somebody_asks_for_a_call_and_the_phone_that_answers_gets_it(house: House) -> None:
    one, two = await house.phone("one"), await house.phone("two")
    await house.registered(2)
    call = house.call(Direction.SIP_TO_WHATSAPP)
    phones = house.account.phones
    ended = house.tasks.create_task(
        call.run(lambda it: click_to_phones(it, house.account, phones, house.page, "5511987654321"))
    )
    first, second = await one.rings(), await two.rings()
    assert first.caller_user == "5511987654321"
    assert not house.page.dialled
    second.ringing()
    await first.answer(phone_sdp())
    assert isinstance(await asyncio.wait_for(second.next_event(), 5), Cancelled)
    await until(lambda: house.page.dialled == ["5511987654321"])
    house.page.call.emit(PageRinging(), PageActive())
    await until(lambda: call.state is CallState.ACTIVE)
    await first.bye()
    assert (await asyncio.wait_for(ended, 5)) is t.HANGUP
    assert house.page.call.told == ["hangup"]


async def test_a_change_of_phones_is_told(house: House) -> None:
    told: list[int] = []
    house.account.on_status = lambda: told.append(len(house.account.phones))
    await house.phone("one", "tcp")
    await house.registered(1)
    await house.phones_stack.close()
    await house.registered(0)
    assert told == [1, 0]
