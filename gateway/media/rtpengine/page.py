"""A page's side of an rtpengine: its legs, each of which rtpengine offers to the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.domain.codecs import OPUS
from gateway.domain.errors import LocalProtocolError, PeerTimeout, Unavailable
from gateway.media.page_side import PAGE_PAYLOAD_TYPES, LegState, LegStats, PageLeg
from gateway.media.rtpengine.figures import TagFigures, read_tag
from gateway.media.rtpengine.room import PageEnd, Room
from gateway.media.rtpengine.sdp import page_offer, read_page_answer, stand_in
from gateway.protocol.ng.requests import Answer

_LOOK_S: Final = 0.05  # between looks whether the page is connected; it takes 0.1 to 0.5 s
_FINAL: Final = frozenset({LegState.FAILED, LegState.CLOSED})


class RtpengineLeg:
    """One connection between rtpengine and a page; a `gateway.media.page_side.PageLeg`.

    Args:
        room: the call at rtpengine that it is in.
        opus_number: payload type of Opus that the page is offered.
        connect_timeout_s: seconds for ICE and DTLS together.
        on_end: called when it ended.
    """

    def __init__(
        self, room: Room, *, opus_number: int, connect_timeout_s: float, on_end: Callable[[RtpengineLeg], None]
    ) -> None:
        self.on_state: Callable[[LegState], None] = lambda state: None
        self.room = room
        self.opus_number = opus_number
        self.end: PageEnd | None = None
        number = room.new_tag()
        self._stand_in, self.tag = f"stand{number}", f"page{number}"
        self._state = LegState.NEW
        self._connect_timeout_s = connect_timeout_s
        self._on_end = on_end
        self._offered = self._closed = False
        self._figures = TagFigures()
        self._last_packet_s: float | None = None
        self._log = structlog.get_logger("ponte.rtpengine")

    @property
    def state(self) -> LegState:
        """See `PageLeg`."""
        return self._state

    async def offer(self) -> str:
        """See `PageLeg`."""
        if self._offered or self._state is not LegState.NEW:
            raise LocalProtocolError("A leg makes one offer")
        self._offered = True
        self.room.offered_legs += 1
        codecs = {**PAGE_PAYLOAD_TYPES, OPUS.name: self.opus_number}
        return page_offer(await self.room.offer_page(self._stand_in, stand_in(codecs)))

    async def accept(self, answer_sdp: str) -> None:
        """See `PageLeg`."""
        if not self._offered or self._state is not LegState.NEW:
            raise LocalProtocolError("A leg takes one answer, after its offer")
        answer = read_page_answer(answer_sdp)
        self._change(LegState.CONNECTING)
        try:
            await self.room.answer(self._stand_in, self.tag, answer.idle(), branch=self._stand_in)
            async with asyncio.timeout(self._connect_timeout_s):
                while not self._figures.secured:
                    await asyncio.sleep(_LOOK_S)
                    self.take(await self.room.query(self.tag))
        except TimeoutError:
            self.finish(LegState.FAILED)
            raise PeerTimeout(
                "WebRTC between the page and rtpengine did not connect in time; is UDP open between Chrome's host and "
                "rtpengine's interface?"
            ) from None
        except BaseException:
            self.finish(LegState.FAILED)
            raise
        if self._state in _FINAL:
            raise Unavailable("The WebRTC leg was closed while it connected")
        self.end = PageEnd(self.tag, answer)
        self._last_packet_s = time.monotonic()
        self._change(LegState.CONNECTED)

    def take(self, answer: Answer) -> None:
        """Take figures."""
        figures = read_tag(answer, self.tag)
        if figures is None:
            return
        now = time.monotonic()
        if figures.packets > self._figures.packets or self._last_packet_s is None:
            self._last_packet_s = now
        self._figures = figures

    def stats(self) -> LegStats:
        """See `PageLeg`."""
        return LegStats(received=self._figures.packets, last_packet_s=self._last_packet_s)

    def finish(self, state: LegState) -> None:
        """End by itself; whoever keeps the page connected then closes it and makes another one."""
        if self._state not in _FINAL:
            self._change(state)

    async def close(self) -> None:
        """See `PageLeg`. The page is told by nobody: it notices that its checks are not answered."""
        if self._closed:
            return
        self._closed = True
        self.finish(LegState.CLOSED)
        self._on_end(self)
        if self._offered:
            self.room.offered_legs -= 1
            await self.room.leave()

    def _change(self, state: LegState) -> None:
        if state is self._state:
            return
        self._log.info("rtpengine_leg", old=self._state.value, new=state.value)
        self._state = state
        self.on_state(state)


@dataclass(frozen=True, slots=True)
class PageLimits:
    """When a page's leg is made anew.

    Attributes:
        calls: SIP peers in one call at rtpengine, which keeps a little of each for as long as it lives.
        silent_s: in a call, without a packet of the page.
    """

    calls: int = 16
    silent_s: float = 12.0


class RtpenginePage:
    """One page; a `gateway.media.page_side.PageSide`.

    Args:
        new_room: makes a call at rtpengine.
        on_close: called when the page is given up.
        limits: when its leg is made anew.
    """

    def __init__(
        self, new_room: Callable[[], Room], on_close: Callable[[RtpenginePage], None], limits: PageLimits
    ) -> None:
        self._new_room = new_room
        self._on_close = on_close
        self._limits = limits
        self._room: Room | None = None
        self._opus_number = OPUS.payload_type
        self.legs: set[RtpengineLeg] = set()
        self.leg: RtpengineLeg | None = None

    @property
    def connected(self) -> bool:
        """See `PageSide`."""
        return self.leg is not None

    @property
    def room(self) -> Room:
        """The call at rtpengine that SIP peers of this page join; another one where rtpengine lost the last."""
        if self._room is None or self._room.lost:
            self._room = self._new_room()
            self._room.want_opus = self._want_opus
        return self._room

    @property
    def opus_number(self) -> int:
        """Payload type of Opus that the page has, or will have."""
        return self._opus_number

    def _want_opus(self, number: int) -> None:
        self._opus_number = number
        if self.leg is not None:
            self.leg.finish(LegState.CLOSED)

    def new_leg(self, *, addresses: Sequence[str] = (), connect_timeout_s: float = 10.0) -> RtpengineLeg:
        """See `PageSide`. *addresses* are rtpengine's business: its ``--interface``."""
        if self._room is not None and not self._room.sessions:
            self._room = None  # nobody is in it: begin afresh
        leg = RtpengineLeg(
            self.room, opus_number=self._opus_number, connect_timeout_s=connect_timeout_s, on_end=self._ended
        )
        self.legs.add(leg)
        return leg

    def use(self, leg: PageLeg | None) -> None:
        """See `PageSide`."""
        if leg is not None and (not isinstance(leg, RtpengineLeg) or leg.end is None):
            raise LocalProtocolError("This leg is another media plane's, or not connected")
        if self.leg is not None:
            self.leg.room.page = None
        self.leg = leg
        if leg is not None:
            self._room = leg.room
            leg.room.page = leg.end
            for session in leg.room.sessions:
                session.stir()

    def left(self) -> None:
        """A call is over: make the leg anew where rtpengine keeps too much in its call."""
        leg = self.leg
        if leg is not None and not leg.room.sessions and leg.room.used >= self._limits.calls:
            leg.finish(LegState.CLOSED)

    def close(self) -> None:
        """See `PageSide`."""
        self.use(None)
        self._on_close(self)

    def _ended(self, leg: RtpengineLeg) -> None:
        self.legs.discard(leg)
        if self.leg is leg:
            self.use(None)

    def lost(self, room: Room) -> None:
        """rtpengine does not know *room* any more: its legs are gone."""
        room.lost = True
        for leg in list(self.legs):
            if leg.room is room:
                leg.finish(LegState.FAILED)

    async def look(self) -> None:
        """Ask for the figures of the leg."""
        leg = self.leg
        if leg is None or leg.state is not LegState.CONNECTED:
            return
        leg.take(await leg.room.query(leg.tag))
        # in a call a page sends without a pause; before and after it, it sends nothing that rtpengine would count
        calls = [since_s for session in leg.room.sessions if (since_s := session.joined_since_s) is not None]
        if calls and time.monotonic() - max(min(calls), leg.stats().last_packet_s or 0.0) > self._limits.silent_s:
            leg.finish(LegState.FAILED)
