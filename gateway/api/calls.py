"""``/calls``: the records of calls, as pages, as CSV, and deleted for one person."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.api.answers import json_answer
from gateway.api.auth import authenticate
from gateway.api.body import read_json_object
from gateway.api.deps import ApiDeps
from gateway.api.problems import Problem
from gateway.api.schemas import (
    CallList,
    CallRecordView,
    CallsFilter,
    CallsQuery,
    Ending,
    Erased,
    EraseRequest,
    Party,
    Phone,
    Recording,
    TraceEntryView,
    TraceView,
)
from gateway.api.validation import invalid, parse_body, parse_query
from gateway.domain.bridge_config import FieldFault
from gateway.domain.ids import AccountId, CallId
from gateway.domain.termination import Result
from gateway.domain.trace import Trace
from gateway.events.models import utc_text
from gateway.events.quality import Quality
from gateway.store.calls import CallFilter, CallRecord, Place
from gateway.store.store import Store

_CSV_PAGE: Final = 500
_JOURNAL_S: Final = 1.0  # how long a request waits for a record that is just being written
DIRECTION_FIGURES: Final = (
    "packets", "lost", "jitter_ms", "loss_percent", "concealed_ms", "delay_ms", "level_dbfs", "mos", "r", "scale",
)  # fmt: skip
CSV_COLUMNS: Final = (
    "id", "direction", "origin", "state", "whatsapp_number", "whatsapp_name", "sip_user", "created_at", "ringing_at",
    "answered_at", "ended_at", "duration_s", "result", "reason", "sip_status", "q850_cause", "codec",
    *(
        f"{direction}_{figure}"
        for direction in ("wa_to_sip", "sip_to_wa")
        for figure in DIRECTION_FIGURES
    ),
    "round_trip_ms", "page_round_trip_ms", "recording",
)  # fmt: skip
_CALL_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula to spreadsheets


class CallEndpoints:
    """The handlers of call records."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def list_calls(self, request: Request) -> Response:
        """``GET /calls``: a page of records, newest first."""
        account = await authenticate(request, self._deps.store.keys)
        query = parse_query(CallsQuery, request)
        after = _place(query.cursor) if query.cursor is not None else None
        # one more than wanted says whether there is a next page
        records = await self._deps.store.calls.page(account, _filter(query), after=after, limit=query.limit + 1)
        page = records[: query.limit]
        following = _cursor(page[-1]) if len(records) > query.limit else None
        return json_answer(CallList(calls=[record_view(record) for record in page], next=following))

    async def get_call(self, request: Request) -> Response:
        """``GET /calls/{id}``: one record."""
        account = await authenticate(request, self._deps.store.keys)
        call_id = call_id_of(request)
        record = await self._deps.store.calls.get(account, call_id)
        if record is None:
            raise no_such_call(call_id)
        return json_answer(record_view(record))

    async def get_trace(self, request: Request) -> Response:
        """``GET /calls/{id}/trace``: what happened in a call."""
        deps = self._deps
        account = await authenticate(request, deps.store.keys)
        call_id = call_id_of(request)
        trace = deps.accounts.trace(account, call_id)
        if trace is None:
            record = await recorded(deps.store, account, call_id)
            if record is None:
                raise no_such_call(call_id)
            trace = await deps.store.traces.get(call_id) or Trace(record.created_at, truncated=True)
        return json_answer(trace_view(call_id, trace))

    async def export(self, request: Request) -> Response:
        """``GET /calls.csv``: all records that match, newest first."""
        account = await authenticate(request, self._deps.store.keys)
        wanted = _filter(parse_query(CallsFilter, request))
        records = self._deps.store.calls
        first = await records.page(account, wanted, limit=_CSV_PAGE)  # an error here still has a status of its own

        async def rows() -> AsyncIterator[str]:
            yield _csv([CSV_COLUMNS])
            page = first
            while page:
                yield _csv([_row(record_view(record)) for record in page])
                if len(page) < _CSV_PAGE:
                    return
                page = await records.page(account, wanted, after=_place_of(page[-1]), limit=_CSV_PAGE)

        headers = {"Content-Disposition": 'attachment; filename="calls.csv"', "Cache-Control": "no-store"}
        return StreamingResponse(rows(), media_type="text/csv; charset=utf-8; header=present", headers=headers)

    async def erase(self, request: Request) -> Response:
        """``POST /calls/erase``: delete what is stored of one person."""
        deps = self._deps
        account = await authenticate(request, deps.store.keys)
        data = await read_json_object(request, limit_bytes=deps.body_limit_bytes, timeout_s=deps.body_timeout_s)
        number = parse_body(EraseRequest, data).number
        self._refuse_live(account, number)
        return json_answer(Erased(calls=await deps.store.erase(account, number)))

    def _refuse_live(self, account: AccountId, number: str) -> None:
        for call in self._deps.accounts.status(account).calls:
            if call.peer == number:
                detail = "This person is in a call, whose record is written at its end: hang up first"
                raise Problem(409, "call_in_progress", detail, call_id=call.id, state=call.state.value)


def call_id_of(request: Request) -> CallId:
    """Return the id in the path.

    Raises:
        Problem: 404, for what can be no id of a call.
    """
    text = request.path_params["id"]
    if not _CALL_ID.fullmatch(text):
        raise no_such_call(ascii(text[:64])[1:-1])
    return CallId(text)


async def recorded(store: Store, account: AccountId, call_id: CallId) -> CallRecord | None:
    """Return a call's record; where it is under way still, it is waited for a moment."""
    record = await store.calls.get(account, call_id)
    if (record is None or record.ended_at is None) and store.journal.waiting:
        await store.journal.flush(_JOURNAL_S)
        record = await store.calls.get(account, call_id)
    return record


def trace_view(call_id: str, trace: Trace) -> TraceView:
    """Return a time line as the API shows it."""
    entries = [TraceEntryView(**asdict(entry)) for entry in trace.entries]
    return TraceView(call_id=call_id, started_at=trace.started_at, truncated=trace.truncated, entries=entries)


def no_such_call(call_id: str) -> Problem:
    """Return the 404 for a call that the account does not have."""
    return Problem(404, "call_not_found", "This account has no call of that id", call_id=call_id)


def record_view(record: CallRecord) -> CallRecordView:
    """Return a record as the API shows it."""
    ending = None
    if record.ended_at is not None and record.result is not None and record.reason is not None:
        ending = Ending(
            result=Result(record.result),
            reason=record.reason,
            sip_status=record.sip_status,
            q850_cause=record.q850_cause,
        )
    duration_s = None
    if record.answered_at is not None and record.ended_at is not None:
        duration_s = round((record.ended_at - record.answered_at).total_seconds(), 3)
    return CallRecordView(
        id=record.id,
        direction=record.direction,
        origin=record.origin,
        state=record.state,
        whatsapp=Party(number=record.whatsapp_number, name=record.whatsapp_name),
        sip=Phone(user=record.sip_user, name=record.sip_name),
        created_at=record.created_at,
        ringing_at=record.ringing_at,
        answered_at=record.answered_at,
        ended_at=record.ended_at,
        duration_s=duration_s,
        ending=ending,
        quality=Quality.model_validate(record.quality) if record.quality is not None else None,
        recording=Recording.model_validate(record.recording) if record.recording is not None else None,
    )


def _filter(query: CallsFilter) -> CallFilter:
    return CallFilter(
        direction=query.direction,
        origin=query.origin,
        state=query.state,
        result=query.result,
        reason=query.reason,
        number=query.number,
        since=query.since,
        until=query.until,
        answered=None if query.answered is None else query.answered == "true",
    )


def _place_of(record: CallRecord) -> Place:
    return Place(record.created_at, record.id)


def _cursor(record: CallRecord) -> str:
    text = json.dumps([record.created_at.isoformat(), record.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        created_at, call_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place = Place(datetime.fromisoformat(created_at), str(call_id))
        place.created_at.astimezone()  # a year that no database knows
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise invalid([FieldFault("cursor", "is not the `next` of an earlier page")]) from None
    if place.created_at.tzinfo is None or "\0" in place.id or not place.id.isascii():
        raise invalid([FieldFault("cursor", "is not the `next` of an earlier page")])
    return place


def _row(view: CallRecordView) -> list[Any]:
    ending, quality = view.ending, view.quality
    to_sip, to_wa = (quality.wa_to_sip, quality.sip_to_wa) if quality else (None, None)
    times = [view.created_at, view.ringing_at, view.answered_at, view.ended_at]
    return [
        view.id, view.direction.value, view.origin.value, view.state.value,
        view.whatsapp.number, _cell(view.whatsapp.name), _cell(view.sip.user),
        *[utc_text(instant) if instant else None for instant in times], view.duration_s,
        *([ending.result.value, ending.reason, ending.sip_status, ending.q850_cause] if ending else [None] * 4),
        quality.codec if quality else None,
        *[getattr(one, figure) if one else None for one in (to_sip, to_wa) for figure in DIRECTION_FIGURES],
        *([quality.round_trip_ms, quality.page_round_trip_ms] if quality else [None] * 2),
        view.recording.file if view.recording else None,
    ]  # fmt: skip


def _cell(text: str | None) -> str | None:
    """Peers choose these texts: none may become a formula of the spreadsheet that opens the file."""
    return f"'{text}" if text is not None and text.startswith(_FORMULA) else text


def _csv(rows: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)  # RFC 4180: CRLF, quotes where needed
    return text.getvalue()
