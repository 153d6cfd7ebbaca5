"""Writes a call's time line as things happen to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from gateway.domain.errors import PonteError
from gateway.domain.page_call import PageActive, PageCallEvent, PageEnded
from gateway.domain.states import CallState
from gateway.domain.termination import Termination
from gateway.domain.trace import Lane, TimeLine, Trace, TraceKind
from gateway.media.plane import MediaStats
from gateway.protocol.sip.message_log import MessageLog

_PTIME_S: Final = 0.02  # of most packets; only the instant of the first one is estimated by it


class CallTrace:
    """One call's time line.

    Args:
        made_at: when the call was made, in UTC.
        clock: monotonic seconds.
    """

    def __init__(self, made_at: datetime, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._line = TimeLine(made_at, clock())
        self._up_s = 0.0
        self._logs: list[MessageLog] = []
        self._heard: set[Lane] = set()

    def view(self) -> Trace:
        """Return the time line up to now."""
        return self._line.view()

    def follow(self, messages: MessageLog) -> None:
        """Have a SIP dialog's messages in it."""
        self._logs.append(messages)
        self._line.follow(messages)

    def when_late(self, tell: Callable[[], None]) -> None:
        """Have *tell* called for each SIP message that still comes, such as the ACK of what refused the call."""
        for log in self._logs:
            log.on_new = tell

    def note(self, kind: TraceKind, text: str, detail: str = "", *, lane: Lane = Lane.PONTE) -> None:
        """Write down something that happened at *lane*."""
        self._line.add(self._clock(), lane, lane, kind, text, detail)

    def state(self, state: CallState) -> None:
        """Write down that the call came into a state."""
        self.note(TraceKind.CALL, state.value)

    def ended(self, termination: Termination) -> None:
        """Write down how the call ended."""
        parts = [termination.result.value, termination.reason]
        parts += [f"SIP {termination.sip_status}"] if termination.sip_status is not None else []
        parts += [f"Q.850 cause {termination.q850_cause}"] if termination.q850_cause is not None else []
        self.note(TraceKind.CALL, CallState.ENDED.value, ", ".join(parts))

    @contextmanager
    def command(self, text: str, detail: str = "") -> Iterator[None]:
        """Write down a command to the page, and that the page answered."""
        self._line.add(self._clock(), Lane.PONTE, Lane.PAGE, TraceKind.PAGE, text, detail)
        try:
            yield
        except Exception as error:
            code = error.code if isinstance(error, PonteError) else type(error).__name__
            self._line.add(self._clock(), Lane.PAGE, Lane.PONTE, TraceKind.PAGE, f"{text} failed", code)
            raise
        self._line.add(self._clock(), Lane.PAGE, Lane.PONTE, TraceKind.PAGE, f"{text} done")

    def incoming(self) -> None:
        """Write down that the page rang."""
        self._line.add(self._clock(), Lane.PAGE, Lane.PONTE, TraceKind.PAGE, "incoming call")

    def page(self, event: PageCallEvent) -> None:
        """Write down what the page says of the call."""
        text, detail = "ringing", ""
        if isinstance(event, PageActive):
            text = "active"
        elif isinstance(event, PageEnded):
            text, detail = "ended", event.termination.reason
        self._line.add(self._clock(), Lane.PAGE, Lane.PONTE, TraceKind.PAGE, text, detail)

    def sound(self, stats: MediaStats) -> None:
        """Write down the first packets of each side, once there are some. To be called now and then."""
        for lane, figures, what in (
            (Lane.PAGE, stats.wa_to_sip, "first audio from WhatsApp"),
            (Lane.PBX, stats.sip_to_wa, "first audio from the phone"),
        ):
            if lane in self._heard or not figures.packets or figures.last_packet_s is None:
                continue
            self._heard.add(lane)
            at_s = figures.last_packet_s - (figures.packets - 1) * _PTIME_S
            self._line.add(max(at_s, self._up_s), lane, Lane.PONTE, TraceKind.MEDIA, what)

    def connected(self, codec: str) -> None:
        """Write down that packets may flow, with the codec of the SIP side."""
        self._up_s = self._clock()
        self.note(TraceKind.MEDIA, "connected", codec)
