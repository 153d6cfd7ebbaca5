"""The ladder as a terminal shows it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.cli_trace import as_json, from_json
from gateway.domain.errors import Unavailable
from gateway.domain.trace import Lane, Trace, TraceEntry, TraceKind
from gateway.ladder import ASCII, UNICODE, draw

pytestmark = pytest.mark.unit

PBX, PONTE, PAGE = Lane
SIP = TraceKind.SIP
TRACE = Trace(
    datetime(2026, 11, 23, 12, tzinfo=UTC),
    (
        TraceEntry(0, PBX, PONTE, SIP, "INVITE", "SDP", "1"),
        TraceEntry(4, PONTE, PAGE, TraceKind.PAGE, "dial"),
        TraceEntry(9, PONTE, PONTE, TraceKind.CALL, "CONNECTING"),
        TraceEntry(700, PAGE, PONTE, TraceKind.PAGE, "ringing"),
        TraceEntry(1000, PBX, PBX, TraceKind.MEDIA, "heard"),
        TraceEntry(1001, PAGE, PAGE, TraceKind.MEDIA, "heard"),
        TraceEntry(61_250, PONTE, PBX, SIP, "INVITE", "SDP sendonly", "2"),
    ),
)


def test_three_lanes_and_an_arrow_a_line() -> None:
    assert draw(TRACE, 72, ASCII).splitlines() == [
        "          PBX                         Ponte                       page",
        "    0.000 |------ INVITE (SDP) ------>|                           |",
        "    0.004 |                           |---------- dial ---------->|",
        "    0.009 |                           * CONNECTING                |",
        "    0.700 |                           |<-------- ringing ---------|",
        "    1.000 * heard                     |                           |",
        "    1.001 |                           |                     heard *",
        "   61.250 |< [2] INVITE (SDP sendon~ -|                           |",
    ]


@pytest.mark.parametrize("width", [60, 72, 80, 120, 250])
@pytest.mark.parametrize("pen", [ASCII, UNICODE])
def test_lanes_stand_below_each_other_however_wide_and_however_long_the_words(width: int, pen: object) -> None:
    long = [
        TraceEntry(n, source, target, SIP, "W" * 300, "d" * 300, "3")
        for n, (source, target) in enumerate((a, b) for a in Lane for b in Lane)
    ]
    shown = draw(Trace(TRACE.started_at, (*TRACE.entries, *long), truncated=True), width, pen)  # type: ignore[arg-type]
    title, *rows, missing = shown.splitlines()
    assert "missing" in missing
    assert {len(row) for row in rows} == {len(rows[0])}
    assert max(len(row) for row in rows) <= width
    assert title.index("PBX") == 10
    assert {row[10] for row in rows} <= {pen.lane, pen.dot}  # type: ignore[attr-defined]


def test_json_is_that_of_the_api_and_comes_back() -> None:
    body = as_json("c1", TRACE)
    assert body["started_at"] == "2026-11-23T12:00:00.000Z"
    assert body["entries"][0] == {
        "at_ms": 0, "from": "pbx", "to": "ponte", "kind": "sip", "text": "INVITE", "detail": "SDP", "leg": "1",
    }  # fmt: skip
    assert from_json(body) == TRACE
    body["entries"][0]["text"] = "\x1b[2J"
    assert from_json(body).entries[0].text == "?[2J"
    for wrong in ({}, body | {"entries": [{}]}, body | {"entries": [body["entries"][0] | {"from": "mars"}]}):
        with pytest.raises(Unavailable):
            from_json(wrong)
