"""The documents of one page's origin: only the top one may speak, and when there is none the page has left."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.browser.inject import BINDING

if TYPE_CHECKING:
    from gateway.browser.cdp import CdpConnection

_MAX_EVENT_CHARS: Final = 256 * 1024


class Documents:
    """Follows the top documents of a page.

    Args:
        cdp: the connection.
        target_id: of the page, which is the id of its top frame too.
        session_id: of the page.
        origin: whose documents are ours.
        on_event: told each event of the bundle in such a document.
        on_left: told that the top frame shows another site, or Chrome's error page.
    """

    def __init__(
        self,
        cdp: CdpConnection,
        *,
        target_id: str,
        session_id: str,
        origin: str,
        on_event: Callable[[dict[str, Any]], None],
        on_left: Callable[[], None],
    ) -> None:
        self._cdp = cdp
        self._target_id = target_id
        self._session_id = session_id
        self._origin = origin
        self._on_event = on_event
        self._on_left = on_left
        self._contexts: set[object] = set()

    @property
    def open(self) -> bool:
        """Whether a document of the origin is shown."""
        return bool(self._contexts)

    def subscribe(self) -> Callable[[], None]:
        """Begin to listen; returns a function that ends it."""
        ends = [
            self._cdp.on("Runtime.executionContextCreated", self._created),
            self._cdp.on("Runtime.executionContextDestroyed", self._destroyed),
            self._cdp.on("Runtime.executionContextsCleared", self._cleared),
            self._cdp.on("Runtime.bindingCalled", self._binding_called),
        ]

        def end() -> None:
            for one in ends:
                one()

        return end

    def _binding_called(self, params: dict[str, Any], session_id: str | None) -> None:
        if session_id != self._session_id or params.get("name") != BINDING:
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
            self._on_event(event)

    def _created(self, params: dict[str, Any], session_id: str | None) -> None:
        context = params.get("context")
        if session_id != self._session_id or not isinstance(context, dict):
            return
        about = context.get("auxData") or {}
        if about.get("isDefault") is not True or about.get("frameId") != self._target_id:
            return
        if context.get("origin") == self._origin:
            self._contexts.add(context.get("id"))
        else:
            self._on_left()

    def _destroyed(self, params: dict[str, Any], session_id: str | None) -> None:
        if session_id == self._session_id:
            self._contexts.discard(params.get("executionContextId"))

    def _cleared(self, _: dict[str, Any], session_id: str | None) -> None:
        if session_id == self._session_id:
            self._contexts.clear()
