"""The recordings of the calls of a media plane that routes packets in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingSpec, RecordingState, RecordingStatus
from gateway.media.announcement import Announcement, load_sound, make_tone
from gateway.media.recorder import Recorder
from gateway.media.tap import Tap

OnFailed = Callable[[RecordingStatus], None]
"""Told once, in the event loop, that a recording failed by itself."""


class _Teller:
    """Brings a failure from the recorder's thread to the event loop; one at the beginning is told by `start` alone."""

    def __init__(self, on_failed: OnFailed) -> None:
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self.begun = False

    def failed(self, status: RecordingStatus) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._tell, status)

    def _tell(self, status: RecordingStatus) -> None:
        if self.begun:
            self._on_failed(status)


class Recordings:
    """Starts, stops and moves them. What blocks is done in threads."""

    def __init__(self) -> None:
        self._taps: dict[CallId, Tap] = {}
        self._sounds: dict[str, Announcement] = {}

    def tap(self, call_id: CallId) -> Tap | None:
        """Return what stands beside the call's session, None where nothing is recorded."""
        return self._taps.get(call_id)

    async def start(self, call_id: CallId, spec: RecordingSpec, on_failed: OnFailed) -> RecordingStatus:
        """Record the call, or go on with its recording."""
        announcement = await asyncio.to_thread(self._announcement, spec)
        tap = self._taps.get(call_id)
        if tap is None:
            teller = _Teller(on_failed)
            tap = self._taps[call_id] = Tap(Recorder(spec, teller.failed))
            await asyncio.to_thread(tap.recorder.start)
            teller.begun = True
        else:
            await asyncio.to_thread(tap.recorder.start)
        status = tap.recorder.status
        if status.state is not RecordingState.FAILED:
            tap.announce(announcement)
        return status

    async def stop(self, call_id: CallId) -> RecordingStatus | None:
        """Let the recording be until `start`; None where there is none."""
        tap = self._taps.get(call_id)
        return await asyncio.to_thread(tap.recorder.stop) if tap is not None else None

    def status(self, call_id: CallId) -> RecordingStatus | None:
        """Return where the recording is, None where there is none."""
        tap = self._taps.get(call_id)
        return tap.recorder.status if tap is not None else None

    def move(self, call_id: CallId, to: CallId) -> Tap | None:
        """Give the recording of a call to another session, where its SIP side is from now on."""
        tap = self._taps.pop(call_id, None)
        if tap is not None:
            self._taps[to] = tap
        return tap

    async def end(self, call_id: CallId) -> RecordingStatus | None:
        """Complete the recording of a call that is over; None where there is none."""
        tap = self._taps.pop(call_id, None)
        return await asyncio.to_thread(tap.recorder.close) if tap is not None else None

    def _announcement(self, spec: RecordingSpec) -> Announcement | None:
        if not spec.tone and not spec.sound:
            return None
        known = self._sounds.get(spec.sound)
        if known is None:
            known = self._sounds[spec.sound] = load_sound(Path(spec.sound)) if spec.sound else make_tone()
        return known
