"""What was lost of a stream that outlives calls, in one call."""

from __future__ import annotations

from gateway.protocol.rtcp import FarReport


class FarLoss:
    """Counts from the reports of a page whose streams go on from call to call and may be replaced in one.

    Attributes:
        last: the page's last report of the call; None before `end`.
    """

    def __init__(self) -> None:
        self.last: FarReport | None = None
        self._before = 0  # lost in streams that are over
        self._base = 0
        self._stream: tuple[int, int] | None = None  # SSRC and what was lost of it in this call

    def begin(self, report: FarReport | None) -> None:
        """Count from *report* on; None: from the stream's beginning."""
        self._base = report.lost if report is not None else 0
        self._stream = (report.ssrc, 0) if report is not None else None

    def lost(self, report: FarReport | None) -> int:
        """Return how many packets were lost in the call so far, by the page's last word."""
        if report is not None:
            if self._stream is not None and self._stream[0] != report.ssrc:
                self._before += self._stream[1]
                self._base = 0
            self._stream = (report.ssrc, max(0, report.lost - self._base))
        return self._before + (self._stream[1] if self._stream is not None else 0)

    def end(self, report: FarReport | None) -> None:
        """Take the last report of the call."""
        self.last = report
        self.lost(report)
