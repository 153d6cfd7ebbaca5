"""Call records: one row a call, written when it starts and again when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction, Origin
from gateway.domain.termination import Result, Termination
from gateway.store.database import Database
from gateway.store.models import CallRecordRow
from gateway.store.recordings import RecordingFiles

_PURGE_ROWS = 500  # in one transaction: other writers wait for some milliseconds at most

DELETED: Final = "deleted"
"""State of a recording whose file was deleted, while the call's record stays."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What is kept of a call. Numbers and names are personal data.

    Attributes:
        created_at: aware, UTC, as are all times here.
        ringing_at: None where the called phone never rang.
        answered_at: None where it was never answered.
        ended_at: None while it runs.
        whatsapp_number: digits only, E.164 without the plus; None where unknown.
        sip_user: the extension that was rung or that dialled.
        sip_name: display name of who dialled; None where the PBX gave none, or withheld it.
        origin: who asked for it.
        quality: figures of the media, as `gateway.accounts.call_book` writes them; None before the end.
        recording: what a recording left, as `gateway.accounts.call_book` writes it; None where there is none.
    """

    id: CallId
    account: AccountId
    direction: Direction
    state: CallState
    created_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    result: str | None = None
    reason: str | None = None
    sip_status: int | None = None
    q850_cause: int | None = None
    whatsapp_number: str | None = None
    whatsapp_name: str | None = None
    sip_user: str | None = None
    sip_name: str | None = None
    ringing_at: datetime | None = None
    origin: Origin = Origin.SIP
    quality: Mapping[str, Any] | None = None
    recording: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which records are wanted; what is None is not asked about.

    Attributes:
        number: of the WhatsApp party, digits.
        since: records of calls that began then or later.
        until: records of calls that began before.
        answered: whether they were answered.
    """

    direction: Direction | None = None
    origin: Origin | None = None
    state: CallState | None = None
    result: Result | None = None
    reason: str | None = None
    number: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    answered: bool | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of records, newest first: just after the call of this time and id."""

    created_at: datetime
    id: str


class CallRecords:
    """The stored call records."""

    def __init__(self, database: Database, recordings: RecordingFiles) -> None:
        self._database = database
        self._recordings = recordings

    async def save(self, record: CallRecord) -> None:
        """Commit a record, new or known.

        Raises:
            StoreError: nothing was changed.
        """
        await self._database.write(lambda session: merge_record(session, record))

    async def get(self, account: AccountId, call: CallId) -> CallRecord | None:
        """Return a record of the account, None where it has none of that id."""
        row = await self._database.read(lambda session: session.get(CallRecordRow, call))
        return _record(row) if row is not None and row.account_id == account else None

    async def page(
        self, account: AccountId, wanted: CallFilter, *, after: Place | None = None, limit: int = 50
    ) -> list[CallRecord]:
        """Return some of the account's records, newest first.

        Args:
            account: whose.
            wanted: which of them.
            after: where the page before ended. A call that begins meanwhile shifts nothing.
            limit: how many at most.
        """
        query = (
            _matching(account, wanted).order_by(CallRecordRow.created_at.desc(), CallRecordRow.id.desc()).limit(limit)
        )
        if after is not None:
            query = query.where(
                sa.or_(
                    CallRecordRow.created_at < after.created_at,
                    sa.and_(CallRecordRow.created_at == after.created_at, CallRecordRow.id < after.id),
                )
            )
        return await self._database.read(lambda session: [_record(row) for row in session.scalars(query)])

    async def close_open(self, ended_at: datetime, termination: Termination) -> int:
        """End the records that a process that died left open, at its next start.

        Returns:
            How many there were.
        """

        def work(session: Session) -> int:
            open_rows = session.scalars(sa.select(CallRecordRow).where(CallRecordRow.ended_at.is_(None))).all()
            for row in open_rows:
                row.state = CallState.ENDED.value
                row.ended_at = ended_at
                row.result = termination.result.value
                row.reason = termination.reason
                row.q850_cause = termination.q850_cause
                if row.pii_recording is not None:
                    row.pii_recording = dict(self._recordings.interrupted(AccountId(row.account_id), row.pii_recording))
            return len(open_rows)

        return await self._database.write(work)

    async def purge(self, before: datetime) -> int:
        """Delete the records of calls that ended before *before*, and return how many there were.

        Raises:
            StoreError: those that were counted so far are deleted, no more.
        """
        row = CallRecordRow
        old = sa.select(row.id, row.account_id, row.pii_recording).where(row.ended_at < before).limit(_PURGE_ROWS)
        total = 0
        while True:
            found = await self._database.read(lambda session: session.execute(old).all())
            await self._recordings.delete([(account, one) for _, account, one in found if one is not None])
            ids = [call for call, _, _ in found]
            await self._delete(ids)
            total += len(ids)
            if len(ids) < _PURGE_ROWS:
                return total

    async def _delete(self, ids: Sequence[str]) -> None:
        def work(session: Session) -> None:
            session.execute(sa.delete(CallRecordRow).where(CallRecordRow.id.in_(ids)))

        await self._database.write(work)

    async def purge_recordings(self, before: datetime) -> int:
        """Delete the recordings of calls that ended before *before*; their records stay, and say so.

        Returns:
            How many there were.

        Raises:
            StoreError: those that were counted so far are deleted, no more.
        """
        row = CallRecordRow
        kept = sa.and_(row.pii_recording.is_not(None), row.pii_recording["state"].as_string() != DELETED)
        old = sa.select(row).where(row.ended_at < before, kept).limit(_PURGE_ROWS)
        total = 0
        while True:
            records = await self._database.read(lambda session: [_record(one) for one in session.scalars(old)])
            for record in records:
                await self.delete_recording(record)
            total += len(records)
            if len(records) < _PURGE_ROWS:
                return total

    async def delete_recording(self, record: CallRecord) -> None:
        """Delete a call's recording; its record stays, and says so.

        Raises:
            StoreError: it cannot be deleted, or that not be written down.
        """
        recording = record.recording
        if recording is None:
            return
        await self._recordings.delete([(record.account, recording)])

        def work(session: Session) -> None:
            row = session.get(CallRecordRow, record.id)
            if row is not None:
                row.pii_recording = {**recording, "state": DELETED}

        await self._database.write(work)

    async def delete_recordings_of(self, account: AccountId, number: str) -> None:
        """Delete the recordings of calls that ended and that one person took part in. See `erase_records`."""
        query = sa.select(CallRecordRow.account_id, CallRecordRow.pii_recording).where(
            CallRecordRow.account_id == account,
            CallRecordRow.ended_at.is_not(None),
            CallRecordRow.pii_recording.is_not(None),
            _of_person(number),
        )
        found = await self._database.read(lambda session: session.execute(query).all())
        await self._recordings.delete([(of, one) for of, one in found])


def merge_record(session: Session, record: CallRecord) -> None:
    """Write a record, new or known, in the transaction of *session*."""
    session.merge(
        CallRecordRow(
            id=record.id,
            account_id=record.account,
            direction=record.direction.value,
            origin=record.origin.value,
            state=record.state.value,
            created_at=record.created_at,
            ringing_at=record.ringing_at,
            answered_at=record.answered_at,
            ended_at=record.ended_at,
            result=record.result,
            reason=record.reason,
            sip_status=record.sip_status,
            q850_cause=record.q850_cause,
            pii_whatsapp_number=_clip(record.whatsapp_number),
            pii_whatsapp_name=_clip(record.whatsapp_name),
            pii_sip_user=_clip(record.sip_user),
            pii_sip_name=_clip(record.sip_name),
            quality=None if record.quality is None else dict(record.quality),
            pii_recording=None if record.recording is None else dict(record.recording),
        )
    )


def erase_records(session: Session, account: AccountId, number: str) -> int:
    """Delete the account's records of calls that ended and that one person took part in.

    Args:
        session: in whose transaction.
        account: whose records.
        number: digits of the person's E.164 number, on the WhatsApp side or the SIP side.

    Returns:
        How many records there were.
    """
    ended = sa.select(CallRecordRow.id).where(
        CallRecordRow.account_id == account, CallRecordRow.ended_at.is_not(None), _of_person(number)
    )
    ids = session.scalars(ended).all()
    for first in range(0, len(ids), _PURGE_ROWS):
        session.execute(sa.delete(CallRecordRow).where(CallRecordRow.id.in_(ids[first : first + _PURGE_ROWS])))
    return len(ids)


def _of_person(number: str) -> sa.ColumnElement[bool]:
    return sa.or_(CallRecordRow.pii_whatsapp_number == number, CallRecordRow.pii_sip_user.in_([number, f"+{number}"]))


def _matching(account: AccountId, wanted: CallFilter) -> sa.Select[CallRecordRow]:
    query = sa.select(CallRecordRow).where(CallRecordRow.account_id == account)
    for column, value in (
        (CallRecordRow.direction, wanted.direction),
        (CallRecordRow.origin, wanted.origin),
        (CallRecordRow.state, wanted.state),
        (CallRecordRow.result, wanted.result),
        (CallRecordRow.reason, wanted.reason),
        (CallRecordRow.pii_whatsapp_number, wanted.number),
    ):
        if value is not None:
            query = query.where(column == str(value))
    if wanted.since is not None:
        query = query.where(CallRecordRow.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(CallRecordRow.created_at < wanted.until)
    if wanted.answered is not None:
        answered = CallRecordRow.answered_at
        query = query.where(answered.is_not(None) if wanted.answered else answered.is_(None))
    return query


def _clip(text: str | None) -> str | None:
    """Peers choose these texts: fit them to their column, and make them storable."""
    return None if text is None else text.encode("utf-8", "replace").decode()[:255].replace("\0", "")


def _record(row: CallRecordRow) -> CallRecord:
    return CallRecord(
        id=CallId(row.id),
        account=AccountId(row.account_id),
        direction=Direction(row.direction),
        state=CallState(row.state),
        created_at=row.created_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        result=row.result,
        reason=row.reason,
        sip_status=row.sip_status,
        q850_cause=row.q850_cause,
        whatsapp_number=row.pii_whatsapp_number,
        whatsapp_name=row.pii_whatsapp_name,
        sip_user=row.pii_sip_user,
        sip_name=row.pii_sip_name,
        ringing_at=row.ringing_at,
        origin=Origin(row.origin),
        quality=row.quality,
        recording=row.pii_recording,
    )
