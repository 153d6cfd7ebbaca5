"""Answers the request for the worklet's script, so that neither the page's CSP nor its service worker is in the way."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from typing import Any

from gateway.browser.cdp import CdpConnection
from gateway.browser.errors import CdpError
from gateway.browser.inject import Injection


class WorkletAnswers:
    """Answers one page's requests for its worklet, and those of its service workers and windows.

    Args:
        cdp: the connection.
        injection: what the page gets.
    """

    def __init__(self, cdp: CdpConnection, injection: Injection) -> None:
        self._cdp = cdp
        self._injection = injection
        self._sessions: set[str] = set()

    def subscribe(self) -> Callable[[], None]:
        """Begin to listen for requests; returns a function that ends it."""
        return self._cdp.on("Fetch.requestPaused", self._paused)

    async def enable(self, session_id: str) -> None:
        """Have the requests of a session answered from now on.

        Raises:
            Unavailable: the session is gone.
        """
        self._sessions.add(session_id)
        patterns: list[object] = [{"urlPattern": self._injection.worklet_pattern, "requestStage": "Request"}]
        await self._cdp.send("Fetch.enable", {"patterns": patterns}, session_id=session_id)

    def forget(self, session_id: str) -> bool:
        """Take note that a session is gone; tells whether it was one of these."""
        known = session_id in self._sessions
        self._sessions.discard(session_id)
        return known

    async def keep_workers(self, session_id: str) -> None:
        """Have Chrome keep the service workers that it has installed.

        When a service worker's session ends in which a request was answered, Chrome takes to installing service workers
        anew at each load that passes through one ("update on reload"), a worker's script too: 1 s for each worker that
        a call of the page starts, and 6 s where the old one does not stop. It does so until it is told otherwise.

        Args:
            session_id: of the page.

        Raises:
            Unavailable: the page is gone.
        """
        with contextlib.suppress(CdpError):  # an experimental domain: a Chrome may come without it
            await self._cdp.send(
                "ServiceWorker.setForceUpdateOnPageLoad", {"forceUpdateOnPageLoad": False}, session_id=session_id
            )

    async def leave(self, session_id: str) -> None:
        """End the sessions of the page's service workers before its own ends, so that Chrome can be told to keep them.

        Args:
            session_id: of the page.

        Raises:
            Unavailable: the page is gone.
        """
        with contextlib.suppress(CdpError):
            off: dict[str, object] = {"autoAttach": False, "waitForDebuggerOnStart": False, "flatten": True}
            await self._cdp.send("Target.setAutoAttach", off, session_id=session_id, timeout_s=2)
        await self.keep_workers(session_id)

    def _paused(self, params: dict[str, Any], session_id: str | None) -> None:
        if session_id in self._sessions:
            self._cdp.spawn(self._answer(params, session_id), "page-fetch")

    async def _answer(self, params: dict[str, Any], session_id: str | None) -> None:
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
