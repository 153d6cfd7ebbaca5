"""How busy the machine was: a measure of time means nothing while others use the processors."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_SAMPLE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Busyness:
    """Of the machine as a whole over some time.

    Attributes:
        runnable_per_core: how many threads wanted to run at once, on average, for each core.
        latest_wake_ms: by how much a thread that slept was woken too late at worst.
    """

    runnable_per_core: float
    latest_wake_ms: float


class BusyMeter:
    """Watches the machine from a thread of its own for the length of a ``with`` block."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="busy meter", daemon=True)
        self._samples = 0
        self._runnable = 0
        self._latest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def read(self) -> Busyness:
        """What was seen so far."""
        cores = os.cpu_count() or 1
        return Busyness(self._runnable / max(1, self._samples) / cores, 1000 * self._latest_s)

    def _watch(self) -> None:
        loads = Path("/proc/loadavg")
        while not self._stop.is_set():
            before_s = time.monotonic()
            time.sleep(_SAMPLE_S)
            self._latest_s = max(self._latest_s, time.monotonic() - before_s - _SAMPLE_S)
            # "0.20 0.18 0.12 3/820 4711": three threads want to run just now, this one among them.
            self._runnable += int(loads.read_text().split()[3].partition("/")[0]) - 1
            self._samples += 1
