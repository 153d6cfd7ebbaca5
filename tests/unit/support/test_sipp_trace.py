"""SIPp's trace, and the delays that the bench reads from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.bench_sip import delays_ms, spread
from tests.support.sip_sipp import Traced, read_trace

pytestmark = pytest.mark.unit

# date, time, epoch, direction, Call-ID, CSeq, first line
ROWS = (
    "2026-11-23\t12:00:00.000000\t1000.000000\tS\ta@h\tCSeq:1 INVITE\tINVITE sip:x@h SIP/2.0",
    "2026-11-23\t12:00:00.001000\t1000.001000\tR\ta@h\tCSeq:1 INVITE\tSIP/2.0 401 Unauthorized",
    "2026-11-23\t12:00:00.002000\t1000.002000\tS\ta@h\tCSeq:2 INVITE\tINVITE sip:x@h SIP/2.0",
    "2026-11-23\t12:00:00.004000\t1000.004000\tR\ta@h\tCSeq:2 INVITE\tSIP/2.0 100 Trying",
    "2026-11-23\t12:00:00.502000\t1000.502000\tS\ta@h\tCSeq:2 INVITE\tINVITE sip:x@h SIP/2.0",
    "2026-11-23\t12:00:00.503000\t1000.503000\tR\ta@h\tCSeq:2 INVITE\tSIP/2.0 100 Trying",
    "cut off",
)


def test_delays_begin_at_the_first_invite_with_credentials_and_end_at_the_first_answer(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("\n".join(ROWS))
    trace = read_trace(tmp_path / "trace")
    assert trace[0] == Traced(1000.0, True, "a@h", "1 INVITE", "INVITE sip:x@h SIP/2.0")
    assert len(trace) == 6
    assert delays_ms(trace, "100") == [pytest.approx(2.0, abs=0.01)]
    assert delays_ms(trace, "180") == []


def test_percentiles() -> None:
    assert spread([float(n) for n in range(101)]) == {"p50": 50.0, "p99": 99.0, "count": 101}
    assert spread([7.0]) == {"p50": 7.0, "p99": 7.0, "count": 1}
