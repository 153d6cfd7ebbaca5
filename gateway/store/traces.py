"""The time lines of calls, kept as long as the calls' records."""

from __future__ import annotations

from sqlalchemy.orm import Session

from gateway.domain.ids import CallId
from gateway.domain.trace import Lane, Trace, TraceEntry, TraceKind
from gateway.store.database import Database
from gateway.store.models import CallRecordRow, CallTraceRow


class CallTraces:
    """The stored time lines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, call: CallId) -> Trace | None:
        """Return a call's time line, None where none was written. Whose call it is the caller knows."""
        row = await self._database.read(lambda session: session.get(CallTraceRow, call))
        if row is None:
            return None
        return Trace(row.started_at, tuple(_entry(*one) for one in row.entries), row.truncated)


def merge_trace(session: Session, call: CallId, trace: Trace) -> None:
    """Write a call's time line, new or known, where its record is there still."""
    if session.get(CallRecordRow, call) is None:
        return
    entries = [
        [one.at_ms, one.source.value, one.target.value, one.kind.value, one.text, one.detail, one.leg]
        for one in trace.entries
    ]
    session.merge(CallTraceRow(call_id=call, started_at=trace.started_at, truncated=trace.truncated, entries=entries))


def _entry(at_ms: int, source: str, target: str, kind: str, text: str, detail: str, leg: str) -> TraceEntry:
    return TraceEntry(at_ms, Lane(source), Lane(target), TraceKind(kind), text, detail, leg)
