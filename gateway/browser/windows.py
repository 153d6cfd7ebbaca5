"""Windows that pages open beside themselves: WhatsApp shows a call in one, with a `navigator` of its own.

The page's bundle hooks such a window as soon as `window.open` returns, and once more whenever it shows another document
of the page's origin. For the latter a script has to be in it before that document's own: Chrome holds each new window
until we have looked at it. Windows that are nobody's here are let go of at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.browser.errors import CdpError
from gateway.domain.errors import Unavailable

if TYPE_CHECKING:
    from gateway.browser.cdp import CdpConnection

HOOK_SOURCE: Final = "try { globalThis.opener?.__ponte?.hook?.(globalThis); } catch { /* of another origin */ }"

_FILTER: Final = [{"type": "browser", "exclude": True}, {"type": "tab", "exclude": True}, {}]
"""All that starts: Chrome holds a worker too whose kind is left out here, and then nobody could let go of it."""

Prepare = Callable[[str], Awaitable[None]]


class Windows:
    """The windows of the pages of one connection. Each connection has one: Chrome's setting is the connection's too.

    Args:
        cdp: the connection.
    """

    def __init__(self, cdp: CdpConnection) -> None:
        self._cdp = cdp
        self._pages: dict[str, Prepare] = {}
        self._openers: dict[str, str] = {}  # of each window that is open: the page that it belongs to
        self._sessions: dict[str, str] = {}
        self._starting = False
        cdp.on("Target.attachedToTarget", self._attached)
        cdp.on("Target.detachedFromTarget", self._detached)
        cdp.on("Page.domContentEventFired", self._loaded)

    async def follow(self, target_id: str, prepare: Prepare) -> Callable[[], None]:
        """Hook the windows of a page from now on.

        Args:
            target_id: of the page.
            prepare: sets up the session of a window, as the page's own was.

        Returns:
            A function that ends it.

        Raises:
            Unavailable: Chrome went away.
        """
        first = not self._pages
        self._pages[target_id] = prepare
        if first:
            await self._hold(True)

        def leave() -> None:
            if self._pages.pop(target_id, None) is not None and not self._pages and not self._cdp.closed.is_set():
                self._cdp.spawn(self._hold(False), "windows-let-go")

        return leave

    async def _hold(self, on: bool) -> None:
        self._starting = on
        try:
            # Without it the page's bundle alone hooks its windows.
            with contextlib.suppress(CdpError):
                await self._cdp.send(
                    "Target.setAutoAttach",
                    {"autoAttach": on, "waitForDebuggerOnStart": on, "flatten": True, "filter": _FILTER},
                )
        finally:
            self._starting = False

    def _attached(self, params: dict[str, Any], session_id: str | None) -> None:
        info, window_session = params.get("targetInfo"), params.get("sessionId")
        if session_id is not None or not isinstance(info, dict) or not isinstance(window_session, str):
            return
        target_id, opener = str(info.get("targetId")), str(info.get("openerId"))
        page = self._openers.get(opener, opener)
        held = params.get("waitingForDebugger") is True
        is_window = info.get("type") == "page" and page in self._pages
        if is_window and info.get("canAccessOpener") and (held or self._starting):
            self._openers[target_id] = page
            self._sessions[window_session] = target_id
            self._cdp.spawn(self._take(window_session, self._pages[page]), "window-take")
        elif held or self._starting:
            # What somebody attached to by himself waits for nothing, and is his own.
            self._cdp.spawn(self._let_go(window_session), "window-not-ours")

    def _detached(self, params: dict[str, Any], _: str | None) -> None:
        target_id = self._sessions.pop(str(params.get("sessionId")), None)
        if target_id is not None:
            self._openers.pop(target_id, None)

    def _loaded(self, _: dict[str, Any], session_id: str | None) -> None:
        if session_id in self._sessions:
            self._cdp.spawn(self._hook(str(session_id)), "window-hook")

    async def _hook(self, session_id: str) -> None:
        # The gesture lets the document's audio start: what a person does in the page counts for that page alone.
        await self._cdp.send(
            "Runtime.evaluate", {"expression": HOOK_SOURCE, "userGesture": True}, session_id=session_id, timeout_s=5
        )

    async def _take(self, session_id: str, prepare: Prepare) -> None:
        try:
            await prepare(session_id)
            await self._cdp.send(
                "Page.addScriptToEvaluateOnNewDocument", {"source": HOOK_SOURCE}, session_id=session_id
            )
            await self._cdp.send("Page.enable", session_id=session_id)
            await self._go_on(session_id)
            await self._hook(session_id)
        finally:
            await self._go_on(session_id)

    async def _let_go(self, session_id: str) -> None:
        await self._go_on(session_id)
        with contextlib.suppress(CdpError, Unavailable):
            await self._cdp.send("Target.detachFromTarget", {"sessionId": session_id}, timeout_s=5)

    async def _go_on(self, session_id: str) -> None:
        with contextlib.suppress(CdpError, Unavailable):
            await self._cdp.send("Runtime.runIfWaitingForDebugger", session_id=session_id, timeout_s=5)
