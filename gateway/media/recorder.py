"""Records a call: packets go into a bounded queue, a thread of its own decodes and writes. The packet path never waits.

What is on the disk is a whole file after every write, at most `LAG_S` and one turn behind the call: a process that is
killed leaves all but that.
"""

from __future__ import annotations

import contextvars
import errno
import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import structlog

from gateway.codecs.pcm import PcmDecoder
from gateway.domain.recording import RecordingSpec, RecordingState, RecordingStatus
from gateway.media.recording_file import RATE_HZ, SoundFile, open_sound_file
from gateway.media.timeline import Timeline
from gateway.protocol.rtp import HEADER, HEADER_BYTES

Direction = Literal["wa_to_sip", "sip_to_wa"]

LAG_S: Final = 0.4  # how long a late packet is waited for
TURN_S: Final = 0.2  # between two writes
_QUEUE: Final = 1000  # packets: 10 s of both directions, what a disk that spins up may take
_SPACE_S: Final = 1.0  # between two looks at the disk's free space

OnFailed = Callable[[RecordingStatus], None]
"""Told once, from the recorder's thread, that a recording failed."""


class Recorder:
    """One call's recording.

    Args:
        spec: how.
        on_failed: told from the thread when the recording fails.
        clock: monotonic seconds, the clock of `hear`'s instants.
    """

    def __init__(self, spec: RecordingSpec, on_failed: OnFailed, clock: Callable[[], float] = time.monotonic) -> None:
        self._spec = spec
        self._on_failed = on_failed
        self._clock = clock
        self._queue: deque[tuple[Direction, str, bytes, float]] = deque()
        self._wake = threading.Event()
        self._idle = threading.Event()  # set while what was asked for is done
        self._lock = threading.Lock()  # between the thread and whoever starts, stops and asks; never the packet path
        self._state = RecordingState.RECORDING
        self._wanted = RecordingState.RECORDING
        self._listening = True  # false from the instant of a stop, however long the disk takes to hear of it
        self._started_s = clock()
        self._written = 0  # samples
        self._dropped = 0
        self._reason = self._detail = ""
        self._space_at_s = 0.0
        self._file: SoundFile | None = None
        self._bytes = 0
        self._lanes: dict[Direction, Timeline] = {
            "wa_to_sip": Timeline(RATE_HZ, PcmDecoder), "sip_to_wa": Timeline(RATE_HZ, PcmDecoder),
        }  # fmt: skip
        self._log = structlog.get_logger("ponte.recording")
        # with the context of who asked, so that its log lines name the call
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name="recorder", daemon=True)
        self._thread.start()

    # the packet path

    def hear(self, direction: Direction, codec: str, packet: bytes, at_s: float) -> None:
        """Take a packet that was sent on. Never waits.

        Args:
            direction: whose sound.
            codec: of its payload.
            packet: RTP without extension or padding.
            at_s: monotonic instant of its arrival.
        """
        if self._state is RecordingState.FAILED or not self._listening:
            return
        if len(self._queue) < _QUEUE:
            self._queue.append((direction, codec, packet, at_s))
        else:
            self._dropped += 1

    # control

    @property
    def status(self) -> RecordingStatus:
        """Where it is."""
        with self._lock:
            return self._status()

    def _status(self) -> RecordingStatus:
        return RecordingStatus(
            self._state, self._spec.file, self._spec.format, round(self._written / RATE_HZ, 3), self._bytes,
            self._reason, self._detail, self._dropped,
        )  # fmt: skip

    def stop(self, timeout_s: float = 2.0) -> RecordingStatus:
        """Write what was heard so far and leave the file be until `start` or `close`. Blocks."""
        return self._ask(RecordingState.STOPPED, timeout_s)

    def start(self, timeout_s: float = 2.0) -> RecordingStatus:
        """Go on where `stop` left off; the pause is not in the file. Blocks."""
        return self._ask(RecordingState.RECORDING, timeout_s)

    def close(self, timeout_s: float = 3.0) -> RecordingStatus:
        """Write what was heard and complete the file. Blocks; a disk that hangs is not waited for longer."""
        self._ask(RecordingState.DONE, timeout_s)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            detail = "The disk does not answer; what it has taken is there"
            return replace(self.status, state=RecordingState.FAILED, reason="disk_hangs", detail=detail)
        return self.status

    def _ask(self, wanted: RecordingState, timeout_s: float) -> RecordingStatus:
        with self._lock:
            if self._state is not RecordingState.FAILED and self._wanted is not RecordingState.DONE:
                self._wanted = wanted
                self._listening = wanted is RecordingState.RECORDING
                self._idle.clear()
                self._wake.set()
        self._idle.wait(timeout_s)
        status = self.status
        if wanted is RecordingState.DONE or status.state in (RecordingState.FAILED, RecordingState.DONE):
            return status
        return replace(status, state=wanted)  # it holds already, also where the disk has not taken what was before

    # the thread

    def _run(self) -> None:
        try:
            self._file = open_sound_file(Path(self._spec.folder), self._spec.file, self._spec.format)
            while not self._turn():
                self._wake.wait(TURN_S)
                self._wake.clear()
        except OSError as error:
            self._fail(*_explained(error))
        except Exception:
            self._log.exception("recording_crashed")
            self._fail("internal", "The recording ended by a fault of ours")
        finally:
            if self._file is not None:
                self._file.close()
                self._bytes = self._file.bytes
            with self._lock:
                if self._state is not RecordingState.FAILED:
                    self._state = RecordingState.DONE
            self._queue.clear()
            self._idle.set()

    def _turn(self) -> bool:
        """Write what is due; returns whether that was the last of it."""
        with self._lock:
            wanted = self._wanted
        now = self._clock()
        if self._state is RecordingState.RECORDING:
            ends = wanted is not RecordingState.RECORDING
            self._sort()
            self._check_space(now)
            position = now - self._started_s
            self._write(round((position if ends else position - LAG_S) * RATE_HZ), last=ends)
        elif wanted is RecordingState.RECORDING:
            self._queue.clear()
            self._started_s = now - self._written / RATE_HZ
        else:
            self._queue.clear()
        with self._lock:
            if wanted is not RecordingState.DONE:
                self._state = wanted
            if self._wanted is wanted:
                self._idle.set()
        return wanted is RecordingState.DONE

    def _sort(self) -> None:
        for _ in range(len(self._queue)):
            direction, codec, packet, arrived_s = self._queue.popleft()
            _, _, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
            at_s = arrived_s - self._started_s
            if at_s >= 0:
                self._lanes[direction].add(codec, ssrc, sequence, timestamp, packet[HEADER_BYTES:], at_s)

    def _write(self, until: int, *, last: bool) -> None:
        assert self._file is not None
        if until <= self._written:
            return
        left = self._take("wa_to_sip", until, last)
        right = self._take("sip_to_wa", until, last)
        self._file.write(left, right)
        with self._lock:
            self._written = until
            self._bytes = self._file.bytes

    def _take(self, direction: Direction, until: int, last: bool) -> array[int]:
        lane = self._lanes[direction]
        samples = lane.take(until, last=last)
        if last:
            lane.restart()
        return samples

    def _check_space(self, now: float) -> None:
        if now < self._space_at_s or not self._spec.min_free_bytes:
            return
        self._space_at_s = now + _SPACE_S
        disk = os.statvfs(self._spec.folder)
        if disk.f_bavail * disk.f_frsize < self._spec.min_free_bytes:
            raise OSError(errno.ENOSPC, "the room that is left is kept for the database")

    def _fail(self, reason: str, detail: str) -> None:
        with self._lock:
            self._state = self._wanted = RecordingState.FAILED
            self._reason, self._detail = reason, detail
            status = self._status()
        self._log.error("recording_failed", reason=reason, detail=detail)
        self._on_failed(status)


def _explained(error: OSError) -> tuple[str, str]:
    """Return the slug and the sentence for what went wrong; no path, which may name the machine's folders."""
    why = error.strerror or "unknown"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "disk_full", f"There is no room for more: {why}. The recording ends here; the call goes on"
        case errno.EFBIG:
            return "file_too_big", f"The file cannot grow further: {why}. The recording ends here; the call goes on"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "not_allowed", f"The folder of recordings cannot be written to: {why}"
        case _:
            return "disk_error", f"The disk refused the recording: {why}. The call goes on"
