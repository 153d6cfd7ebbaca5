"""One run: a candidate, so many calls through it, and what they cost."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.load.candidates import Kind
from tests.bench.load.lines import asked

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
WARM_UP_S: Final = 1.0
PACKETS_PER_CALL_S: Final = 100  # 50 each way

Delays = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave.

    Attributes:
        calls: at once.
        seconds: of audio in the window that was measured.
        cpu_s: user and system time of the candidate's threads in it; None: there is no candidate.
        load: what the generator saw: see `tests.bench.load.generator.figures`.
        told: what the candidate says of itself.
        delay_ms: of each packet, by sending end; NaN: it never came.
    """

    calls: int
    seconds: float
    cpu_s: float | None
    load: dict[str, Any]
    told: dict[str, Any] = field(default_factory=dict)
    delay_ms: Delays = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))

    @property
    def cpu_ms_per_call_s(self) -> float:
        """Milliseconds of a processor for a second of one call: for 100 packets that came, not for those lost."""
        assert self.cpu_s is not None
        return 1000 * self.cpu_s * PACKETS_PER_CALL_S / int(self.load["sent"] - self.load["lost"])


def cpu_s(pid: int) -> float:
    """Return user and system time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Return the memory of a process that is in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


async def measure(kind: Kind, calls: int, seconds: float) -> Run:
    """Set up *calls* calls through a fresh candidate and carry audio for so many *seconds*, after a warm-up."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{kind.name}-") as folder:
        async with (
            asked("tests.bench.load.generator") as load,
            kind.started(Path(folder), calls) as candidate,
        ):
            for call in range(calls):
                await candidate.join(load, call)
            await load.ask("connected")
            await candidate.settle()
            await load.ask("run", seconds=WARM_UP_S)
            before = cpu_s(candidate.pid) if candidate.pid else None
            kept = Path(folder) / "delay_ms.npy"
            figures = await load.ask("run", seconds=seconds, keep=str(kept), timeout_s=3 * seconds + 30)
            spent = cpu_s(candidate.pid) - before if candidate.pid and before is not None else None
            return Run(calls, seconds, spent, figures, await candidate.told(), np.load(kept))
