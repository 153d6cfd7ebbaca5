"""One page of Chrome: attached, injected, and kept injected over reloads."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog

from gateway.browser.cdp import CdpConnection
from gateway.browser.errors import CdpError, HelperError, PageError, PageGone
from gateway.browser.helper import HelperClient
from gateway.browser.inject import BINDING, INJECTED, INJECTING, LATE_MARK, Injection, call_expression, split_error
from gateway.domain.errors import Unavailable

_MAX_EVENTS: Final = 1000  # a call makes about ten; more at once is a page gone wild
_MAX_EVENT_CHARS: Final = 256 * 1024
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
        late: the bundle came into a document whose own code already ran; hooks on what that code did are missing.
        gone: why the page is lost; empty while it is there.
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
        self.gone = ""
        self._cdp = cdp
        self._injection = injection
        self._helper = helper
        self._worker_sessions: set[str] = set()
        self._contexts: set[object] = set()
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
            cdp.on("Runtime.executionContextCreated", self._context_created),
            cdp.on("Runtime.executionContextDestroyed", self._context_destroyed),
            cdp.on("Runtime.executionContextsCleared", self._contexts_cleared),
            cdp.on("Runtime.bindingCalled", self._binding_called),
            cdp.on("Fetch.requestPaused", self._request_paused),
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
            self._lose("The gateway let go of the page")
            with contextlib.suppress(Unavailable, CdpError):
                await self._cdp.send("Target.detachFromTarget", {"sessionId": self.session_id}, timeout_s=2)

    # ---- what `open_page` uses

    async def check_alive(self, timeout_s: float = 10) -> None:
        """Check that the page reacts: a crashed or hung one answers nothing, and would hold up every command.

        Raises:
            Unavailable: it crashed, or did not react in time.
        """
        await self.send("Inspector.enable")  # of a page that crashed before, Chrome says so at this
        await self.send("Runtime.evaluate", {"expression": "1"}, timeout_s=timeout_s)

    async def prepare(self) -> None:
        """Set up the session: everything that must be in place before the page's own code runs."""
        await self.send("Page.enable")
        await self.send("Runtime.enable")  # without it a binding does not outlive a navigation
        await self.send("Inspector.enable")
        await self.send("Runtime.addBinding", {"name": BINDING})
        await self._enable_fetch(self.session_id)
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
        # Timers of a hidden tab drop to one a second.
        await self.send("Emulation.setFocusEmulationEnabled", {"enabled": True})
        await self.send("Page.addScriptToEvaluateOnNewDocument", {"source": self._injection.source})

    async def inject_late(self) -> None:
        """Put the script into the document that is open now; a document that has it already is not changed."""
        await self.send(
            "Runtime.evaluate",
            {"expression": self._injection.late_source, "awaitPromise": False, "returnByValue": True},
            timeout_s=20,
        )

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
        self.late = await self.evaluate(f"globalThis[{LATE_MARK}] === true", user_gesture=False) is True
        self._opened = True

    # ---- CDP events; synchronous

    def _binding_called(self, params: dict[str, Any], session_id: str | None) -> None:
        if session_id != self.session_id or params.get("name") != BINDING:
            return
        # The binding exists in every frame of the page's process; only the top document of the origin may speak.
        if params.get("executionContextId") not in self._contexts:
            return
        payload = params.get("payload")
        if not isinstance(payload, str) or len(payload) > _MAX_EVENT_CHARS:
            return
        try:
            event = json.loads(payload)
        except ValueError:
            return
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            self._handle_event(event)

    def _context_created(self, params: dict[str, Any], session_id: str | None) -> None:
        context = params.get("context")
        if session_id != self.session_id or not isinstance(context, dict):
            return
        about = context.get("auxData") or {}
        # The top frame's id is the target's.
        is_ours = about.get("isDefault") is True and about.get("frameId") == self.target_id
        if is_ours and context.get("origin") == self._injection.origin:
            self._contexts.add(context.get("id"))

    def _context_destroyed(self, params: dict[str, Any], session_id: str | None) -> None:
        if session_id == self.session_id:
            self._contexts.discard(params.get("executionContextId"))

    def _contexts_cleared(self, _: dict[str, Any], session_id: str | None) -> None:
        if session_id == self.session_id:
            self._contexts.clear()

    def _request_paused(self, params: dict[str, Any], session_id: str | None) -> None:
        if session_id == self.session_id or session_id in self._worker_sessions:
            self._cdp.spawn(self._answer_request(params, session_id), "page-fetch")

    def _attached(self, params: dict[str, Any], session_id: str | None) -> None:
        info, worker_session = params.get("targetInfo"), params.get("sessionId")
        if session_id != self.session_id or not isinstance(info, dict) or not isinstance(worker_session, str):
            return
        if info.get("type") == "service_worker":
            self._worker_sessions.add(worker_session)
            self._cdp.spawn(self._enable_fetch(worker_session), "page-worker-fetch")

    def _detached(self, params: dict[str, Any], _: str | None) -> None:
        session_id = params.get("sessionId")
        if session_id == self.session_id:
            self._lose("The page was closed")
        elif isinstance(session_id, str):
            self._worker_sessions.discard(session_id)

    def _crashed(self, _: dict[str, Any], session_id: str | None) -> None:
        if session_id == self.session_id:
            self._lose("The page crashed")

    def _dialog_opening(self, _: dict[str, Any], session_id: str | None) -> None:
        # An attached client must answer dialogs, or the page stands still; "leave this page?" is the usual one.
        if session_id == self.session_id:
            self._cdp.spawn(self._accept_dialog(), "page-dialog")

    # ---- the work behind them

    async def _accept_dialog(self) -> None:
        await self.send("Page.handleJavaScriptDialog", {"accept": True})

    async def _enable_fetch(self, session_id: str) -> None:
        patterns: list[object] = [{"urlPattern": self._injection.worklet_pattern, "requestStage": "Request"}]
        await self._cdp.send("Fetch.enable", {"patterns": patterns}, session_id=session_id)

    async def _answer_request(self, params: dict[str, Any], session_id: str | None) -> None:
        request_id, request = params.get("requestId"), params.get("request")
        if isinstance(request, dict) and request.get("url") == self._injection.worklet_url:
            method: str = "Fetch.fulfillRequest"
            answer: dict[str, object] = {
                "requestId": request_id,
                "responseCode": 200,
                "responseHeaders": self._injection.worklet_headers,
                "body": base64.b64encode(self._injection.worklet_js).decode("ascii"),
            }
        else:
            method, answer = "Fetch.continueRequest", {"requestId": request_id}
        with contextlib.suppress(CdpError):  # the request was cancelled meanwhile
            await self._cdp.send(method, answer, session_id=session_id)

    def _handle_event(self, event: dict[str, Any]) -> None:
        if event["type"] == INJECTING:
            # Told before the new document's own events; a command that is sent now comes after the script.
            if self._opened:
                self.late = False
                self._keep(self._tell_document)
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
        self._cdp.fail_session(self.session_id, why)
        self._first_document.set()
        self._log.info("page.gone", detail=why)
        self._keep(lambda: self._on_gone(why))

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
