"""The figures of all benches: one section each of `build/bench.json`, and plots beside it.

    with Section.open("passthrough", quick=quick) as section:
        section.add("cpu_50_ponte", "CPU per call-second, 50 calls", [3.9, 4.1, 4.0], "ms", bar=8.0, aim=4.0)
        section.skip("cpu_50_janus", "CPU per call-second, 50 calls", "janus is not installed")
        section.plot(figure, "cpu")                    # build/bench-passthrough-cpu.png

A section replaces the one of its name and leaves the others as they are, also where several benches end at the same
time. It is written too when its bench fails, with what was measured until then and the failure.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.support.machine import BusyMeter

BUILD: Final = Path(__file__).resolve().parents[2] / "build"
_DIGITS: Final = 4  # significant ones: no figure of a bench is better known


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure.

    Attributes:
        title: what it is, for people.
        unit: of all values.
        values: one of each run; empty where it was skipped.
        bar: what it has to reach.
        aim: what is hoped for.
        at_least: bar and aim are the lowest good values; else the highest.
        note: how it was measured, where the title does not say.
        skipped: why there is none.
    """

    title: str
    unit: str = ""
    values: tuple[float, ...] = ()
    bar: float | None = None
    aim: float | None = None
    at_least: bool = False
    note: str = ""
    skipped: str = ""

    @property
    def median(self) -> float:
        """The middle one of the runs."""
        return statistics.median(self.values)

    def reaches(self, limit: float | None) -> bool | None:
        """Whether the median is as good as *limit*; None where there is no limit, or no value."""
        if limit is None or not self.values:
            return None
        return self.median >= limit if self.at_least else self.median <= limit

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        if not self.values:
            return {"title": self.title, "skipped": self.skipped}
        found: dict[str, Any] = {
            "title": self.title,
            "unit": self.unit,
            "median": _rounded(self.median),
            "spread": [_rounded(min(self.values)), _rounded(max(self.values))],
            "runs": len(self.values),
            "values": [_rounded(value) for value in self.values],
        }
        if self.bar is not None or self.aim is not None:
            found["limit"] = "at least" if self.at_least else "at most"
        for name, limit in (("bar", self.bar), ("aim", self.aim)):
            if limit is not None:
                found[name] = limit
        if self.bar is not None:
            found["holds"] = self.reaches(self.bar)
        if self.aim is not None:
            found["aim_reached"] = self.reaches(self.aim)
        if self.note:
            found["note"] = self.note
        return found

    def as_line(self, key: str) -> str:
        """Return it as one line for people."""
        if not self.values:
            return f"  {key}: skipped: {self.skipped}"
        line = f"  {key}: {_rounded(self.median):g} {self.unit}"
        if len(self.values) > 1:
            line += f" ({_rounded(min(self.values)):g}..{_rounded(max(self.values)):g}, {len(self.values)} runs)"
        word = ">=" if self.at_least else "<="
        if self.bar is not None:
            line += f", bar {word} {self.bar:g} {'holds' if self.reaches(self.bar) else 'MISSED'}"
        if self.aim is not None:
            line += f", aim {word} {self.aim:g} {'reached' if self.reaches(self.aim) else 'not reached'}"
        return line


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


@dataclass(slots=True)
class Section:
    """The figures of one bench; a context manager, at whose end they are written.

    Attributes:
        name: of the section.
        quick: measured with ``--quick``: fewer and shorter runs.
        folder: where `bench.json` and the plots go.
    """

    name: str
    quick: bool = False
    folder: Path = BUILD
    entries: dict[str, Entry] = field(default_factory=dict)
    plots: list[str] = field(default_factory=list)
    conditions: dict[str, Any] = field(default_factory=dict)
    _began_s: float = 0.0
    _meter: BusyMeter | None = None

    @classmethod
    def open(cls, name: str, *, quick: bool = False, folder: Path = BUILD) -> Section:
        """Return an empty section, to be used in a ``with`` statement."""
        return cls(name, quick, folder)

    def add(
        self,
        key: str,
        title: str,
        values: Sequence[float],
        unit: str,
        *,
        bar: float | None = None,
        aim: float | None = None,
        at_least: bool = False,
        note: str = "",
    ) -> Entry:
        """Add a figure, with a value of each run.

        Raises:
            ValueError: there is no value: a figure is measured or skipped, never estimated.
        """
        if not values:
            raise ValueError(f"{key} has no value: skip it, and say why")
        entry = Entry(title, unit, tuple(values), bar, aim, at_least, note)
        self.entries[key] = entry
        return entry

    def skip(self, key: str, title: str, reason: str) -> None:
        """Say why there is no such figure."""
        self.entries[key] = Entry(title, skipped=reason)

    def plot(self, figure: Any, name: str) -> Path:
        """Write a matplotlib figure as PNG."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"bench-{self.name}-{name}.png"
        figure.savefig(path, dpi=100, bbox_inches="tight")
        self.plots.append(path.name)
        return path

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._meter = BusyMeter()
        self._meter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._meter is not None
        self._meter.__exit__()
        busy = self._meter.read()
        found: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "took_s": round(time.monotonic() - self._began_s, 1),
            "quick": self.quick,
            "machine": machine(),
            "busy": {
                "runnable_per_core": round(busy.runnable_per_core, 2),
                "latest_wake_ms": round(busy.latest_wake_ms),
            },
            "conditions": self.conditions,
            "entries": {key: entry.as_json() for key, entry in self.entries.items()},
            "plots": self.plots,
        }
        if error is not None:
            found["failed"] = f"{type(error).__name__}: {error}"
        store(self.name, found, self.folder)

    def lines(self) -> list[str]:
        """Return the figures for people."""
        return [entry.as_line(key) for key, entry in self.entries.items()]


def store(name: str, section: Mapping[str, Any], folder: Path = BUILD) -> None:
    """Put *section* into `bench.json` in the place of the one with that name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.json"
    with (folder / "bench.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            sections = json.loads(path.read_text())
        except FileNotFoundError:
            sections = {}
        sections[name] = section
        written = path.with_suffix(".json.new")
        written.write_text(json.dumps(sections, indent=2, sort_keys=True) + "\n")
        written.replace(path)
