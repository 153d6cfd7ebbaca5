"""The figures as a table for people and as a file for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.demo.measure import AudioFigures, CallFigures, Limits

_ROWS: Final = (
    ("tone_hz", "tone heard, Hz"),
    ("tone_error_hz", "off by, Hz"),
    ("level_error_db", "level off by, dB"),
    ("sinad_db", "SINAD, dB"),
    ("sinad_db_p10", "SINAD, worst tenth, dB"),
    ("longest_gap_ms", "longest gap in speech, ms"),
    ("latency_ms_p50", "latency p50, ms"),
    ("latency_ms_p95", "latency p95, ms"),
    ("latency_count", "bursts matched"),
    ("first_audio_ms", "answer to audio, ms"),
    ("packets_lost", "RTP packets lost"),
)


def table(calls: Sequence[CallFigures], limits: Limits) -> str:
    """One column for each direction of each call, one row for each figure, the limit last."""
    limit_of = {
        "tone_error_hz": f"± {limits.tone_error_hz:g}",
        "level_error_db": f"± {limits.level_error_db:g}",
        "sinad_db": f"≥ {limits.sinad_db:g}",
        "longest_gap_ms": f"≤ {limits.longest_gap_ms:g}",
        "latency_ms_p50": f"≤ {limits.wa_to_sip_latency_ms_p50:g} / {limits.sip_to_wa_latency_ms_p50:g}",
        "latency_count": f"≥ {limits.latency_count}",
        "first_audio_ms": f"≤ {limits.answer_to_audio_ms:g}",
    }
    # Two columns have to hold the direction's name between them.
    head = ["", *(way.rjust(7) for _ in calls for way in ("wa→sip", "sip→wa")), "limit"]
    rows = [head]
    for name, label in _ROWS:
        cells = [_number(getattr(audio, name)) for call in calls for audio in (call.wa_to_sip, call.sip_to_wa)]
        rows.append([label, *cells, limit_of.get(name, "")])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in
                  enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    # Which call the columns belong to, above them.
    over = " " * widths[0]
    for index, call in enumerate(calls):
        pair = widths[1 + 2 * index] + 2 + widths[2 + 2 * index]
        over += "  " + call.direction.center(pair)
    setups = [f"set-up, {call.direction}: {call.setup_ms:.0f} ms" for call in calls]
    return "\n".join([over.rstrip(), *lines, *setups])


def document(calls: Sequence[CallFigures], *, failed: Sequence[str], limits: Limits) -> dict[str, Any]:
    """The content of ``build/demo.json``."""
    return {
        "calls": [
            {
                "direction": call.direction,
                "setup_ms": _rounded(call.setup_ms),
                "answer_to_audio_ms": _rounded(call.answer_to_audio_ms),
                "stand_in": call.stand_in,
                "instants_ms": {name: _rounded(at_ms) for name, at_ms in call.instants_ms.items()},
                "audio": {"wa_to_sip": _audio(call.wa_to_sip), "sip_to_wa": _audio(call.sip_to_wa)},
            }
            for call in calls
        ],
        "ok": not failed,
        "failed": list(failed),
        "limits": asdict(limits),
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the document, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    fresh.replace(path)


def _audio(audio: AudioFigures) -> dict[str, float | None]:
    return {name: _rounded(value) for name, value in asdict(audio).items()}


def _rounded(value: float) -> float | None:
    # JSON has no NaN.
    return round(value, 2) if math.isfinite(value) else None


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "—"
    return str(value) if isinstance(value, int) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
