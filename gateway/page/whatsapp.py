"""The WhatsApp Web driver: the bundle's events and commands as page states and calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from gateway.browser.errors import PageError
from gateway.browser.page import PageTarget
from gateway.domain import termination as t
from gateway.domain.errors import PonteError, RemoteProtocolError
from gateway.domain.ids import PageCallId
from gateway.domain.page_audio import PageAudio, PageTest
from gateway.domain.page_call import PageCallEvent, PageCallProgress
from gateway.domain.states import PageState
from gateway.domain.termination import Termination
from gateway.page import wire
from gateway.page.driver import CallRefused, PageListener, Peer
from gateway.protocol.dtmf import frequencies

_EVENTS_PER_CALL: Final = 16  # a call gives at most ringing, active and ended; the rest is margin

_DIAL_TIMEOUT_S: Final = 20  # WhatsApp looks the number up on its servers first

_LINK_TIMEOUT_S: Final = 35  # above the bundle's own limits, so that its sentence is heard

_DTMF_DBFS: Final = (
    -10
)  # of each tone: both together peak at -4 dBFS, below the limiter, and far above what detectors need

_DIAL_REFUSALS: Final = {
    "not_on_whatsapp": t.NOT_ON_WHATSAPP,
    "busy_line": t.LINE_BUSY,
    "calling_disabled": t.PAGE_UNAVAILABLE,
}


_OVER: Final = frozenset({"call_not_found", "call_not_ringing"})
_ENDING_S: Final = 2.0


@contextmanager
def _when_over() -> Iterator[None]:
    """Bear that the other side was faster: the end of the call is told by its event, not by a failed command."""
    try:
        yield
    except PageError as error:
        if error.page_code not in _OVER:
            raise


class WhatsAppCall:
    """One call of the page; see `gateway.page.driver.PageCall`."""

    def __init__(self, target: PageTarget, page_call_id: PageCallId, peer: Peer, *, outgoing: bool) -> None:
        self.page_call_id = page_call_id
        self.peer = peer
        self.outgoing = outgoing
        self.up = False  # we placed it, or took it, or are about to
        self._target = target
        self._progress = PageCallProgress(outgoing=outgoing)
        self._events: asyncio.Queue[PageCallEvent] = asyncio.Queue(_EVENTS_PER_CALL)
        self._over = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the page said that the call is over."""
        return self._progress.ended

    async def next_event(self) -> PageCallEvent:
        """Wait for the next event; `PageEnded` is the last one."""
        return await self._events.get()

    async def accept(self) -> None:
        """Answer, with audio only; of a caller who is gone `next_event` tells."""
        self.up = True
        with _when_over():
            await self._target.call("accept", self.page_call_id)

    async def reject(self) -> None:
        """Decline, and wait for the end as `hangup` does."""
        await self._end("reject")

    async def hangup(self) -> None:
        """End the call; harmless when it is over. The line is free when this returns, or the page is slow to say so."""
        await self._end("end")

    def on_state(self, state: int, end_reason: int | None) -> None:
        """Take what the page says of the call's state."""
        self._emit(self._progress.on_state(state, end_reason))

    def on_gone(self, end_reason: int | None, *, elsewhere: bool) -> None:
        """Take the end of the call."""
        self._emit(self._progress.on_gone(end_reason, elsewhere=elsewhere))

    def on_lost(self, termination: Termination) -> None:
        """Take the loss of the page."""
        self._emit(self._progress.on_lost(termination))

    async def _end(self, command: str) -> None:
        if not self._progress.ended:
            with _when_over():
                await self._target.call(command, self.page_call_id)
            # WhatsApp takes the command and ends the call some 100 ms later: who dials before is told of a busy line
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ENDING_S):
                    await self._over.wait()

    def _emit(self, event: PageCallEvent | None) -> None:
        if event is not None:
            self._events.put_nowait(event)
        if self._progress.ended:
            self._over.set()


class WhatsAppDriver:
    """Drives WhatsApp Web through the bundle in the page; see `gateway.page.driver.PageDriver`.

    Args:
        target: the attached and injected page.
        listener: who is told of states, incoming calls and the media leg.
        force_gates: pretend that WhatsApp has enabled calls for the account where it has not.

    Attributes:
        probe: what the page said last when it was asked for all that it has; None before that.
    """

    def __init__(self, target: PageTarget, listener: PageListener, *, force_gates: bool = False) -> None:
        self.state = PageState.INJECTING
        self.detail = "waiting for WhatsApp Web to start"
        self.own_number: str | None = None
        self.probe: wire.Probe | None = None
        self._can: wire.Can | None = None
        self._told = 0
        self._target = target
        self._listener = listener
        self._force_gates = force_gates
        self._inherited = True  # the page may have calls of a gateway, or of a driver of ours, that is gone
        self._calls: dict[PageCallId, WhatsAppCall] = {}
        self._dialing = 0
        self._dialled = 0
        self._log = structlog.get_logger("ponte.page")

    @property
    def busy(self) -> bool:
        """Whether the page is in a call, whoever placed it: WhatsApp has one per session."""
        return any(not call.ended for call in self._calls.values())

    @property
    def can_take(self) -> bool:
        """Whether incoming calls can be had: of a READY page, and of one that lacks only what they do not need."""
        return self.state.healthy or (self.state is PageState.DEGRADED and self._can is not None and self._can.incoming)

    @property
    def can_place(self) -> bool:
        """Whether calls can be placed; see `can_take`."""
        return self.state.healthy or (self.state is PageState.DEGRADED and self._can is not None and self._can.outgoing)

    @property
    def settled(self) -> bool:
        """Whether the page is READY and its versions are known."""
        return self.state.healthy and self.probe is not None and self.probe.state is PageState.READY

    def on_event(self, data: dict[str, Any]) -> None:
        """Take one event of the bundle; a bad one is logged and dropped."""
        try:
            event = wire.parse_event(data)
        except RemoteProtocolError as error:
            self._log.warning("page_event_dropped", error=str(error))
            return
        match event:
            case wire.PageStateEvent(state=state, detail=detail, can=can):
                self._told += 1
                self._set_state(state, detail, can)
            case wire.CallIncomingEvent():
                self._incoming(event)
            case wire.CallStateEvent(id=id_, state=number, end_reason=end_reason, outgoing=outgoing):
                call = self._outgoing(PageCallId(id_)) if outgoing else self._calls.get(PageCallId(id_))
                if call is not None:
                    call.on_state(number, end_reason)
            case wire.CallGoneEvent(id=id_, end_reason=end_reason, elsewhere=elsewhere):
                if gone := self._calls.get(PageCallId(id_)):
                    gone.on_gone(end_reason, elsewhere=elsewhere)
                    if not self._dialing:
                        del self._calls[gone.page_call_id]
            case wire.MediaStateEvent(state=media_state):
                self._listener.on_media(media_state)
            case wire.QrEvent(code=text):
                self._listener.on_qr(text)
            case wire.LinkCodeEvent(code=text):
                self._listener.on_link_code(text)
            case wire.LogEvent(level=level, message=message):
                self._log.info("page_log", page_level=level, message=message)

    def on_lost(self, why: str, state: PageState = PageState.LOST) -> None:
        """Take the loss of the page or of its document: its calls are over.

        WhatsApp's own side of a call goes on in a page that is only out of reach; the driver after us ends it.
        """
        for call in list(self._calls.values()):
            call.on_lost(t.PAGE_LOST)
        self._calls.clear()
        self._listener.on_qr(None)
        self._set_state(state, why)

    async def refresh(self) -> None:
        """Ask the page for its state.

        Raises:
            PonteError: the page does not answer.
        """
        told = self._told
        probe = wire.parse_probe(await self._target.call("probe"))
        self.own_number = probe.ownNumber or self.own_number
        if probe.waVersion is not None and (self.probe is None or probe.waVersion != self.probe.waVersion):
            self._log.info("page_version", whatsapp=probe.waVersion, wajs=probe.wajsVersion)
        self.probe = probe
        if self._force_gates and probe.loggedIn and not probe.callingEnabled and probe.crossOriginIsolated:
            self._log.warning("calling_gates_forced")
            await self._target.call("forceGates")
        if probe.state in {PageState.READY, PageState.DEGRADED}:
            await self._end_inherited()
        if told == self._told:  # else an event came meanwhile, which may be the younger word
            self._set_state(probe.state, probe.detail or ", ".join(probe.missing), probe.can)

    async def dial(self, number: str) -> WhatsAppCall:
        """Place a call; see `gateway.page.driver.PageDriver.dial`."""
        self._dialing += 1
        self._dialled += 1
        try:
            placed = wire.parse_placed(await self._target.call("dial", number, timeout_s=_DIAL_TIMEOUT_S))
        except PageError as error:
            self._log.info("dial_refused", page_code=error.page_code, detail=error.sentence)
            raise CallRefused(_DIAL_REFUSALS.get(error.page_code, t.UNREACHABLE)) from error
        finally:
            self._dialing -= 1
        call = self._outgoing(PageCallId(placed.id))
        call.up = True
        call.peer = Peer(number, call.peer.name)
        if call.ended:
            del self._calls[call.page_call_id]
        return call

    async def qr(self) -> str | None:
        """Return the text of the login page's QR code; None while WhatsApp makes one.

        Raises:
            PageError: `not_at_login`: a phone is linked; `not_ready`: the page loads.
        """
        return wire.parse_qr(await self._target.call("qr", timeout_s=_LINK_TIMEOUT_S)).code

    async def link_code(self, phone: str) -> str:
        """Return the code that a person types into the phone.

        Args:
            phone: digits of the account's E.164 number without ``+``.

        Raises:
            PageError: as `qr`; or WhatsApp gave none.
        """
        return wire.parse_link_code(await self._target.call("linkCode", phone, timeout_s=_LINK_TIMEOUT_S)).code

    async def logout(self) -> None:
        """Unlink the page from the phone.

        Raises:
            PageError: `not_ready`: nobody is logged in.
        """
        await self._target.call("logout", timeout_s=_LINK_TIMEOUT_S)

    async def takeover(self) -> None:
        """Use WhatsApp in this page, when another one took it.

        Raises:
            PageError: `not_ready`: none did.
        """
        await self._target.call("takeover", timeout_s=_LINK_TIMEOUT_S)

    async def connect_media(self, offer_sdp: str) -> str:
        """Exchange one complete offer for one complete answer."""
        return await self._target.connect_media(offer_sdp)

    async def start_media(self, codec: str, max_bitrate_bps: int | None = None) -> None:
        """Attach microphone and speaker; the page sends *codec*."""
        await self._target.call("startMedia", {"codec": codec, "maxBitrate": max_bitrate_bps})

    async def set_codec(self, codec: str, max_bitrate_bps: int | None = None) -> None:
        """Change what the page sends."""
        await self._target.call("setCodec", codec, max_bitrate_bps)

    async def play_dtmf(self, digit: str, duration_ms: int) -> None:
        """Play a key to the far end by the media module."""
        order = {"hz": list(frequencies(digit)), "level_dbfs": _DTMF_DBFS, "ms": duration_ms, "to": "mic"}
        await self._target.call("tone", order)

    async def stop_media(self) -> None:
        """Detach microphone and speaker."""
        await self._target.call("stopMedia")

    async def stats(self) -> dict[str, Any]:
        """Return the page's levels and the state of its media leg."""
        stats = await self._target.call("stats")
        return stats if isinstance(stats, dict) else {}

    async def audio(self) -> PageAudio | None:
        """Look at the sound of the call."""
        return wire.parse_audio(await self.stats())

    async def self_test(self) -> PageTest:
        """See `TestableDriver`."""
        return wire.parse_test(await self._target.call("selfTest"))

    async def announce(self) -> None:
        """Tell the listener of calls that rang before it could take them, ours or those of a gateway before us.

        Raises:
            PonteError: the page does not answer.
        """
        for call in list(self._calls.values()):
            if not (call.outgoing or call.up or call.ended):
                self._listener.on_incoming(call)
        await self._target.call("announce")

    async def _end_inherited(self) -> None:
        """End the calls that went on without us: nobody hears their other side, and they keep the line busy."""
        if not self._inherited or self._dialing:
            return
        dialled = self._dialled
        try:
            listed = wire.parse_calls(await self._target.call("calls"))
            if dialled != self._dialled:
                return  # one of them may have been placed just now
            known = {id_ for id_, call in self._calls.items() if call.up}
            for id_ in (one.id for one in listed if one.ours and PageCallId(one.id) not in known):
                with _when_over():
                    await self._target.call("end", id_)
                self._log.info("left_call_ended")
        except PonteError as error:
            self._log.warning("left_call_not_ended", code=error.code, detail=str(error))
        else:
            self._inherited = False

    def _incoming(self, event: wire.CallIncomingEvent) -> None:
        id_ = PageCallId(event.id)
        if id_ in self._calls:
            return
        call = WhatsAppCall(self._target, id_, Peer(event.phone, event.name), outgoing=False)
        self._calls[id_] = call
        self._listener.on_incoming(call)

    def _outgoing(self, id_: PageCallId) -> WhatsAppCall:
        """Return that call, a new one if its first event overtook the answer to ``dial``."""
        if id_ not in self._calls:
            self._calls[id_] = WhatsAppCall(self._target, id_, Peer(None, None), outgoing=True)
        return self._calls[id_]

    def _set_state(self, state: PageState, detail: str, can: wire.Can | None = None) -> None:
        if (state, detail, can) == (self.state, self.detail, self._can):
            return
        self._log.info("page_state", old=self.state.value, new=state.value, detail=detail)
        self.state, self.detail, self._can = state, detail, can
        self._listener.on_state(state, detail)
