"""Draws the time line of a call for a terminal: three lanes, an arrow a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.domain.trace import Lane, Trace, TraceEntry

_TIME: Final = 9  # columns of the time: up to 99999.999 s
_LANES: Final = (Lane.PBX, Lane.PONTE, Lane.PAGE)
_TITLES: Final = {Lane.PBX: "PBX", Lane.PONTE: "Ponte", Lane.PAGE: "page"}
_LEAST_GAP: Final = 20


@dataclass(frozen=True, slots=True)
class Pen:
    """The signs that a terminal can show."""

    lane: str
    line: str
    right: str
    left: str
    dot: str
    cut: str


UNICODE: Final = Pen("│", "─", "▶", "◀", "●", "…")
ASCII: Final = Pen("|", "-", ">", "<", "*", "~")


def draw(trace: Trace, width: int, pen: Pen = UNICODE) -> str:
    """Return the ladder, lines no longer than *width* where that is 60 at least.

    Args:
        trace: the time line.
        width: columns of the terminal.
        pen: the signs to use.
    """
    gap = max(_LEAST_GAP, (width - _TIME - 2 - len(_TITLES[Lane.PAGE])) // 2 - 1)
    header = " " * (_TIME + 1) + f"{_TITLES[Lane.PBX]:<{gap + 1}}{_TITLES[Lane.PONTE]:<{gap + 1}}{_TITLES[Lane.PAGE]}"
    lines = [header.rstrip()]
    lines += [f"{entry.at_ms / 1000:{_TIME}.3f} {_row(entry, gap, pen)}" for entry in trace.entries]
    if trace.truncated:
        lines.append("(entries are missing: there were too many, or none was written down)")
    return "\n".join(lines)


def _row(entry: TraceEntry, gap: int, pen: Pen) -> str:
    source, target = _LANES.index(entry.source), _LANES.index(entry.target)
    label = " ".join(part for part in (f"[{entry.leg}]" if entry.leg not in {"", "1"} else "", entry.text) if part)
    if entry.detail:
        label += f" ({entry.detail})"
    if source == target:
        return _note(source, label, gap, pen)
    first, last = min(source, target), max(source, target)
    span = (last - first) * (gap + 1) - 1
    body = f" {_cut(label, span - 4, pen)} ".center(span - 1, pen.line)
    arrow = f"{body}{pen.right}" if target > source else f"{pen.left}{body}"
    cells = [pen.lane + " " * gap] * first + [pen.lane + arrow] + ([pen.lane + " " * gap] * (2 - last))
    return "".join(cells) + pen.lane


def _note(lane: int, label: str, gap: int, pen: Pen) -> str:
    if lane == 2:  # to the left of the last lane: there is no room beside it
        return pen.lane + " " * gap + pen.lane + f"{_cut(label, gap - 1, pen)} ".rjust(gap) + pen.dot
    cells: Sequence[str] = [pen.lane + " " * gap] * lane
    room = (2 - lane) * (gap + 1) - 1
    text = f" {_cut(label, room - 2, pen)}"
    if lane == 0 and len(text) <= gap:
        return pen.dot + text.ljust(gap) + pen.lane + " " * gap + pen.lane
    return "".join(cells) + pen.dot + text.ljust(room) + pen.lane


def _cut(text: str, most: int, pen: Pen) -> str:
    return text if len(text) <= most else text[: most - 1] + pen.cut
