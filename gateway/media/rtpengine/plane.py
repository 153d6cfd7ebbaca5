"""The media plane of an rtpengine that a site has."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from gateway.domain.codecs import CODECS
from gateway.domain.errors import LocalProtocolError, PonteError
from gateway.domain.ids import CallId
from gateway.media.keys import OnKey
from gateway.media.link import OnLost, is_webrtc
from gateway.media.page_side import PageSide
from gateway.media.plane import PLANE_LOST, MediaPlane, MediaStats, Negotiated
from gateway.media.rtpengine.client import PING_S, NgClient
from gateway.media.rtpengine.key_log import KeyLog
from gateway.media.rtpengine.page import PageLimits, RtpenginePage
from gateway.media.rtpengine.room import Interfaces, Room
from gateway.media.rtpengine.session import SipSession, Ways, ensure
from gateway.protocol.dtmf import KeyPress
from gateway.protocol.ng import CallUnknown, NgTiming

_AT_ONCE: Final = 20  # queries that are open at the same time


@dataclass(frozen=True, slots=True)
class RtpengineSettings:
    """How an rtpengine is used.

    Attributes:
        host: its address or name.
        port: of ``listen-ng``.
        interfaces: of it.
        key_log: where ``dtmf-log-dest`` of it leads: an address and port of ours; None: keys of the SIP side's media
            are not heard.
        codecs: names of `gateway.domain.codecs.CODECS` that are spoken with SIP peers, best first.
        offer_srtp: offer SRTP, and nothing else, to the peers that we call.
        connect_timeout_s: seconds for a browser of the SIP side to connect.
        poll_s: seconds between looks at each call.
        lost_after_s: of silence, after which calls are given up.
        ping_s: seconds between pings.
        timing: of requests.
        limits: when a page's leg is made anew.
    """

    host: str
    port: int
    interfaces: Interfaces = field(default_factory=Interfaces)
    key_log: tuple[str, int] | None = None
    codecs: Sequence[str] = tuple(CODECS)
    offer_srtp: bool = False
    connect_timeout_s: float = 10.0
    poll_s: float = 1.0
    lost_after_s: float = 2.0
    ping_s: float = PING_S
    timing: NgTiming = field(default_factory=NgTiming)
    limits: PageLimits = field(default_factory=PageLimits)


class RtpenginePlane(MediaPlane):
    """The calls at one rtpengine; use it inside ``async with plane.running()``.

    Args:
        settings: how it is used.
    """

    def __init__(self, settings: RtpengineSettings) -> None:
        self.client = NgClient(settings.host, settings.port, timing=settings.timing, ping_s=settings.ping_s)
        self._settings = settings
        self._pages: set[RtpenginePage] = set()
        self._sessions: dict[CallId, tuple[RtpenginePage, SipSession]] = {}
        self._workers: dict[CallId, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._seen_s = time.monotonic()
        self._log = structlog.get_logger("ponte.rtpengine")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the connection, and watch over the calls, inside the block.

        Raises:
            ConfigError: the address for keys cannot be had.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._settings.key_log is not None:
                await stack.enter_async_context(KeyLog(*self._settings.key_log, self._key).running())
            await stack.enter_async_context(self.client.running())
            group = await stack.enter_async_context(asyncio.TaskGroup())
            self._group = group
            watching = group.create_task(self._watch())
            try:
                yield
            finally:
                for call_id in list(self._sessions):
                    await self.delete(call_id)
                self._group = None
                watching.cancel()
                for worker in self._workers.values():
                    worker.cancel()

    async def check(self) -> None:
        """Raise `Unavailable` where rtpengine is not there; for health checks."""
        await self.client.check()

    def page_side(self) -> RtpenginePage:
        """See `MediaPlane`."""
        page = RtpenginePage(
            lambda: Room(self.client, self._settings.interfaces), self._pages.discard, self._settings.limits
        )
        self._pages.add(page)
        return page

    async def create_offer(
        self, call_id: CallId, *, local_address: str, webrtc: bool = False, page: PageSide | None = None
    ) -> str:
        """See `MediaPlane`. *local_address* is rtpengine's business: its ``--interface``."""
        fresh = call_id not in self._sessions
        session = self._open(call_id, page, webrtc=webrtc)
        try:
            return await session.create_offer()
        except BaseException:
            if fresh:
                await self.delete(call_id)
            raise

    async def accept_answer(self, call_id: CallId, answer_sdp: str) -> Negotiated:
        """See `MediaPlane`."""
        return await self._session(call_id).accept_answer(answer_sdp)

    async def answer_offer(
        self, call_id: CallId, offer_sdp: str, *, local_address: str, page: PageSide | None = None
    ) -> tuple[str, Negotiated]:
        """See `MediaPlane`."""
        fresh = call_id not in self._sessions
        session = self._open(call_id, page, webrtc=is_webrtc(offer_sdp))
        try:
            return await session.answer_offer(offer_sdp)
        except BaseException:
            if fresh:
                await self.delete(call_id)
            raise

    async def reoffer(self, call_id: CallId, *, local_address: str) -> str:
        """See `MediaPlane`."""
        return await self._session(call_id).create_offer()

    def connect(
        self, call_id: CallId, page: PageSide, on_key: OnKey | None = None, on_lost: OnLost | None = None
    ) -> None:
        """See `MediaPlane`.

        Raises:
            LocalProtocolError: *page* is another plane's.
        """
        session = self._session(call_id)
        if not isinstance(page, RtpenginePage):
            raise LocalProtocolError("This page side is another media plane's")
        session.on_key, session.on_lost = on_key, on_lost
        if session.room.lost or (page.leg is not None and page.leg.room is not session.room):
            session.lose(PLANE_LOST)
            return
        session.join()
        self._work(call_id, session)

    def mute(self, call_id: CallId, duration_s: float) -> None:
        """See `MediaPlane`."""
        self._session(call_id).mute(duration_s)

    def silence(self, call_id: CallId, *, wa_to_sip: bool, sip_to_wa: bool) -> None:
        """See `MediaPlane`."""
        self._session(call_id).silence(Ways(wa_to_sip, sip_to_wa))

    def play(self, call_id: CallId, cadence: str) -> None:
        """See `MediaPlane`."""
        self._session(call_id).play(cadence)

    def query(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`."""
        found = self._sessions.get(call_id)
        return MediaStats() if found is None else found[1].stats()

    async def delete(self, call_id: CallId) -> MediaStats:
        """See `MediaPlane`."""
        found = self._sessions.pop(call_id, None)
        if found is None:
            return MediaStats()
        page, session = found
        worker = self._workers.pop(call_id, None)
        if worker is not None:
            worker.cancel()
        stats = await session.delete()
        page.left()
        return stats

    def _open(self, call_id: CallId, page: PageSide | None, *, webrtc: bool) -> SipSession:
        found = self._sessions.get(call_id)
        if found is not None:
            return found[1]
        if not isinstance(page, RtpenginePage):
            raise LocalProtocolError("rtpengine has to know the page whose call it is")
        session = SipSession(
            page.room,
            codecs=self._settings.codecs,
            secure=self._settings.offer_srtp,
            webrtc=webrtc,
            connect_timeout_s=self._settings.connect_timeout_s,
            opus_number=page.opus_number,
        )
        self._sessions[call_id] = (page, session)
        return session

    def _session(self, call_id: CallId) -> SipSession:
        found = self._sessions.get(call_id)
        return ensure(found[1] if found is not None else None)

    def _work(self, call_id: CallId, session: SipSession) -> None:
        if self._group is None:
            raise LocalProtocolError("The media plane is not running")
        if call_id not in self._workers:
            self._workers[call_id] = self._group.create_task(session.run(), name=f"rtpengine {call_id}")

    def _key(self, room: str, tag: str, key: KeyPress) -> None:
        for _, session in self._sessions.values():
            if session.room.name == room and session.tag == tag:
                session.key(key)

    # watching

    async def _watch(self) -> None:
        """Look at every call and page once in a while; what rtpengine lost is told."""
        while True:
            await asyncio.sleep(self._settings.poll_s)
            try:
                await self._look()
            except Exception:
                self._log.exception("rtpengine_watch_crashed")

    async def _look(self) -> None:
        now = time.monotonic()
        if not self.client.up:
            if now - self._seen_s > self._settings.lost_after_s:
                for page, room in self._rooms():
                    self._lose(page, room)
            return
        self._seen_s = now
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(page: RtpenginePage, room: Room, asking: Coroutine[Any, Any, None]) -> None:
            async with gate:
                try:
                    await asking
                except CallUnknown:
                    self._lose(page, room)
                except PonteError as error:
                    self._log.debug("rtpengine_query_failed", code=error.code)

        looks = [
            one(page, session.room, session.look())
            for page, session in self._sessions.values()
            if session.joined_since_s is not None
        ]
        looks += [one(page, page.leg.room, page.look()) for page in self._pages if page.leg is not None]
        await asyncio.gather(*looks)

    def _rooms(self) -> list[tuple[RtpenginePage, Room]]:
        found = [(page, leg.room) for page in self._pages for leg in page.legs]
        found += [(page, session.room) for page, session in self._sessions.values()]
        return [(page, room) for page, room in found if not room.lost]

    def _lose(self, page: RtpenginePage, room: Room) -> None:
        if room.lost:
            return
        self._log.warning("rtpengine_lost_call")
        page.lost(room)
        for session in list(room.sessions):
            session.lose(PLANE_LOST)
