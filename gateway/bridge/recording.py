"""The recording of one call: begun, stopped and begun again, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal

from gateway.bridge.call_media import CallMedia
from gateway.domain.recording import (
    RecordingFailed,
    RecordingSpec,
    RecordingState,
    RecordingStatus,
    RecordingUnavailable,
)

Told = Literal["started", "stopped", "failed"]
"""What is told of a recording."""

_OVER: Final = frozenset({RecordingState.DONE, RecordingState.FAILED, RecordingState.INTERRUPTED})
_BROKEN: Final = frozenset({RecordingState.FAILED, RecordingState.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """How an account's calls are recorded.

    Attributes:
        allowed: whether they may be recorded at all.
        always: every call is, from its answer on.
        spec: gives how a call is, by its id.
    """

    allowed: bool
    always: bool
    spec: Callable[[str], RecordingSpec]


class CallRecording:
    """One call's recording: one file, in which pauses that were asked for are left out.

    Args:
        call_id: the call.
        media: its audio.
        rule: whether and how.
        on_change: told of each change, with the status in `status`.
    """

    def __init__(
        self, call_id: str, media: CallMedia, rule: RecordingRule | None, on_change: Callable[[Told], None]
    ) -> None:
        self._call_id = call_id
        self._media = media
        self._rule = rule
        self._on_change = on_change
        self._lock = asyncio.Lock()  # several requests at once are taken one after the other
        self.status: RecordingStatus | None = None
        self.started_at: datetime | None = None

    @property
    def always(self) -> bool:
        """Whether the call is recorded without being asked for."""
        return self._rule is not None and self._rule.allowed and self._rule.always

    async def start(self) -> None:
        """Record from now on; harmless where it does already.

        Raises:
            RecordingUnavailable: the settings or the media plane do not allow it.
            RecordingFailed: it cannot be written, or could not before.
        """
        if self._rule is None or not self._rule.allowed:
            raise RecordingUnavailable("Recording is switched off (PONTE_RECORDING)")
        async with self._lock:
            if self.status is not None and self.status.state is RecordingState.RECORDING:
                return
            if self.status is not None and self.status.state in _OVER:
                raise RecordingFailed(self.status.detail or "The recording of this call is over")
            self.status = await self._media.record(self._rule.spec(self._call_id), self._failed)
            if self.status.state is RecordingState.FAILED:
                self._on_change("failed")
                raise RecordingFailed(self.status.detail)
            self.started_at = self.started_at or datetime.now(UTC)
            self._on_change("started")

    async def stop(self) -> None:
        """Record no more; harmless where nothing is recorded."""
        async with self._lock:
            if self.status is None or self.status.state is not RecordingState.RECORDING:
                return
            before = self.status
            stopped = await self._media.stop_recording()
            if stopped is not None and self.status is before:  # else it failed meanwhile, and that was told
                self.status = stopped
                self._on_change("failed" if stopped.state is RecordingState.FAILED else "stopped")

    def ended(self, last: RecordingStatus | None) -> None:
        """Take how the recording ended with the call."""
        if self.status is None or self.status.state in _OVER:
            return
        running = self.status.state is RecordingState.RECORDING
        if last is None or last.state not in _OVER:  # the plane lost the call, and the file is as it was left
            lost = "The media plane was lost in the call; the file is whole up to its last second"
            last = replace(last or self.status, state=RecordingState.INTERRUPTED, reason="media_lost", detail=lost)
        self.status = last
        if last.state in _BROKEN:
            self._on_change("failed")
        elif running:
            self._on_change("stopped")

    def refresh(self, now: RecordingStatus | None) -> RecordingStatus | None:
        """Return where it is; while it records, with the media plane's figures of *now*, which may be a second old."""
        status = self.status
        if now is None or status is None or status.state is not RecordingState.RECORDING:
            return status
        return replace(
            status,
            duration_s=max(status.duration_s, now.duration_s),
            bytes=max(status.bytes, now.bytes),
            dropped=now.dropped,
        )

    def _failed(self, status: RecordingStatus) -> None:
        if self.status is None or self.status.state not in _OVER:
            self.status = status
            self._on_change("failed")
