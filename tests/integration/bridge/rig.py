"""A bridge between a real SIP user agent on loopback and a page that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.bridge.call import Call, CallLimits, Parties
from gateway.bridge.call_media import CallMedia
from gateway.bridge.flows import sip_to_whatsapp, whatsapp_to_sip
from gateway.domain.ids import AccountId, PageCallId, new_call_id
from gateway.domain.page_audio import PageAudio
from gateway.domain.page_call import PageActive, PageCallEvent
from gateway.domain.states import Direction, PageState
from gateway.domain.termination import Termination
from gateway.media.page_side import PageLeg
from gateway.media.router import PacketRouter
from gateway.page.driver import Peer
from gateway.sip import OutgoingInvite
from gateway.webrtc.sdp import PAYLOAD_TYPES
from tests.support.sip_ua import Pair, ua_pair

PARTIES = Parties(Peer("5511987654321", "Ana"), "1000")
LIMITS = CallLimits(ring_timeout_s=30.0, accept_timeout_s=20.0)
# For what happens when a time is up; elsewhere a busy machine must not come near it.
IMPATIENT = replace(LIMITS, ring_timeout_s=1.0, accept_timeout_s=0.5)


class PlayedCall:
    """A page call whose events the test emits; it notes what it is told."""

    def __init__(self, *, outgoing: bool) -> None:
        self.page_call_id = PageCallId("3EB0")
        self.peer = PARTIES.peer
        self.outgoing = outgoing
        self.told: list[str] = []
        self.active_on_accept = True
        self._events: asyncio.Queue[PageCallEvent] = asyncio.Queue()

    def emit(self, *events: PageCallEvent) -> None:
        for event in events:
            self._events.put_nowait(event)

    async def next_event(self) -> PageCallEvent:
        return await self._events.get()

    async def accept(self) -> None:
        self.told.append("accept")
        if self.active_on_accept:
            self.emit(PageActive())

    async def reject(self) -> None:
        self.told.append("reject")

    async def hangup(self) -> None:
        self.told.append("hangup")


class PlayedPage:
    """A page that dials at once."""

    state = PageState.READY
    detail = ""
    own_number: str | None = None
    busy = False
    can_take = True
    can_place = True

    def __init__(self) -> None:
        self.call = PlayedCall(outgoing=True)
        self.refusal: Exception | None = None
        self.dialled: list[str] = []
        self.media: list[str] = []
        self.keys: list[tuple[str, int]] = []

    async def dial(self, number: str) -> PlayedCall:
        self.dialled.append(number)
        if self.refusal is not None:
            raise self.refusal
        return self.call

    async def connect_media(self, offer_sdp: str) -> str:
        raise AssertionError("a call does not negotiate the page's leg")

    async def start_media(self, codec: str, max_bitrate_bps: int | None = None) -> None:
        self.media.append(f"start {codec}")

    async def set_codec(self, codec: str, max_bitrate_bps: int | None = None) -> None:
        self.media.append(f"codec {codec}")

    async def play_dtmf(self, digit: str, duration_ms: int) -> None:
        self.keys.append((digit, duration_ms))

    async def audio(self) -> PageAudio | None:
        return None

    async def stop_media(self) -> None:
        self.media.append("stop")


class PlayedPort:
    """The page's end of the audio: what the router sends is kept, what the test speaks is received."""

    payload_types: Mapping[str, int] = PAYLOAD_TYPES
    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.receiver: Callable[[bytes, float], None] | None = None

    def send(self, packet: bytes) -> None:
        self.sent.append(bytes(packet))

    def set_receiver(self, on_rtp: Callable[[bytes, float], None] | None) -> None:
        self.receiver = on_rtp

    def new_leg(self, *, addresses: Sequence[str] = (), connect_timeout_s: float = 10.0) -> PageLeg:
        raise AssertionError("a call makes no leg")

    def use(self, leg: PageLeg | None) -> None:
        raise AssertionError("a call changes no leg")

    def close(self) -> None:
        raise AssertionError("a call does not give the page up")


@dataclass
class Rig:
    """One call's surroundings."""

    sip: Pair
    page: PlayedPage
    port: PlayedPort
    plane: PacketRouter
    tasks: asyncio.TaskGroup
    limits: CallLimits = LIMITS
    ended: list[Call] = field(default_factory=list)

    def call(self, direction: Direction) -> Call:
        call_id = new_call_id()
        media = CallMedia(call_id, self.plane, self.page, self.port)
        return Call(call_id, AccountId("a"), direction, media, self.limits, lambda _: None, PARTIES)

    async def run(self, call: Call, flow: Callable[[Call], Awaitable[Termination]]) -> Termination:
        termination = await call.run(flow)
        self.ended.append(call)
        return termination

    async def phone_dials(self, sdp: str) -> tuple[OutgoingInvite, asyncio.Task[Termination], Call]:
        """A phone dials; the bridge's task is given beside its call."""
        phone = self.sip.dial(sdp=sdp)
        invite = await asyncio.wait_for(self.sip.calls.get(), 5)
        call = self.call(Direction.SIP_TO_WHATSAPP)
        flow = self.run(call, lambda one: sip_to_whatsapp(one, invite, self.page, "5511987654321", self.sip.callee))
        return phone, self.tasks.create_task(flow), call

    def whatsapp_rings(self) -> tuple[PlayedCall, asyncio.Task[Termination], Call]:
        """Somebody calls by WhatsApp; the phone is the pair's called side."""
        incoming = PlayedCall(outgoing=False)
        call = self.call(Direction.WHATSAPP_TO_SIP)
        flow = self.run(call, lambda one: whatsapp_to_sip(one, incoming, self.sip.caller, "1000"))
        return incoming, self.tasks.create_task(flow), call


@contextlib.asynccontextmanager
async def bridge_rig(limits: CallLimits = LIMITS) -> AsyncIterator[Rig]:
    """Give a rig whose calls have ended when the block ends."""
    async with ua_pair() as pair, asyncio.TaskGroup() as tasks:
        yield Rig(pair, PlayedPage(), PlayedPort(), PacketRouter(port_range=(36_000, 36_999)), tasks, limits)


def phone_sdp(port: int = 40000, codecs: str = "0", *, direction: str = "sendrecv") -> str:
    """A phone's offer or answer."""
    return (
        f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {codecs}\r\na={direction}\r\n"
    )


@contextlib.contextmanager
def udp_socket() -> Iterator[socket.socket]:
    """A phone's RTP socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
        yield one
