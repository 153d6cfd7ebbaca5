"""Webhooks, and what they were and are to be told."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.domain.ids import AccountId
from gateway.store.database import Database
from gateway.store.events import StoredEvent
from gateway.store.models import AttemptRow, DeliveryRow, EventRow, WebhookRow
from gateway.store.secrets import SecretBox

MAX_WEBHOOKS: Final = 20  # of one account


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an account's events are sent.

    Attributes:
        url: may hold a token.
        secret: signs; ``whsec_`` and base64.
        old_secret: signs as well until *old_secret_until*.
        events: types that are sent; empty: all.
        failures: tries in a row that failed.
        paused_until: no try before.
        disabled_reason: why it was switched off by itself; empty where it was not.
    """

    id: str
    account: AccountId
    url: str = field(repr=False)
    secret: str = field(repr=False)
    events: tuple[str, ...]
    enabled: bool
    created_at: datetime
    old_secret: str | None = field(default=None, repr=False)
    old_secret_until: datetime | None = None
    failures: int = 0
    paused_until: datetime | None = None
    disabled_reason: str = ""

    def secrets(self, now: datetime) -> tuple[str, ...]:
        """Return the secrets that sign at *now*, the new one first."""
        old = self.old_secret if self.old_secret_until is not None and now < self.old_secret_until else None
        return (self.secret,) if old is None else (self.secret, old)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver.

    Attributes:
        at: when.
        status: HTTP status, None where no answer came.
        error: what went wrong, for people; empty where it went well.
        duration_ms: of the try.
    """

    at: datetime
    status: int | None
    error: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook.

    Attributes:
        state: pending, delivered or failed (given up).
        next_try_at: None where there is none.
        attempts: the tries so far, oldest first.
    """

    id: int
    webhook: str
    event: StoredEvent
    state: str
    created_at: datetime
    next_try_at: datetime | None
    tries: int
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a try.

    Attributes:
        attempt: the try.
        state: of the delivery from now on.
        next_try_at: where it is pending still.
        paused_until: of the webhook; None: it works.
        disable: why the webhook is switched off; empty: it is not.
    """

    attempt: Attempt
    state: str
    next_try_at: datetime | None = None
    paused_until: datetime | None = None
    disable: str = ""


class Webhooks:
    """The stored webhooks and their outbox."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def create(self, account: AccountId, url: str, secret: str, events: tuple[str, ...]) -> Webhook | None:
        """Store a new webhook, and return it; None where the account has as many as it may."""
        hook_id = f"wh_{secrets.token_hex(8)}"
        row = WebhookRow(
            id=hook_id, account_id=account, sealed_url=self._seal(hook_id, "url", url),
            sealed_secret=self._seal(hook_id, "secret", secret), events=list(events), enabled=True,
            created_at=datetime.now(UTC), failures=0, disabled_reason="",
        )  # fmt: skip

        def work(session: Session) -> bool:
            mine = sa.select(sa.func.count()).select_from(WebhookRow).where(WebhookRow.account_id == account)
            if (session.scalar(mine) or 0) >= MAX_WEBHOOKS:
                return False
            session.add(row)
            return True

        return self._webhook(row) if await self._database.write(work) else None

    async def of_account(self, account: AccountId) -> list[Webhook]:
        """Return the account's webhooks, oldest first."""
        query = (
            sa.select(WebhookRow).where(WebhookRow.account_id == account).order_by(WebhookRow.created_at, WebhookRow.id)
        )
        rows = await self._database.read(lambda session: session.scalars(query).all())
        return [self._webhook(row) for row in rows]

    async def get(self, account: AccountId, hook: str) -> Webhook | None:
        """Return one of the account's webhooks, None where it has none of that id."""
        row = await self._database.read(lambda session: session.get(WebhookRow, hook))
        return self._webhook(row) if row is not None and row.account_id == account else None

    async def change(self, account: AccountId, hook: str, **changes: Any) -> Webhook | None:
        """Change url, events, enabled, secret, old_secret or old_secret_until; switched on, it is tried at once.

        Returns:
            The webhook as it is now, None where the account has none of that id.
        """
        sealed = {
            f"sealed_{name}": self._seal(hook, "secret" if name == "old_secret" else name, value)
            for name, value in changes.items()
            if name in {"url", "secret", "old_secret"}
        }
        plain = {name: value for name, value in changes.items() if f"sealed_{name}" not in sealed}

        def work(session: Session) -> WebhookRow | None:
            row = session.get(WebhookRow, hook)
            if row is None or row.account_id != account:
                return None
            for name, value in {**sealed, **plain}.items():
                setattr(row, name, list(value) if name == "events" else value)
            if changes.get("enabled") or "url" in changes:
                row.failures, row.paused_until, row.disabled_reason = 0, None, ""
                waiting = sa.update(DeliveryRow).where(DeliveryRow.webhook_id == hook, DeliveryRow.state == "pending")
                session.execute(waiting.values(next_try_at=datetime.now(UTC)))
            return row

        row = await self._database.write(work)
        return self._webhook(row) if row is not None else None

    async def delete(self, account: AccountId, hook: str) -> bool:
        """Delete a webhook with its outbox; say whether the account had it."""
        statement = sa.delete(WebhookRow).where(WebhookRow.account_id == account, WebhookRow.id == hook)
        result = await self._database.write(lambda session: session.execute(statement))
        return bool(result.rowcount)  # type: ignore[attr-defined]

    # the outbox

    async def due(self, now: datetime, *, limit: int) -> list[tuple[Webhook, Delivery]]:
        """Return what is to be sent at *now*, in the order of the events."""
        query = (
            sa.select(WebhookRow, DeliveryRow, EventRow)
            .join(DeliveryRow, DeliveryRow.webhook_id == WebhookRow.id)
            .join(EventRow, EventRow.seq == DeliveryRow.event_seq)
            .where(
                DeliveryRow.state == "pending",
                DeliveryRow.next_try_at <= now,
                WebhookRow.enabled.is_(True),
                sa.or_(WebhookRow.paused_until.is_(None), WebhookRow.paused_until <= now),
            )
            .order_by(DeliveryRow.event_seq, DeliveryRow.id)
            .limit(limit)
        )
        rows = await self._database.read(lambda session: session.execute(query).all())
        return [(self._webhook(hook), _delivery(delivery, event)) for hook, delivery, event in rows]

    async def next_due(self) -> datetime | None:
        """Return when the next try is to be made, None where nothing waits."""
        paused = WebhookRow.paused_until
        when = sa.case((paused > DeliveryRow.next_try_at, paused), else_=DeliveryRow.next_try_at)
        query = (
            sa.select(sa.func.min(when))
            .select_from(DeliveryRow)
            .join(WebhookRow, WebhookRow.id == DeliveryRow.webhook_id)
            .where(DeliveryRow.state == "pending", WebhookRow.enabled.is_(True))
        )
        return await self._database.read(lambda session: session.scalar(query))

    async def settle(self, delivery: int, outcome: Outcome) -> None:
        """Write down what became of a try. A webhook that works again gets at once what waits for it."""

        def work(session: Session) -> None:
            row = session.get(DeliveryRow, delivery)
            if row is None:
                return  # deleted meanwhile, with its webhook or its person
            attempt = outcome.attempt
            session.add(
                AttemptRow(
                    delivery_id=delivery, at=attempt.at, status=attempt.status, error=attempt.error[:255],
                    duration_ms=attempt.duration_ms,
                )
            )  # fmt: skip
            row.state, row.next_try_at = outcome.state, outcome.next_try_at
            row.attempts += 1
            hook = session.get_one(WebhookRow, row.webhook_id)
            if outcome.disable:
                hook.enabled, hook.disabled_reason = False, outcome.disable
            elif outcome.state == "delivered":
                if hook.failures:
                    waiting = sa.update(DeliveryRow).where(
                        DeliveryRow.webhook_id == hook.id, DeliveryRow.state == "pending"
                    )
                    session.execute(waiting.values(next_try_at=attempt.at))
                hook.failures, hook.paused_until = 0, None
            else:
                hook.failures += 1
                hook.paused_until = outcome.paused_until

        await self._database.write(work)

    async def deliveries(self, hook: str, *, before: int | None, limit: int) -> list[Delivery]:
        """Return a webhook's deliveries with their tries, newest first.

        Args:
            hook: the webhook.
            before: id of the last one of the page before.
            limit: how many at most.
        """
        query = (
            sa.select(DeliveryRow, EventRow)
            .join(EventRow, EventRow.seq == DeliveryRow.event_seq)
            .where(DeliveryRow.webhook_id == hook)
            .order_by(DeliveryRow.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(DeliveryRow.id < before)

        def work(session: Session) -> list[Delivery]:
            rows = session.execute(query).all()
            tries: dict[int, list[Attempt]] = {}
            mine = [delivery.id for delivery, _ in rows]
            found = sa.select(AttemptRow).where(AttemptRow.delivery_id.in_(mine)).order_by(AttemptRow.id)
            for row in session.scalars(found):
                tries.setdefault(row.delivery_id, []).append(Attempt(row.at, row.status, row.error, row.duration_ms))
            return [_delivery(delivery, event, tuple(tries.get(delivery.id, ()))) for delivery, event in rows]

        return await self._database.read(work)

    async def replay(self, hook: str, delivery: int, now: datetime) -> bool:
        """Send an event once more, at once, whatever became of it; say whether the webhook has it."""

        def work(session: Session) -> bool:
            row = session.get(DeliveryRow, delivery)
            if row is None or row.webhook_id != hook:
                return False
            row.state, row.next_try_at, row.created_at = "pending", now, now
            session.get_one(WebhookRow, hook).paused_until = None
            return True

        return await self._database.write(work)

    def _seal(self, hook: str, name: str, value: str) -> str:
        return self._box.seal(f"webhook/{hook}/{name}", value)

    def _webhook(self, row: WebhookRow) -> Webhook:
        def opened(name: str, sealed: str) -> str:
            return self._box.open(f"webhook/{row.id}/{name}", sealed)

        return Webhook(
            id=row.id,
            account=AccountId(row.account_id),
            url=opened("url", row.sealed_url),
            secret=opened("secret", row.sealed_secret),
            events=tuple(row.events),
            enabled=row.enabled,
            created_at=row.created_at,
            old_secret=opened("secret", row.sealed_old_secret) if row.sealed_old_secret else None,
            old_secret_until=row.old_secret_until,
            failures=row.failures,
            paused_until=row.paused_until,
            disabled_reason=row.disabled_reason,
        )


def _delivery(row: DeliveryRow, event: EventRow, attempts: tuple[Attempt, ...] = ()) -> Delivery:
    stored = StoredEvent(event.seq, AccountId(event.account_id), event.type, event.at, event.pii_data)
    return Delivery(row.id, row.webhook_id, stored, row.state, row.created_at, row.next_try_at, row.attempts, attempts)
