"""One SIP peer at rtpengine: its descriptions, its place in a room, and its figures."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from gateway.domain.codecs import OPUS
from gateway.domain.errors import LocalProtocolError, PonteError
from gateway.media.client_sdp import NOWHERE, RemoteTransport, put_on, take_off
from gateway.media.keys import OnKey
from gateway.media.link import OnLost
from gateway.media.page_side import PAGE_PAYLOAD_TYPES
from gateway.media.plane import PLANE_LOST, DirectionStats, MediaStats
from gateway.media.rtpengine.figures import Heard, TagFigures, read_heard, read_tag
from gateway.media.rtpengine.room import PageEnd, Room
from gateway.media.rtpengine.sdp import PROFILES, OurSide, Way, describe_peer, read_our_side, stand_in
from gateway.media.rtpengine.tone_file import MAX_BYTES, REPEATS, tone_file
from gateway.protocol.dtmf import KeyPress
from gateway.protocol.ng.errors import MediaServerRefused
from gateway.protocol.ng.requests import Answer
from gateway.protocol.sdp import LocalMedia, Negotiated, NoCommonCodec, SdpSession, SessionDescription, parse_sdp

_EVENTS_OFFERED: Final = 101  # of telephone-event, before anything is agreed on
_BROWSER_SILENT_S: Final = 20.0  # without a packet, checks of ICE included: Chrome sends one every few seconds


@dataclass(frozen=True, slots=True)
class Ways:
    """Which directions something holds for."""

    wa_to_sip: bool = False
    sip_to_wa: bool = False


class SipSession:
    """One SIP peer.

    Args:
        room: the call at rtpengine that it is in.
        codecs: that are spoken, best first.
        secure: offer SRTP, and nothing else.
        webrtc: it is a browser: ICE and DTLS.
        connect_timeout_s: seconds for a browser to connect.
        opus_number: payload type of Opus that is offered, which is the page's.

    Attributes:
        room: the call at rtpengine that it is in.
        tag: its name there.
    """

    def __init__(
        self,
        room: Room,
        *,
        codecs: Sequence[str],
        secure: bool,
        webrtc: bool,
        connect_timeout_s: float,
        opus_number: int = OPUS.payload_type,
    ) -> None:
        number = room.new_tag()
        self.room = room
        self.tag = f"sip{number}"
        self.on_key: OnKey | None = None
        self.on_lost: OnLost | None = None
        self._stand_in = f"stand{number}"
        self._codecs = tuple(codecs)
        self._sdp = SdpSession(secrets.randbits(32), codecs, secure=secure and not webrtc)
        self._offered_numbers = {OPUS.name: opus_number} if OPUS.name in codecs else {}
        self._asked_opus: int | None = None  # number that the page was made anew for
        self._way: Way = "webrtc" if webrtc else "sdes" if secure else "plain"
        self._mux = False
        self._connect_timeout_s = connect_timeout_s
        self._cname = secrets.token_hex(12)
        self._ours: OurSide | None = None
        self._offered = False  # rtpengine waits for the peer's answer
        self._answered = False
        self._negotiated: Negotiated | None = None
        self._remote: RemoteTransport | None = None
        self._setup = "actpass"  # of ours, once it is known
        self._bundled = True
        self._profile = PROFILES["webrtc"]
        self._written: SessionDescription | None = None
        self._lock = asyncio.Lock()
        self._stir = asyncio.Event()
        self._joined: PageEnd | None = None
        self._joined_at_s = 0.0
        self._wanted = False
        self._quiet = Ways()
        self._told_quiet = Ways()  # what rtpengine was told last
        self._told_held = Ways()
        self._mute_until_s = 0.0
        self._tone = self._told_tone = ""
        self._page_base: TagFigures | None = None
        self._peer_figures, self._page_figures = TagFigures(), TagFigures()
        self._heard_by_peer = self._heard_by_page = Heard()
        self._last_page_s: float | None = None
        self._last_rtp_s: float | None = None
        self._last_rtcp_s: float | None = None
        self._keys = 0
        self._log = structlog.get_logger("ponte.rtpengine")
        room.sessions.add(self)
        room.used += 1

    # descriptions

    async def create_offer(self) -> str:
        """Return our offer; in a running call one that fits it."""
        async with self._lock:
            if self._ours is None:
                await self._open(self._way, mux=False)
                self._sdp.use_numbers(self._offered_numbers)
            return self._write(self._sdp.create_offer(self._local()), always=True)

    async def accept_answer(self, text: str) -> Negotiated:
        """Take the answer to it. See `SdpSession.accept_answer`."""
        async with self._lock:
            plain, remote = take_off(text) if self._way == "webrtc" else (text, None)
            if remote is not None:
                self._check(remote)
            negotiated = self._sdp.accept_answer(plain)
            self._setup = "passive" if remote is not None and remote.setup == "active" else "active"
            await self._settle(negotiated, remote)
            return negotiated

    async def answer_offer(self, text: str) -> tuple[str, Negotiated]:
        """Answer the peer's offer. See `SdpSession.answer_offer`."""
        async with self._lock:
            plain, remote = take_off(text) if self._way == "webrtc" else (text, None)
            if self._way == "webrtc":
                if remote is None:
                    raise NoCommonCodec("The offer holds no audio")
                self._check(remote)
                self._bundled = remote.bundled
                self._profile = next(
                    one.profile for one in parse_sdp(text).media if one.media == "audio" and "TLS" in one.profile
                )
            # how packets travel has to be known before rtpengine is asked for a port
            wanted = self._sdp.preview(plain)
            way: Way = "webrtc" if self._way == "webrtc" else "plain" if wanted.crypto is None else "sdes"
            if self._ours is None or (way, wanted.rtcp_mux) != (self._way, self._mux):
                await self._open(way, mux=wanted.rtcp_mux)
            answer, negotiated = self._sdp.answer_offer(plain, self._local())
            if remote is not None:
                self._setup = "active" if remote.setup == "passive" else "passive"
            await self._settle(negotiated, remote)
            return self._write(answer, always=False), negotiated

    def _check(self, remote: RemoteTransport) -> None:
        known = self._remote
        if known is not None and remote.fingerprints != known.fingerprints:
            raise NoCommonCodec("The certificate of a running call cannot be changed")
        if known is not None and (remote.username, remote.password) != (known.username, known.password):
            raise NoCommonCodec("ICE cannot be restarted where rtpengine carries the media")

    def _local(self) -> LocalMedia:
        assert self._ours is not None
        return NOWHERE if self._way == "webrtc" else self._ours.local

    def _write(self, plain: str, *, always: bool) -> str:
        """Return *plain* with ICE and DTLS where the peer is a browser."""
        if self._ours is None or self._ours.transport is None:
            return plain
        own = replace(self._ours.transport, setup=self._setup)
        written = put_on(plain, own, self._profile, bundled=self._bundled)
        last = self._written
        if last is not None and not always and replace(written, origin=last.origin) == last:
            written = last
        self._written = written
        return str(written)

    async def _open(self, way: Way, *, mux: bool) -> None:
        """Have rtpengine offer ports to the peer."""
        page = self._joined
        missing: tuple[str, ...] = ()
        if page is not None and self._negotiated is not None:
            missing = tuple({self._negotiated.codec} - set(page.answer.payload_types))
        text = await self.room.offer_sip(
            self._stand_in if page is None else page.tag,
            self.tag if self._answered else None,
            stand_in(PAGE_PAYLOAD_TYPES, self._events) if page is None else page.answer.active(self._events),
            way,
            mux=mux,
            transcode=missing,
            branch=self.tag if page is None else None,
        )
        ours = read_our_side(text, way, self._cname)
        if self._ours is not None and way == self._way:
            if ours.local.rtp_port != self._ours.local.rtp_port:
                self._log.warning("rtpengine_moved_ports")
            else:  # to a peer that holds it gives no address
                ours = replace(ours, local=self._ours.local)
        self._ours, self._way, self._mux, self._offered = ours, way, mux, True
        self._sdp.use_keys(ours.keys)

    async def _settle(self, negotiated: Negotiated, remote: RemoteTransport | None) -> None:
        """Tell rtpengine what was agreed on with the peer."""
        self._negotiated = negotiated
        self._remote = remote or self._remote
        await self._tell()
        self._stir.set()

    async def _tell(self) -> None:
        if not self._offered:
            await self._open(self._way, mux=self._mux)
        page = self._joined
        assert self._negotiated is not None
        assert self._ours is not None
        known = page.answer.payload_types if page is not None else PAGE_PAYLOAD_TYPES
        peer = describe_peer(self._negotiated, self._way, known, self._ours, self._remote)
        if page is None:
            await self.room.answer(self._stand_in, self.tag, peer, branch=self.tag)
        else:
            await self.room.answer(page.tag, self.tag, peer)
        self._offered, self._answered = False, True

    @property
    def _events(self) -> Mapping[int, int]:
        return self._negotiated.events if self._negotiated is not None else {8000: _EVENTS_OFFERED}

    # the call

    @property
    def joined_since_s(self) -> float | None:
        """Monotonic instant from which on packets flow between the peer and the page; None: they do not."""
        return self._joined_at_s if self._joined is not None else None

    def join(self) -> None:
        """Connect the peer with the page's leg, whichever that is, from now on."""
        self._wanted = True
        self._stir.set()

    def stir(self) -> None:
        """Look again: the page's leg changed."""
        self._stir.set()

    def silence(self, quiet: Ways) -> None:
        """Send silence instead of the audio of these directions."""
        self._quiet = quiet
        self._stir.set()

    def play(self, cadence: str) -> None:
        """Let the peer hear a tone in place of the page; an empty one ends it."""
        self._tone = cadence
        self._stir.set()

    def mute(self, duration_s: float) -> None:
        """Silence the peer's audio for a while."""
        self._mute_until_s = max(self._mute_until_s, time.monotonic() + duration_s)
        self._stir.set()

    def key(self, key: KeyPress) -> None:
        """Take a key of the peer."""
        self._keys += 1
        if self.on_key is not None:
            self.on_key(key)

    async def run(self) -> None:
        """Bring rtpengine to what is wanted, until cancelled or lost."""
        while not self.room.lost:
            muted_s = self._mute_until_s - time.monotonic()
            try:
                async with asyncio.timeout(muted_s if muted_s > 0 else None):
                    await self._stir.wait()
            except TimeoutError:
                pass
            self._stir.clear()
            try:
                await self._bring_about()
            except PonteError as error:
                self._log.warning("rtpengine_call_lost", error=str(error), code=error.code)
                self.lose(PLANE_LOST)
                return
            except Exception:
                self._log.exception("rtpengine_call_crashed")
                self.lose(PLANE_LOST)
                return

    def _fits(self, page: PageEnd) -> bool:
        """Whether the page has the peer's number for Opus; if not, it is connected anew with that, once.

        rtpengine 10.5 passes packets through only where both sides have the same number, and loses them otherwise.
        """
        negotiated = self._negotiated
        if negotiated is None or negotiated.codec != OPUS.name or OPUS.name not in page.answer.payload_types:
            return True
        number = negotiated.payload_type
        if number in {page.answer.payload_types[OPUS.name], self._asked_opus}:
            return True
        self._asked_opus = number
        self.room.want_opus(number)
        return False

    async def _bring_about(self) -> None:
        async with self._lock:
            page = self.room.page
            if self._wanted and page is not None and not self._fits(page):
                page = None  # another one comes
            if self._wanted and page is not None and page is not self._joined and self._negotiated is not None:
                self._joined, self._offered = page, False
                self._joined_at_s = time.monotonic()
                self._told_quiet = self._told_held = Ways()
                await self._tell()
                self._page_base = None
                await self.look()
                self._log.info("rtpengine_joined", codec=self._negotiated.codec)
        await self._quieten()
        await self._sound()

    async def _sound(self) -> None:
        """Have rtpengine play the tone that is wanted; a tone that it cannot play is no reason to lose the call."""
        if self._joined is None or self._tone == self._told_tone:
            return
        self._told_tone = tone = self._tone
        file = tone_file(tone) if tone else b""
        try:
            if file and len(file) <= MAX_BYTES:
                await self.room.ask("play media", from_tag=self.tag, blob=file, repeat_times=REPEATS)
            elif file:
                self._log.warning("rtpengine_plays_no_tone", error="its rhythm is too long for one datagram")
            else:
                await self.room.ask("stop media", from_tag=self.tag)
        except MediaServerRefused as error:
            self._log.warning("rtpengine_plays_no_tone", error=str(error))

    async def _quieten(self) -> None:
        """Silence what is to be silent, and stop what one side holds: rtpengine itself passes over directions."""
        page, negotiated = self._joined, self._negotiated
        if page is None or negotiated is None:
            return
        muted = self._mute_until_s > time.monotonic()
        quiet = Ways(self._quiet.wa_to_sip, self._quiet.sip_to_wa or muted)
        # rtpengine writes silence into G.711 and G.722; Opus that it passes through it would leave as it is
        opaque = OPUS.name in negotiated.send
        held = Ways(
            not negotiated.sends or bool(self._tone) or (opaque and quiet.wa_to_sip),
            not negotiated.receives or (opaque and quiet.sip_to_wa),
        )
        self._told_quiet, before = quiet, self._told_quiet
        await self._switch(page, "silence media", before, quiet)
        self._told_held, before = held, self._told_held
        await self._switch(page, "block media", before, held)

    async def _switch(self, page: PageEnd, command: str, before: Ways, now: Ways) -> None:
        for tag, was, wanted in (
            (page.tag, before.wa_to_sip, now.wa_to_sip),
            (self.tag, before.sip_to_wa, now.sip_to_wa),
        ):
            if was != wanted:
                await self.room.ask(command if wanted else f"un{command}", from_tag=tag)

    def lose(self, cause: str) -> None:
        """Say, once, that no packet can come or go any more."""
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost(cause)

    async def delete(self) -> MediaStats:
        """Leave the room; gives the last figures."""
        self.on_key = self.on_lost = None
        self.room.sessions.discard(self)
        try:
            if self._joined is not None:
                await self.look()
                await self._switch(self._joined, "silence media", Ways(self._told_quiet.wa_to_sip), Ways())
                await self._switch(self._joined, "block media", Ways(self._told_held.wa_to_sip), Ways())
            if self._answered:
                await self.room.delete(self.tag)
            elif self._ours is not None:
                await self.room.delete(self._stand_in, branch=self.tag)
        except PonteError as error:
            self._log.info("rtpengine_delete_failed", code=error.code)
        await self.room.leave()
        return self.stats()

    # figures

    async def look(self) -> None:
        """Ask rtpengine for the figures."""
        self.take(await self.room.query(self.tag))

    def take(self, answer: Answer) -> None:
        """Take the figures from the answer to a query."""
        now = time.monotonic()
        peer = read_tag(answer, self.tag)
        if peer is not None:
            if peer.packets > self._peer_figures.packets:
                self._last_rtp_s = now
            if peer.rtcp_packets > self._peer_figures.rtcp_packets:
                self._last_rtcp_s = now
            self._peer_figures = peer
            self._heard_by_page = read_heard(answer, peer.ssrc)
        page = read_tag(answer, self._joined.tag) if self._joined is not None else None
        if page is not None:
            if self._page_base is None:
                self._page_base = self._page_figures = page
            if page.packets > self._page_figures.packets:
                self._last_page_s = now
            self._page_figures = page
            self._heard_by_peer = read_heard(answer, page.ssrc)
        if self._way == "webrtc" and self._joined is not None:
            self._watch_browser(now)

    def _watch_browser(self, now: float) -> None:
        if not self._peer_figures.secured:
            if now - self._joined_at_s > self._connect_timeout_s:
                self.lose("ice_or_dtls_timeout")
        elif now - (self._last_rtp_s or self._joined_at_s) > _BROWSER_SILENT_S:
            self.lose("ice_lost")

    def stats(self) -> MediaStats:
        """Return the figures as they were last seen."""
        peer, page, base = self._peer_figures, self._page_figures, self._page_base or TagFigures()
        packets = page.packets - base.packets
        return MediaStats(
            wa_to_sip=DirectionStats(
                packets=packets,
                bytes=page.bytes - base.bytes,
                passed=packets - (page.errors - base.errors),
                last_packet_s=self._last_page_s,
            ),
            sip_to_wa=DirectionStats(
                packets=peer.packets,
                bytes=peer.bytes,
                passed=peer.packets - peer.errors if self._joined is not None else 0,
                last_packet_s=self._last_rtp_s,
                keys=self._keys,
            ),
            round_trip_ms=self._heard_by_peer.round_trip_ms,
            peer_lost=round(packets * self._heard_by_peer.loss_percent / 100),
            peer_jitter_ms=self._heard_by_peer.jitter_ms,
            page_round_trip_ms=self._heard_by_page.round_trip_ms,
            page_lost=round(peer.packets * self._heard_by_page.loss_percent / 100),
            page_jitter_ms=self._heard_by_page.jitter_ms,
            last_rtp_s=self._last_rtp_s,
            last_rtcp_s=self._last_rtcp_s,
        )


def ensure(session: SipSession | None) -> SipSession:
    """Return *session*.

    Raises:
        LocalProtocolError: there is none.
    """
    if session is None:
        raise LocalProtocolError("The media plane does not know this call")
    return session
