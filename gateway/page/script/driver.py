"""Drives any web client by a user's script. The bundle in the page carries the audio and knows nothing of the calls."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

import structlog

from gateway.browser.endpoint import BrowserEndpoint
from gateway.browser.page import PageTarget
from gateway.browser.settings import HttpSettings
from gateway.domain import termination as t
from gateway.domain.errors import PonteError, RemoteProtocolError, Unavailable
from gateway.domain.ids import PageCallId
from gateway.domain.page_audio import PageAudio
from gateway.domain.page_call import PageActive, PageCallEvent, PageEnded
from gateway.domain.states import PageState
from gateway.page import wire
from gateway.page.driver import CallRefused, PageListener, Peer
from gateway.page.script.events import ScriptCall, ScriptEvents
from gateway.page.script.loader import Script
from gateway.page.script.playwright_page import playwright_page
from gateway.protocol.dtmf import frequencies

_FUNCTION_TIMEOUT_S: Final = 60.0  # Playwright's own waits end after 30 s
_RETRY_S: Final = 2.0  # before a `watch` that failed is started again
_DTMF_DBFS: Final = -10  # as in the WhatsApp driver


class ScriptFailed(Unavailable):
    """A function of the user's script failed, or did not return in time."""

    code = "script_failed"


class ScriptDriver:
    """Drives a page by a script; see `gateway.page.driver.PageDriver`.

    `run` connects Playwright and has to run beside all else.

    Args:
        target: the attached page with the bundle.
        listener: who is told of states, incoming calls and the media leg.
        script: the user's functions.
        endpoint: Chrome, for Playwright.
        http: how the endpoint is resolved.
    """

    def __init__(
        self,
        target: PageTarget,
        listener: PageListener,
        *,
        script: Script,
        endpoint: BrowserEndpoint,
        http: HttpSettings,
    ) -> None:
        self.state = PageState.INJECTING
        self.detail = "connecting the script to the page"
        self.own_number: str | None = None
        self.probe: wire.Probe | None = None
        self._target = target
        self._listener = listener
        self._script = script
        self._endpoint = endpoint
        self._http = http
        self._page: Any = None
        self._call: ScriptCall | None = None
        self._log = structlog.get_logger("ponte.page.script")

    @property
    def busy(self) -> bool:
        """Whether the page is in a call that the script told of, or that was placed here."""
        return self._call is not None and not self._call.ended

    @property
    def can_take(self) -> bool:
        """Whether incoming calls can be had now."""
        return self.state.healthy

    @property
    def can_place(self) -> bool:
        """Whether calls can be placed now."""
        return self.state.healthy

    @property
    def settled(self) -> bool:
        """Whether nothing has to be asked of the page: the script tells."""
        return True

    async def run(self) -> None:
        """Give the script its page, and run its `watch`, until cancelled."""
        while True:
            try:
                async with playwright_page(self._endpoint, self._target.target_id, self._http) as page:
                    self._page = page
                    self._set_state(PageState.READY, "")
                    if self._script.watch is not None:
                        await self._script.watch(page, ScriptEvents(self))
                    await asyncio.Event().wait()
            except PonteError as error:
                self._failed(str(error))
            except Exception as error:
                # The script is somebody else's code: whatever it raises ends here.
                self._log.warning("script_watch_failed", error=type(error).__name__, **{"pii.detail": str(error)[:500]})
                self._failed(f"watch of the script failed with {type(error).__name__}; see the log")
            finally:
                self._page = None
            await asyncio.sleep(_RETRY_S)

    def on_event(self, data: dict[str, Any]) -> None:
        """Take one event of the bundle; only the media leg and the log concern us."""
        try:
            event = wire.parse_event(data)
        except RemoteProtocolError as error:
            self._log.warning("page_event_dropped", error=str(error))
            return
        if isinstance(event, wire.MediaStateEvent):
            self._listener.on_media(event.state)
        elif isinstance(event, wire.LogEvent):
            self._log.info("page_log", page_level=event.level, message=event.message)

    def on_lost(self, why: str, state: PageState = PageState.LOST) -> None:
        """Take the loss of the page or of its document: its call is over."""
        self._tell(PageEnded(t.PAGE_LOST))
        # Another document does not take the page from the script.
        if state is PageState.LOADING and self._page is not None:
            self._set_state(PageState.LOADING, why)
            self._set_state(PageState.READY, "")
        else:
            self._set_state(state, why)

    async def refresh(self) -> None:
        """Ask the page for nothing: the script tells."""

    async def dial(self, number: str) -> ScriptCall:
        """Place a call; see `gateway.page.driver.PageDriver.dial`."""
        if self.busy:
            raise CallRefused(t.LINE_BUSY)
        call = self._call = self._new_call(Peer(number, None), outgoing=True)
        try:
            await self._run("dial", number)
        except ScriptFailed as error:
            call.tell(PageEnded(t.UNREACHABLE))
            raise CallRefused(t.UNREACHABLE) from error
        if call.termination is not None:
            raise CallRefused(call.termination)
        if self._script.watch is None:
            call.tell(PageActive())  # nobody will tell
        return call

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

    async def audio(self) -> PageAudio | None:
        """Look at the sound of the call."""
        return wire.parse_audio(await self._target.call("stats"))

    async def stop_media(self) -> None:
        """Detach microphone and speaker."""
        await self._target.call("stopMedia")

    # ---- what the script tells

    def script_ready(self, ready: bool, why: str) -> None:
        """Take whether calls can be made."""
        self._set_state(PageState.READY if ready else PageState.DEGRADED, why)

    def script_incoming(self, peer: Peer) -> None:
        """Take a call that rings; one that comes in a call is the page's own business."""
        if not self.busy:
            self._call = self._new_call(peer, outgoing=False)
            self._listener.on_incoming(self._call)

    def script_event(self, event: PageCallEvent) -> None:
        """Take an event of the call there is."""
        self._tell(event)

    # ---- the work behind it

    def _new_call(self, peer: Peer, *, outgoing: bool) -> ScriptCall:
        return ScriptCall(PageCallId(secrets.token_hex(8)), peer, outgoing=outgoing, run=self._run)

    async def _run(self, name: str, *args: object) -> None:
        page = self._page
        if page is None:
            raise ScriptFailed("The script has no page now")
        # The page's audio starts by a gesture only; Playwright's own evaluations count as none.
        await self._target.evaluate("undefined")
        try:
            async with asyncio.timeout(_FUNCTION_TIMEOUT_S):
                await getattr(self._script, name)(page, *args)
        except TimeoutError:
            raise ScriptFailed(f"{name} of the script did not return within {_FUNCTION_TIMEOUT_S:g} s") from None
        except Exception as error:
            self._log.warning(
                "script_failed", function=name, error=type(error).__name__, **{"pii.detail": str(error)[:500]}
            )
            raise ScriptFailed(f"{name} of the script failed with {type(error).__name__}; see the log") from error

    def _tell(self, event: PageCallEvent) -> None:
        if self._call is not None:
            self._call.tell(event)

    def _failed(self, why: str) -> None:
        self._tell(PageEnded(t.PAGE_LOST))
        self._set_state(PageState.DEGRADED, why)

    def _set_state(self, state: PageState, detail: str) -> None:
        if (state, detail) == (self.state, self.detail):
            return
        self._log.info("page_state", old=self.state.value, new=state.value, detail=detail)
        self.state, self.detail = state, detail
        self._listener.on_state(state, detail)
