"""Calls of WebRTC clients through the bridge: what becomes of a call whose media cannot be had or is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aioice.ice
import pytest

from gateway.bridge.call import Call
from gateway.domain import termination as t
from gateway.domain.page_call import PageActive
from gateway.domain.states import CallState
from gateway.domain.termination import Termination
from gateway.media.router import PacketRouter
from gateway.protocol.sip.events import Answered, Ended
from gateway.sip import OutgoingInvite
from gateway.webrtc.client_link import ClientLink, ClientLinkSettings
from tests.integration.bridge.rig import Rig, bridge_rig
from tests.support.webrtc_peer import Peer

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [HOST])


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with bridge_rig() as rig:
        yield rig
        await rig.plane.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    yield peer
    await peer.close()


def use_clients(rig: Rig, **settings: float) -> None:
    chosen = ClientLinkSettings(addresses=[HOST], goodbye_s=0.1, hold_back_s=0.1, **settings)  # type: ignore[arg-type]
    rig.plane = PacketRouter(port_range=(36_000, 36_999), webrtc_link=lambda pool: ClientLink(pool, chosen))


async def call_up(rig: Rig, peer: Peer) -> tuple[OutgoingInvite, asyncio.Task[Termination], Call, str]:
    client, ended, call = await rig.phone_dials(await peer.offer())
    rig.page.call.emit(PageActive())
    event = await asyncio.wait_for(client.next_event(), 5)
    assert isinstance(event, Answered)
    assert "UDP/TLS/RTP/SAVPF" in event.sdp
    await until(lambda: call.state is CallState.ACTIVE)
    return client, ended, call, event.sdp


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(8):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ends_with_a_reason(client: OutgoingInvite, ended: asyncio.Task[Termination], rig: Rig) -> None:
    event = await asyncio.wait_for(client.next_event(), 8)
    assert isinstance(event, Ended)
    assert event.reason is not None
    assert (event.reason.protocol, event.reason.cause) == ("Q.850", 27)
    assert (await asyncio.wait_for(ended, 5)) is t.CLIENT_MEDIA_LOST
    assert rig.page.call.told == ["hangup"]


async def test_a_client_whose_media_never_comes_is_hung_up(rig: Rig, peer: Peer) -> None:
    use_clients(rig, connect_timeout_s=0.3)
    client, ended, _, _ = await call_up(rig, peer)
    await ends_with_a_reason(client, ended, rig)


async def test_a_client_whose_media_is_gone_is_hung_up(rig: Rig, peer: Peer) -> None:
    use_clients(rig)
    client, ended, _, answer = await call_up(rig, peer)
    await peer.accept(answer)
    await until(lambda: len(rig.port.sent) > 5)
    await peer.close()
    await ends_with_a_reason(client, ended, rig)


async def test_a_client_that_hangs_up_in_order_is_not_called_lost(rig: Rig, peer: Peer) -> None:
    use_clients(rig)
    client, ended, _, answer = await call_up(rig, peer)
    await peer.accept(answer)
    await until(lambda: len(rig.port.sent) > 5)
    await asyncio.gather(peer.close(), client.bye())
    assert (await asyncio.wait_for(ended, 5)) is t.HANGUP


async def test_without_links_for_clients_their_offers_are_refused(rig: Rig, peer: Peer) -> None:
    _, ended, _ = await rig.phone_dials(await peer.offer())
    assert (await asyncio.wait_for(ended, 5)).sip_status == 488
    assert rig.page.dialled == []
