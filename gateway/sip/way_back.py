"""The way back through an address translator, kept open while an account is registered over UDP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class WayBack:
    """Sends something small again and again: over UDP a translator forgets after 30 s of silence who asked for what
    (RFC 4787 section 4.3 asks for two minutes, which home routers do not keep), and no call comes through any more.

    Args:
        every_s: between two of them; 0: never.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, send: Callable[[], None] | None) -> None:
        """Call *send* after each pause from now on, in place of what was called before; None: call nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if send is not None and self._every_s > 0:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._again, send)

    def _again(self, send: Callable[[], None]) -> None:
        send()
        self.keep(send)
