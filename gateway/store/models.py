"""The tables. Columns named ``pii_…`` hold personal data, columns named ``sealed_…`` encrypted secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC; SQLite alone would drop the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime was to be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables. Constraints have names, which SQLite needs to change them later."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), str: String(255)}  # noqa: RUF012 (SQLAlchemy's own protocol)


class MetaRow(Base):
    """Facts about the database itself."""

    __tablename__ = "store_meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class AccountRow(Base):
    """One WhatsApp account."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class ApiKeyRow(Base):
    """One API key, by its hash."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    label: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class AdminKeyRow(Base):
    """One admin key, by its hash."""

    __tablename__ = "admin_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    label: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class BridgeConfigRow(Base):
    """The stored fields of one account's bridge configuration."""

    __tablename__ = "bridge_configs"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    updated_at: Mapped[datetime]
    enabled: Mapped[bool]
    sip_server: Mapped[str | None]
    sip_user: Mapped[str | None]
    sealed_sip_pass: Mapped[str | None] = mapped_column(Text)
    sip_listen_port: Mapped[int] = mapped_column(Integer)
    sip_listen_user: Mapped[str | None]
    sealed_sip_listen_secret: Mapped[str | None] = mapped_column(Text)
    sip_extension: Mapped[str | None]
    wasm_server_port: Mapped[int] = mapped_column(Integer)
    wasm_server_ip: Mapped[str | None]
    sealed_chrome_remote_url: Mapped[str | None] = mapped_column(Text)
    sealed_node_remote_helper: Mapped[str | None] = mapped_column(Text)


class IdempotencyRow(Base):
    """A request to begin a call that carried a key, so that the same request again begins no second one."""

    __tablename__ = "idempotency_keys"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    call_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(index=True)


class CallRecordRow(Base):
    """One call, from its start; the ending columns are empty while it runs."""

    __tablename__ = "call_records"
    __table_args__ = (Index(None, "account_id", "created_at", "id"), Index(None, "pii_whatsapp_number"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    direction: Mapped[str] = mapped_column(String(32))
    origin: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(index=True)
    ringing_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    result: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(String(64))
    sip_status: Mapped[int | None]
    q850_cause: Mapped[int | None]
    pii_whatsapp_number: Mapped[str | None]
    pii_whatsapp_name: Mapped[str | None]
    pii_sip_user: Mapped[str | None]
    pii_sip_name: Mapped[str | None]
    quality: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    pii_recording: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class CallTraceRow(Base):
    """The time line of one call, written at its end; it goes with the call's record."""

    __tablename__ = "call_traces"

    call_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("call_records.id", ondelete="CASCADE"), primary_key=True
    )
    started_at: Mapped[datetime]
    truncated: Mapped[bool]
    entries: Mapped[list[list[Any]]] = mapped_column(JSON)


_BigId = BigInteger().with_variant(Integer, "sqlite")  # where only an INTEGER counts up by itself


class EventRow(Base):
    """One event of the log."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "account_id", "seq"), {"sqlite_autoincrement": True})  # a place is never given twice

    seq: Mapped[int] = mapped_column(_BigId, primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(index=True)
    pii_data: Mapped[dict[str, Any]] = mapped_column(JSON)
    pii_number: Mapped[str | None] = mapped_column(index=True)


class WebhookRow(Base):
    """Where an account's events are sent."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    sealed_url: Mapped[str] = mapped_column(Text)
    sealed_secret: Mapped[str] = mapped_column(Text)
    sealed_old_secret: Mapped[str | None] = mapped_column(Text)
    old_secret_until: Mapped[datetime | None]
    events: Mapped[list[str]] = mapped_column(JSON)
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    failures: Mapped[int]
    paused_until: Mapped[datetime | None]
    disabled_reason: Mapped[str]


class DeliveryRow(Base):
    """One event for one webhook: the outbox, and what became of it."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index(None, "state", "next_try_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(_BigId, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    event_seq: Mapped[int] = mapped_column(_BigId, ForeignKey("events.seq", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    next_try_at: Mapped[datetime | None]


class AttemptRow(Base):
    """One try to deliver."""

    __tablename__ = "webhook_attempts"

    id: Mapped[int] = mapped_column(_BigId, primary_key=True)
    delivery_id: Mapped[int] = mapped_column(
        _BigId, ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str]
    duration_ms: Mapped[int]
