"""What the far end hears and says, as two pure buffers. Clocks come in as arguments."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from tests.standin.sound import FRAME, SAMPLE_RATE_HZ, Samples

MAX_HEARD_S: Final = 600
MAX_SAID_S: Final = 600
# A far end has a jitter buffer too: frames that come this late are still played without a gap.
PATIENCE_S: Final = 0.2


class HeardTape:
    """The last ten minutes of what the far end hears, with no hole in time.

    Frames that follow each other are joined sample by sample. Where the line brought nothing for longer than the
    patience of a jitter buffer, silence fills the time that passed.
    """

    def __init__(self, now_s: float) -> None:
        self._tape = np.zeros(MAX_HEARD_S * SAMPLE_RATE_HZ, dtype=np.int16)
        self._origin_s = now_s
        self._end = 0  # samples since the origin that are written

    def write(self, samples: Samples, now_s: float) -> bool:
        """Append one frame that arrived at *now_s* (seconds, monotonic); say whether silence came before it."""
        start = round((now_s - self._origin_s) * SAMPLE_RATE_HZ) - len(samples)
        late = start - self._end > PATIENCE_S * SAMPLE_RATE_HZ
        if late:
            self._silence(start)
        self._put(samples)
        return late

    def last(self, seconds: float, now_s: float) -> Samples:
        """Return the last *seconds* up to *now_s*, the present moment being what has surely arrived."""
        wanted = min(round(seconds * SAMPLE_RATE_HZ), len(self._tape))
        due = round((now_s - self._origin_s - PATIENCE_S) * SAMPLE_RATE_HZ)
        missing = max(0, due - self._end)
        kept = self._read(self._end, wanted - min(wanted, missing))
        return np.concatenate([kept, np.zeros(wanted - len(kept), dtype=np.int16)])

    def _read(self, end: int, count: int) -> Samples:
        indices = np.arange(end - count, end)
        out = self._tape[indices % len(self._tape)]
        out[indices < 0] = 0
        return out

    def _silence(self, until: int) -> None:
        count = min(until - self._end, len(self._tape))
        self._end = until - count
        self._put(np.zeros(count, dtype=np.int16))

    def _put(self, samples: Samples) -> None:
        size = len(self._tape)
        at = self._end % size
        first = min(len(samples), size - at)
        self._tape[at : at + first] = samples[:first]
        self._tape[: len(samples) - first] = samples[first:]
        self._end += len(samples)


class SayQueue:
    """What the far end has still to say, given out in frames of 20 ms; silence when there is nothing."""

    def __init__(self) -> None:
        self._waiting: deque[Samples] = deque()
        self._queued = 0

    @property
    def seconds(self) -> float:
        """How long the far end will still speak."""
        return self._queued / SAMPLE_RATE_HZ

    def put(self, samples: Samples) -> bool:
        """Queue *samples*; False when that would be more than ten minutes."""
        if self._queued + len(samples) > MAX_SAID_S * SAMPLE_RATE_HZ:
            return False
        self._waiting.append(samples)
        self._queued += len(samples)
        return True

    def clear(self) -> None:
        """Forget everything that was queued."""
        self._waiting.clear()
        self._queued = 0

    def frame(self) -> Samples:
        """Return the next 20 ms."""
        out = np.zeros(FRAME, dtype=np.int16)
        filled = 0
        while filled < FRAME and self._waiting:
            head = self._waiting.popleft()
            part = head[: FRAME - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
            if len(head) > len(part):
                self._waiting.appendleft(head[len(part) :])
        self._queued -= filled
        return out
