"""The audio of one call: the SIP side's SDP, the router, and the page's microphone and speaker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.bridge.call_trace import CallTrace
from gateway.bridge.keys import KeyPlayer
from gateway.domain.errors import LocalProtocolError, PonteError, Unavailable
from gateway.domain.ids import CallId
from gateway.domain.page_audio import PageAudio, PageFigures, PageMeter
from gateway.domain.recording import RecordingSpec, RecordingStatus
from gateway.domain.termination import CLIENT_MEDIA_LOST, MEDIA_LOST, Termination
from gateway.domain.trace import TraceKind
from gateway.media.page_side import PageSide
from gateway.media.plane import PLANE_LOST, MediaPlane, MediaStats, Negotiated, combined
from gateway.page.driver import PageDriver
from gateway.protocol.dtmf import KeyPress

_PAGE_TIMEOUT_S: Final = 1.0  # a re-INVITE waits for the page, and for a page that hangs no longer than this


class CallMedia:
    """Ties a call's RTP session to the page.

    Args:
        call_id: the call.
        plane: the media plane.
        driver: the page.
        side: the page's side of it.

    Attributes:
        trace: the call's time line.
    """

    def __init__(self, call_id: CallId, plane: MediaPlane, driver: PageDriver, side: PageSide) -> None:
        self._call_id = call_id  # the name of its session in the media plane; another one after a transfer
        self._first_id = call_id
        self._moves = 0
        self._ringing: list[CallId] = []
        self._beside: CallId | None = None
        self._beside_negotiated: Negotiated | None = None
        self._left: MediaStats | None = None
        self._plane = plane
        self._driver = driver
        self._side = side
        self._open = False
        self._page_started = self._page_ready = False
        self._starting = asyncio.Lock()
        self._page_meter = PageMeter()
        self._moving = asyncio.Lock()  # a recording is begun in one session, and moved to another, but not both at once
        self._silent = (False, False)  # WhatsApp's audio towards the phone, and the phone's towards WhatsApp
        self._playing = ""  # a tone, in place of WhatsApp's audio
        self._log = structlog.get_logger("ponte.call")
        self.trace = CallTrace(datetime.now(UTC))
        self.negotiated: Negotiated | None = None
        self.lost = asyncio.Event()  # the SIP side's media is gone for good
        self.lost_by: Termination = CLIENT_MEDIA_LOST  # how the call then ends
        self.keys = KeyPlayer(driver.play_dtmf, self._mute)

    async def offer(self, local_address: str, *, webrtc: bool = False) -> str:
        """Return our offer to the SIP side; *webrtc*: it is a browser."""
        self._open = True
        return await self._plane.create_offer(
            self._call_id, local_address=local_address, webrtc=webrtc, page=self._side
        )

    async def accept(self, answer_sdp: str) -> None:
        """Take the SIP side's answer.

        Raises:
            NoCommonCodec: it holds nothing that we offered.
        """
        self.negotiated = await self._plane.accept_answer(self._call_id, answer_sdp)

    async def answer(self, offer_sdp: str, local_address: str) -> str:
        """Return our answer to the SIP side's offer, the first one or a later one.

        Raises:
            NoCommonCodec: it holds nothing that we know.
        """
        self._open = True
        sdp, self.negotiated = await self._plane.answer_offer(
            self._call_id, offer_sdp, local_address=local_address, page=self._side
        )
        return sdp

    async def reoffer(self, local_address: str) -> str:
        """Return an offer for a re-INVITE that has none."""
        return await self._plane.reoffer(self._call_id, local_address=local_address)

    # several SIP legs that ring, until one of them answers

    async def offer_ringing(self, local_address: str, *, webrtc: bool) -> tuple[CallId, str]:
        """Return our offer to one more phone that is to ring, and the name of its media.

        Args:
            local_address: IP address that it reaches us by.
            webrtc: it is a browser.
        """
        name = CallId(f"{self._first_id}-r{len(self._ringing)}")
        self._ringing.append(name)
        return name, await self._plane.create_offer(name, local_address=local_address, webrtc=webrtc, page=self._side)

    async def take_ringing(self, name: CallId, answer_sdp: str) -> None:
        """Take the answer of one of these phones: its media is the call's from now on, that of the others is freed.

        Raises:
            NoCommonCodec: it holds nothing that we offered.
        """
        self.negotiated = await self._plane.accept_answer(name, answer_sdp)
        self._open, self._call_id = True, name
        self._ringing.remove(name)
        await self._drop_ringing()

    async def _drop_ringing(self) -> None:
        while self._ringing:
            await self._plane.delete(self._ringing.pop())

    # a second SIP leg, until it takes the place of the first

    async def offer_beside(self, local_address: str) -> str:
        """Return our offer to the SIP leg of a transfer; the call's own leg goes on."""
        return await self._plane.create_offer(self._open_beside(), local_address=local_address, page=self._side)

    async def accept_beside(self, answer_sdp: str) -> None:
        """Take that leg's answer.

        Raises:
            NoCommonCodec: it holds nothing that we offered.
        """
        self._beside_negotiated = await self._plane.accept_answer(self._open_beside(), answer_sdp)

    async def answer_beside(self, offer_sdp: str, local_address: str) -> str:
        """Return our answer to the offer of a SIP leg that wants to replace the call's own.

        Raises:
            NoCommonCodec: it holds nothing that we know.
        """
        sdp, self._beside_negotiated = await self._plane.answer_offer(
            self._open_beside(), offer_sdp, local_address=local_address, page=self._side
        )
        return sdp

    def _open_beside(self) -> CallId:
        if self._beside is None:
            self._moves += 1
            self._beside = CallId(f"{self._first_id}-{self._moves}")
        return self._beside

    async def move_beside(self) -> None:
        """Put the second leg in the place of the first: the page's packets go there from now on."""
        if self._beside is None or self._beside_negotiated is None:
            raise LocalProtocolError("There is no other leg whose media is agreed on")
        # the first session lets the page go before the second takes it
        async with self._moving:
            self._plane.move_recording(self._call_id, self._beside)
            self._left = combined(self._left, await self._plane.delete(self._call_id))
            self._call_id, self._beside = self._beside, None
            self.negotiated, self._beside_negotiated = self._beside_negotiated, None
            try:
                self.connect()
            except PonteError:  # the plane died meanwhile, and knew nobody to tell: the first leg has no media either
                self._media_lost(self._call_id, PLANE_LOST)
                raise

    async def drop_beside(self) -> None:
        """Free what a transfer that failed had opened."""
        if self._beside is not None:
            beside, self._beside, self._beside_negotiated = self._beside, None, None
            await self._plane.delete(beside)

    async def start_page(self) -> None:
        """Attach the page's microphone and speaker, in the codec of the SIP side."""
        if self.negotiated is None:
            raise LocalProtocolError("the page's audio was started before the SIP side's codec was known")
        self._page_started = True
        with self.trace.command("start media", self.negotiated.codec):
            await self._driver.start_media(self.negotiated.codec, self.negotiated.max_bitrate_bps)

    async def ensure_page(self) -> None:
        """Do the same where it is not done yet; who asks meanwhile waits for it."""
        async with self._starting:
            if not self._page_ready:
                await self.start_page()
                self._page_ready = True

    async def follow_codec(self) -> None:
        """Have the page send what the SIP side negotiated last. A page that cannot is told of in the log."""
        if self.negotiated is None or not self._page_started:
            return
        try:
            async with asyncio.timeout(_PAGE_TIMEOUT_S):
                await self._set_codec(self.negotiated.codec, self.negotiated.max_bitrate_bps)
        except (PonteError, TimeoutError) as error:
            self._log.warning("page_codec_not_changed", codec=self.negotiated.codec, error=str(error))

    async def _set_codec(self, codec: str, max_bitrate_bps: int | None) -> None:
        with self.trace.command("set codec", codec):
            await self._driver.set_codec(codec, max_bitrate_bps)

    def connect(self) -> None:
        """Let packets flow."""
        call_id = self._call_id
        self._plane.connect(call_id, self._side, self._key_of_phone, lambda cause: self._media_lost(call_id, cause))
        self.trace.connected(self.negotiated.codec if self.negotiated is not None else "")
        if any(self._silent):
            self.silence(wa_to_sip=self._silent[0], sip_to_wa=self._silent[1])

    def _media_lost(self, call_id: CallId, cause: str) -> None:
        if call_id == self._call_id:  # not of a leg that the call has left
            self.trace.note(TraceKind.MEDIA, "media lost", cause)
            self.lost_by = MEDIA_LOST if cause == PLANE_LOST else CLIENT_MEDIA_LOST
            self.lost.set()

    @property
    def held(self) -> bool:
        """Whether one side holds the call, in whatever form: then the phone need not send."""
        return self.negotiated is None or self.negotiated.direction != "sendrecv"

    def query(self) -> MediaStats:
        """Return the figures of the SIP leg that the call has now."""
        return self._plane.query(self._call_id) if self._open else MediaStats()

    def _key_of_phone(self, key: KeyPress) -> None:
        self.keys.press(key, "event")

    def silence(self, *, wa_to_sip: bool, sip_to_wa: bool) -> None:
        """Send silence instead of a side's audio from now on, or its audio again; also over a transfer."""
        self._silent = (wa_to_sip, sip_to_wa)
        if self._open:
            self._plane.silence(self._call_id, wa_to_sip=wa_to_sip, sip_to_wa=sip_to_wa)

    def play(self, cadence: str) -> None:
        """Let the phone hear a tone in place of the page, an empty one ends it; a plane that is gone plays none."""
        if self._open and cadence != self._playing:
            self._playing = cadence
            self.trace.note(TraceKind.MEDIA, "tone to the phone" if cadence else "tone ended")
            with contextlib.suppress(Unavailable):
                self._plane.play(self._call_id, cadence)

    def _mute(self, duration_s: float) -> None:
        if self._open:
            self._plane.mute(self._call_id, duration_s)

    async def record(self, spec: RecordingSpec, on_failed: Callable[[RecordingStatus], None]) -> RecordingStatus:
        """Record the call; also over a transfer. See `MediaPlane.record`."""
        async with self._moving:
            return await self._plane.record(self._call_id, spec, on_failed)

    async def stop_recording(self) -> RecordingStatus | None:
        """Record no more for now."""
        async with self._moving:
            return await self._plane.stop_recording(self._call_id)

    async def look_at_page(self) -> PageAudio | None:
        """Take one look at the sound in the page; None where it does not tell, or the call is not its."""
        look = await self._driver.audio() if self._page_started else None
        if look is not None:
            self._page_meter.add(look)
        return look

    @property
    def page_figures(self) -> PageFigures:
        """What the looks at the page found."""
        return self._page_meter.figures

    async def stop_page(self) -> None:
        """Detach the page's microphone and speaker."""
        if self._page_started:
            self._page_started = False
            with self.trace.command("stop media"):
                await self._driver.stop_media()

    async def close(self) -> MediaStats | None:
        """Free the ports; give the call's figures, where there are any."""
        await self._drop_ringing()
        if not self._open:
            return None
        self._open = False
        await self.drop_beside()
        return combined(self._left, await self._plane.delete(self._call_id))
