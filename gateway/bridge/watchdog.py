"""Watches over both sides of a call that is up, by their packets.

Silence proves nothing: a phone may be muted, suppress silence (RFC 3389), or hold. So a phone that was heard before and
sends neither RTP nor RTCP any more is asked in the dialog, and only one that does not know the call any more, or does
not answer, has lost it. A page that goes silent is written to the log: whether it lives is seen by its CDP connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.domain.errors import PonteError
from gateway.domain.silence import SilenceWatch
from gateway.sip.call import SipCall

if TYPE_CHECKING:
    from gateway.bridge.call import Call

_log = structlog.get_logger("ponte.call")

_PAGE_SILENT_S = 5.0  # Chrome sends fifty packets a second, whatever there is to hear
_NEVER_LESS_S = 0.05


async def watch(call: Call) -> None:
    """Watch until cancelled; a phone that is gone ends its leg, whose event ends the call."""
    limits = call.limits
    browser = call.sip is not None and call.sip.call.by_websocket
    phone = SilenceWatch(min(limits.phone_silence_s, limits.browser_silence_s) if browser else limits.phone_silence_s)
    page = _PageEar()
    while True:
        now = asyncio.get_running_loop().time()
        stats = call.media.query()
        wait_s = page.listen(now, stats.wa_to_sip.last_packet_s)
        if limits.phone_silence_s:
            heard_s = max((at for at in (stats.last_rtp_s, stats.last_rtcp_s) if at is not None), default=None)
            look = phone.look(now, heard_s, explained=call.media.held)
            wait_s = min(wait_s, look.wait_s)
            if look.silent and call.sip is not None:
                _ask(call.sip.call)
        await asyncio.sleep(max(_NEVER_LESS_S, wait_s))


def _ask(leg: SipCall) -> None:
    try:
        leg.check_alive()
        _log.info("phone_silent")
    except PonteError as error:
        _log.info("phone_not_asked", code=error.code)


class _PageEar:
    """Writes down when a page falls silent, and when it is heard again."""

    def __init__(self) -> None:
        self._silent = False

    def listen(self, now: float, heard_s: float | None) -> float:
        """Note whether the page is heard; returns when to listen again, in seconds."""
        if heard_s is None:
            return _PAGE_SILENT_S
        silent = now - heard_s >= _PAGE_SILENT_S
        if silent and not self._silent:
            _log.warning("page_silent", silence_s=_PAGE_SILENT_S)
        elif self._silent and not silent:
            _log.info("page_heard_again")
        self._silent = silent
        return _PAGE_SILENT_S if silent else heard_s + _PAGE_SILENT_S - now
