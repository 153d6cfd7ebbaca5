"""Two Ponte user agents on loopback, and shortened timers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.timers import Timers
from gateway.sip import (
    Caller,
    Endpoint,
    EndpointSettings,
    IncomingInvite,
    OutgoingInvite,
    SipServer,
    SipStack,
    StackSettings,
)

OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
ANSWER = OFFER.replace("40000", "40002")
ALICE = Caller("5511999990000", "Alice")


def quick_settings(**core: object) -> StackSettings:
    """Return settings whose time-outs are a tenth of the RFC's."""
    values: dict[str, object] = {"timers": Timers(0.05, 0.4, 0.5), "limits": CoreLimits(), **core}
    return StackSettings(core=AgentSettings(**values), port_linger_s=0.3, close_timeout_s=1.0)  # type: ignore[arg-type]


@dataclass
class Pair:
    """A user agent that is called, one that calls it."""

    callee: Endpoint
    caller: Endpoint
    calls: asyncio.Queue[IncomingInvite] = field(default_factory=asyncio.Queue)
    back: asyncio.Queue[IncomingInvite] = field(default_factory=asyncio.Queue)

    def dial(self, user: str = "551188887777", sdp: str = OFFER, caller: Caller = ALICE) -> OutgoingInvite:
        return self.caller.invite(user=user, sdp=sdp, caller=caller, headers=[("X-Ponte", "1")])

    async def ring(self) -> tuple[OutgoingInvite, IncomingInvite]:
        call = self.dial()
        return call, await asyncio.wait_for(self.calls.get(), 5)

    async def up(self) -> tuple[OutgoingInvite, IncomingInvite]:
        call, incoming = await self.ring()
        await incoming.answer(ANSWER)
        await asyncio.wait_for(call.next_event(), 5)
        return call, incoming


@contextlib.asynccontextmanager
async def ua_pair(
    transport: str = "udp",
    *,
    host: str = "127.0.0.1",
    settings: StackSettings | None = None,
    password: str = "geheim",
) -> AsyncIterator[Pair]:
    """Give a called endpoint with digest and a calling one whose server it is."""
    settings = settings or quick_settings()
    called, calling = SipStack(settings), SipStack(settings)
    await called.start()
    await calling.start()
    calls: asyncio.Queue[IncomingInvite] = asyncio.Queue()
    back: asyncio.Queue[IncomingInvite] = asyncio.Queue()
    try:
        callee = await called.add_endpoint(
            EndpointSettings(listen_port=0, listen_host=host, listen_user="pbx", listen_secret="geheim"),
            calls.put_nowait,
        )
        server = SipServer(host, callee.listener.port, transport)
        caller = await calling.add_endpoint(
            EndpointSettings(server=server, user="", password="", listen_port=0, listen_host=host, contact_user="gw"),
            back.put_nowait,
        )
        # credentials without a registration: the called side is no registrar
        from gateway.protocol.sip.digest import DigestClient

        caller._auth = DigestClient("pbx", password, calling.token)
        yield Pair(callee, caller, calls, back)
    finally:
        await calling.close()
        await called.close()
