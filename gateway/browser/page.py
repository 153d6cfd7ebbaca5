"""One page of Chrome: attached, injected, and kept injected over reloads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

from gateway.browser.adopting import adopt, touched_microphone
from gateway.browser.answering import WorkletAnswers
from gateway.browser.cdp import CdpConnection
from gateway.browser.documents import Documents
from gateway.browser.errors import CdpError, HelperError, PageError, PageGone, PageOwned
from gateway.browser.helper import HelperClient
from gateway.browser.inject import (
    BINDING,
    INJECTED,
    INJECTING,
    LATE_MARK,
    LATE_MICROPHONE,
    OWNED,
    Injection,
    call_expression,
    split_error,
)
from gateway.domain.errors import Unavailable

_MAX_EVENTS: Final = 1000  # a call makes about ten; more at once is a page gone wild
_RETURN_S: Final = 10.0  # a page may be sent on by way of another site
_GONE_WORDS: Final = (
    "navigated or closed",
    "context was destroyed",
    "Cannot find context",
    "Promise was collected",
    "Target closed",
    "crashed",
)


def _ignore(_: object = None) -> None:
    """Stand in for a subscriber that is not there yet."""


class PageTarget:
    """An attached page that has the bundle. Made by `gateway.browser.opening.open_page`.

    Attributes:
        target_id: CDP target id.
        session_id: its flattened session.
        late: the bundle came into a document whose own code already ran. What that code had made is taken up, but what
            it holds on to of the browser's own functions is not hooked.
        microphone_taken: that code has been at the microphone before the bundle replaced it, so that a call may not
            have ours: load the page anew when no call runs.
        gone: why the page is lost; empty while it is there.
        user_agent: for ``Emulation.setUserAgentOverride``, where the browser says ``HeadlessChrome``.
    """

    def __init__(
        self,
        cdp: CdpConnection,
        *,
        target_id: str,
        session_id: str,
        injection: Injection,
        helper: HelperClient | None,
    ) -> None:
        self.target_id = target_id
        self.session_id = session_id
        self.late = False
        self.microphone_taken = False
        self.gone = ""
        self.user_agent: dict[str, object] | None = None
        self._cdp = cdp
        self._injection = injection
        self._helper = helper
        self._answers = WorkletAnswers(cdp, injection)
        self._leave_windows: Callable[[], None] = _ignore
        self._lost = asyncio.Event()
        self._detached_already = False
        self._documents = Documents(
            cdp,
            target_id=target_id,
            session_id=session_id,
            origin=injection.origin,
            on_event=self._handle_event,
            on_left=self._left,
        )
        self._first_document = asyncio.Event()
        self._opened = False
        self._failure = ""
        self._on_event: Callable[[dict[str, Any]], None] = _ignore
        self._on_document: Callable[[], None] = _ignore
        self._on_gone: Callable[[str], None] = _ignore
        self._subscribed = False
        self._kept: deque[Callable[[], None]] = deque(maxlen=_MAX_EVENTS)
        self._log = structlog.get_logger("gateway.browser.page").bind(target_id=target_id)
        self._unsubscribers = [
            self._documents.subscribe(),
            self._answers.subscribe(),
            cdp.on("Target.attachedToTarget", self._attached),
            cdp.on("Target.detachedFromTarget", self._detached),
            cdp.on("Inspector.targetCrashed", self._crashed),
            cdp.on("Page.javascriptDialogOpening", self._dialog_opening),
            cdp.on_close(lambda reason: self._lose(f"The connection to Chrome was lost: {reason}")),
        ]

    # ---- what drivers use

    async def call(self, name: str, *args: object, timeout_s: float = 15) -> Any:
        """Call ``__ponte.<name>(*args)`` with a user gesture and return what it resolves to.

        Args:
            name: the command.
            args: what JSON can hold.
            timeout_s: until the promise must have settled.

        Raises:
            PageError: the command rejected; `page_code` says why.
            PageGone: the page or its document went away meanwhile.
            PeerTimeout: it did not settle in time.
        """
        result = await self.evaluate(call_expression(name, args), timeout_s=timeout_s)
        if not isinstance(result, dict):
            raise PageError("page_failed", f"{name} gave no answer")
        if "error" in result:
            raise PageError(*split_error(str(result["error"])))
        return result.get("value")

    async def evaluate(self, expression: str, *, timeout_s: float = 10, user_gesture: bool = True) -> Any:
        """Evaluate an expression in the page's main world and return its value, awaited.

        Args:
            expression: JavaScript.
            timeout_s: until the value must be there.
            user_gesture: whether the page sees it as a person's doing; audio starts only then.

        Raises:
            PageError: it threw.
            PageGone: the page or its document went away meanwhile.
            PeerTimeout: no value in time.
        """
        result = await self.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": user_gesture},
            timeout_s=timeout_s,
        )
        details = result.get("exceptionDetails")
        if isinstance(details, dict):
            thrown = details.get("exception")
            text = thrown.get("description") if isinstance(thrown, dict) else None
            first_line = str(text or details.get("text", "it threw")).splitlines()[0]
            raise PageError("page_failed", first_line.removeprefix("Uncaught ").removeprefix("Error: "))
        value = result.get("result")
        return value.get("value") if isinstance(value, dict) else None

    async def connect_media(self, offer_sdp: str) -> str:
        """Give the page a complete offer and return its complete answer.

        Goes through the helper when there is one; over CDP when there is none or when it does not manage.

        Raises:
            PageError: the page refused the offer.
            Unavailable: the page went away or did not answer.
        """
        if self._helper is not None:
            try:
                return await self._helper.webrtc(self.target_id, offer_sdp)
            except HelperError as error:
                # The helper may be down, or beside another Chrome; this connection reaches the page all the same.
                self._log.warning("page.media_without_helper", status=error.status, detail=str(error))
        answer = await self.call("answer", offer_sdp)
        if not isinstance(answer, str):
            raise PageError("page_failed", "answer gave no SDP")
        return answer

    def subscribe(
        self,
        on_event: Callable[[dict[str, Any]], None],
        on_document: Callable[[], None],
        on_gone: Callable[[str], None],
    ) -> None:
        """Say whom to tell; what happened since the page was opened is told at once.

        Args:
            on_event: an event of the bundle (docs/ARCHITECTURE.md section 8.3).
            on_document: another document was injected, so that whatever the last one held is gone.
            on_gone: page, target or connection lost, with why; told once, and nothing comes after it.
        """
        self._on_event, self._on_document, self._on_gone = on_event, on_document, on_gone
        self._subscribed = True
        while self._kept:
            self._tell(self._kept.popleft())

    async def reload(self, *, timeout_s: float = 10) -> None:
        """Load the page anew; `on_document` follows.

        Raises:
            Unavailable: the page is gone or does not answer.
        """
        await self.send("Page.reload", timeout_s=timeout_s)

    async def send(
        self, method: str, params: dict[str, object] | None = None, *, timeout_s: float = 10
    ) -> dict[str, Any]:
        """Send a CDP command in the page's session.

        Raises:
            CdpError: Chrome refused it.
            PageGone: the page or its document went away meanwhile.
            PeerTimeout: no answer in time.
        """
        if self.gone:
            raise PageGone(self.gone)
        try:
            return await self._cdp.send(method, params, session_id=self.session_id, timeout_s=timeout_s)
        except CdpError as error:
            if any(word in error.text for word in _GONE_WORDS):
                raise PageGone(f"The page changed or went away during {method}") from None
            raise

    async def close(self) -> None:
        """Let go of the page; it stays open, and the bundle stays in its document."""
        if not self.gone:
            self._on_event, self._on_document, self._on_gone = _ignore, _ignore, _ignore
            release: dict[str, object] = {"expression": self._injection.claim.release()}
            with contextlib.suppress(Unavailable, CdpError):
                await self._cdp.send("Runtime.evaluate", release, session_id=self.session_id, timeout_s=2)
                await self._answers.leave(self.session_id)
            self._lose("The gateway let go of the page")
            await self._detach()

    # ---- what `open_page` uses

    async def check_alive(self, timeout_s: float = 10) -> None:
        """Check that the page reacts: a crashed or hung one answers nothing, and would hold up every command.

        Raises:
            Unavailable: it crashed, or did not react in time.
        """
        await self.send("Inspector.enable")  # of a page that crashed before, Chrome says so at this
        await self.send("Runtime.evaluate", {"expression": "1"}, timeout_s=timeout_s)

    async def claim(self, max_age_s: float) -> None:
        """Take the page for us.

        Args:
            max_age_s: a claim of another owner that was renewed within this time stands.

        Raises:
            PageOwned: another gateway has it.
            Unavailable: the page does not answer.
        """
        claim = self._injection.claim
        if await self.evaluate(claim.take(max_age_s), user_gesture=False) != claim.owner:
            raise PageOwned(
                "Another gateway, or another account, drives this page already: stop it there, or give this account a "
                "Chrome of its own"
            )

    async def prepare(self) -> None:
        """Set up the session: everything that must be in place before the page's own code runs."""
        await self.send("Page.enable")
        await self.send("Runtime.enable")  # without it a binding does not outlive a navigation
        await self.send("Inspector.enable")
        await self.send("Runtime.addBinding", {"name": BINDING})
        await self._answers.enable(self.session_id)
        # Only service workers: they hide requests from the page's own Fetch domain. Anything else attached would cost
        # Chrome time for nothing.
        await self.send(
            "Target.setAutoAttach",
            {
                "autoAttach": True,
                "waitForDebuggerOnStart": False,
                "flatten": True,
                "filter": [{"type": "service_worker"}, {"exclude": True}],
            },
        )
        await self._answers.keep_workers(self.session_id)
        # Timers of a hidden tab drop to one a second.
        await self.send("Emulation.setFocusEmulationEnabled", {"enabled": True})
        if self.user_agent is not None:
            await self.send("Emulation.setUserAgentOverride", self.user_agent)
        await self.send("Page.addScriptToEvaluateOnNewDocument", {"source": self._injection.source})
        self._leave_windows = await self._cdp.windows.follow(self.target_id, self._prepare_window)
        self._cdp.spawn(self._keep_claim(), "page-claim")

    async def stop_workers(self) -> None:
        """Stop the origin's service workers; they start again when they are needed.

        One that lost its process in a page's crash holds up every later navigation of its origin. Only while no page of
        the origin is open: a worker that is stopped while a page registers it holds that page up as well.
        """
        with contextlib.suppress(CdpError):  # an experimental domain: a Chrome may come without it
            for command in ("enable", "stopAllWorkers", "disable"):
                await self.send(f"ServiceWorker.{command}")

    async def inject_late(self) -> None:
        """Put the script into the document that is open now; a document that has it already is not changed.

        What the document made before is taken up: it may be playing sound.
        """
        if await self.evaluate("globalThis.__ponte === undefined", user_gesture=False) is True:
            if await touched_microphone(self.send):
                mark = f"globalThis[{LATE_MARK}] ??= {json.dumps(LATE_MICROPHONE)}"
                await self.evaluate(mark, user_gesture=False)
            adopts = True
        else:
            adopts = False
        await self.send(
            "Runtime.evaluate",
            {"expression": self._injection.late_source, "awaitPromise": False, "returnByValue": True},
            timeout_s=20,
        )
        if adopts and await self.evaluate("typeof globalThis.__ponte?.adopt === 'function'", user_gesture=False):
            try:
                taken = await adopt(self.send)
            except (CdpError, PageError) as error:
                # The next call of the page is hooked all the same.
                self._log.warning("page.adoption_failed", detail=str(error))
            else:
                self._log.info("page.adopted", objects=taken)

    async def wait_injected(self, timeout_s: float) -> None:
        """Wait until a document has the bundle, and note whether it came late.

        Raises:
            PageGone: the page was lost first.
            Unavailable: no document took it in time, or the bundle threw.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._first_document.wait()
        except TimeoutError:
            raise Unavailable(
                f"The page took no bundle within {timeout_s:g} s: it shows no document of {self._injection.origin}; "
                "see what Chrome shows there"
            ) from None
        if self.gone:
            raise PageGone(self.gone)
        if self._failure:
            raise Unavailable(f"The page bundle failed in the page: {self._failure}; build it again")
        mark = await self.evaluate(f"globalThis[{LATE_MARK}] ?? ''", user_gesture=False)
        self.late, self.microphone_taken = mark != "", mark == LATE_MICROPHONE
        if self.microphone_taken:
            self._log.warning("page.microphone_taken_before")
        self._opened = True

    # ---- CDP events; synchronous

    def _left(self) -> None:
        if self._opened:  # what the last document held is gone
            self._keep(self._tell_document)
            self._cdp.spawn(self._wait_for_return(), "page-return")

    def _attached(self, params: dict[str, Any], session_id: str | None) -> None:
        info, worker_session = params.get("targetInfo"), params.get("sessionId")
        if session_id != self.session_id or not isinstance(info, dict) or not isinstance(worker_session, str):
            return
        if info.get("type") == "service_worker":
            self._cdp.spawn(self._set_up_worker(worker_session), "page-worker-fetch")

    def _detached(self, params: dict[str, Any], _: str | None) -> None:
        session_id = params.get("sessionId")
        if session_id == self.session_id:
            self._lose("The page was closed")
        elif isinstance(session_id, str) and self._answers.forget(session_id):
            # A service worker that another one replaced, or a window.
            self._cdp.spawn(self._answers.keep_workers(self.session_id), "page-keep-workers")

    def _crashed(self, _: dict[str, Any], session_id: str | None) -> None:
        if session_id == self.session_id:
            self._lose("The page crashed")

    def _dialog_opening(self, _: dict[str, Any], session_id: str | None) -> None:
        # An attached client must answer dialogs, or the page stands still; "leave this page?" is the usual one.
        if session_id == self.session_id:
            self._cdp.spawn(self._accept_dialog(), "page-dialog")

    # ---- the work behind them

    async def _accept_dialog(self) -> None:
        with contextlib.suppress(CdpError):  # another client, Playwright say, was quicker
            await self.send("Page.handleJavaScriptDialog", {"accept": True})

    async def _set_up_worker(self, session_id: str) -> None:
        await self._answers.enable(session_id)
        if self.user_agent is not None:
            # For its requests: CDP does not change what its code sees. A Chrome may not know it for workers.
            with contextlib.suppress(CdpError):
                await self._cdp.send("Network.setUserAgentOverride", self.user_agent, session_id=session_id)

    async def _prepare_window(self, session_id: str) -> None:
        """Set up a window that the page opened: it may bring an audio context with it."""
        if not self.gone:
            await self._answers.enable(session_id)
            if self.user_agent is not None:
                with contextlib.suppress(CdpError, Unavailable):
                    await self._cdp.send("Emulation.setUserAgentOverride", self.user_agent, session_id=session_id)

    async def _wait_for_return(self) -> None:
        """Give the page up where no document of its origin comes back: whoever has it then opens it anew."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lost.wait(), _RETURN_S)
        if not self._documents.open:
            self._lose(f"The page left {self._injection.origin}, or could not be loaded")

    async def _keep_claim(self) -> None:
        """Renew the claim until the page is gone, or another gateway has taken it: ours had run out then."""
        claim = self._injection.claim
        while not self.gone:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), claim.refresh_s)
            with contextlib.suppress(Unavailable, CdpError, PageError):
                if await self.evaluate(claim.renew(self._injection.origin), user_gesture=False) is False:
                    self._lose("Another gateway took the page")
                else:  # the last owner's sessions may have ended meanwhile
                    await self._answers.keep_workers(self.session_id)

    def _handle_event(self, event: dict[str, Any]) -> None:
        if event["type"] in {INJECTING, INJECTED, OWNED} and event.get("owner") != self._injection.claim.owner:
            return
        if event["type"] == INJECTING:  # before the document's own events; a command sent now comes after the script
            if self._opened:
                self.late = self.microphone_taken = False
                self._keep(self._tell_document)
        elif event["type"] == OWNED:
            self._lose("Another gateway was first in the page's new document")
        elif event["type"] == INJECTED:
            self._failure = str(event["error"])[:200] if "error" in event else ""
            if self._failure:
                self._log.error("page.bundle_failed", detail=self._failure)
            self._first_document.set()
        else:
            self._keep(lambda: self._on_event(event))

    def _tell_document(self) -> None:
        self._on_document()

    def _lose(self, why: str) -> None:
        if self.gone:
            return
        self.gone = why
        for unsubscribe in self._unsubscribers:
            unsubscribe()
        self._leave_windows()
        self._lost.set()
        self._cdp.fail_session(self.session_id, why)
        self._first_document.set()
        self._log.info("page.gone", detail=why)
        self._keep(lambda: self._on_gone(why))
        if not self._cdp.closed.is_set():
            # With the session goes the script that it put into new documents; a crashed page has none of its own left.
            self._cdp.spawn(self._detach(), "page-detach")

    async def _detach(self) -> None:
        if not self._detached_already:
            self._detached_already = True
            with contextlib.suppress(Unavailable, CdpError):
                await self._cdp.send("Target.detachFromTarget", {"sessionId": self.session_id}, timeout_s=2)

    def _keep(self, tell: Callable[[], None]) -> None:
        if self._subscribed:
            self._tell(tell)
        else:
            self._kept.append(tell)

    def _tell(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception:
            self._log.exception("page.subscriber_failed")
