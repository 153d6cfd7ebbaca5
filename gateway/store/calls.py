"""Call records: one row a call, written when it starts and again when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction
from gateway.domain.termination import Termination
from gateway.store.database import Database
from gateway.store.models import CallRecordRow


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What is kept of a call. Numbers and names are personal data.

    Attributes:
        created_at: aware, UTC, as are all times here.
        answered_at: None where it was never answered.
        ended_at: None while it runs.
        whatsapp_number: digits only, E.164 without the plus; None where unknown.
        sip_user: the extension that was rung or that dialled.
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


class CallRecords:
    """The stored call records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, record: CallRecord) -> None:
        """Commit a record, new or known.

        Raises:
            StoreError: nothing was changed.
        """
        row = CallRecordRow(
            id=record.id,
            account_id=record.account,
            direction=record.direction.value,
            state=record.state.value,
            created_at=record.created_at,
            answered_at=record.answered_at,
            ended_at=record.ended_at,
            result=record.result,
            reason=record.reason,
            sip_status=record.sip_status,
            q850_cause=record.q850_cause,
            pii_whatsapp_number=_clip(record.whatsapp_number),
            pii_whatsapp_name=_clip(record.whatsapp_name),
            pii_sip_user=_clip(record.sip_user),
        )

        def work(session: Session) -> None:
            session.merge(row)

        await self._database.write(work)

    async def get(self, account: AccountId, call: CallId) -> CallRecord | None:
        """Return a record of the account, None where it has none of that id."""
        row = await self._database.read(lambda session: session.get(CallRecordRow, call))
        return _record(row) if row is not None and row.account_id == account else None

    async def recent(self, account: AccountId, limit: int = 50) -> list[CallRecord]:
        """Return the account's latest records, newest first."""
        query = (
            sa.select(CallRecordRow)
            .where(CallRecordRow.account_id == account)
            .order_by(CallRecordRow.created_at.desc(), CallRecordRow.id)
            .limit(limit)
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
            return len(open_rows)

        return await self._database.write(work)


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
    )
