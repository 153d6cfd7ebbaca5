"""Accounts, keys, configurations, call records."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "store_meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_store_meta")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_api_keys_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_index(op.f("ix_api_keys_account_id"), "api_keys", ["account_id"])

    op.create_table(
        "bridge_configs",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("sip_server", sa.String(length=255), nullable=True),
        sa.Column("sip_user", sa.String(length=255), nullable=True),
        sa.Column("sealed_sip_pass", sa.Text(), nullable=True),
        sa.Column("sip_listen_port", sa.Integer(), nullable=False),
        sa.Column("sip_listen_user", sa.String(length=255), nullable=True),
        sa.Column("sealed_sip_listen_secret", sa.Text(), nullable=True),
        sa.Column("sip_extension", sa.String(length=255), nullable=True),
        sa.Column("wasm_server_port", sa.Integer(), nullable=False),
        sa.Column("wasm_server_ip", sa.String(length=255), nullable=True),
        sa.Column("sealed_chrome_remote_url", sa.Text(), nullable=True),
        sa.Column("sealed_node_remote_helper", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_bridge_configs_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_bridge_configs")),
    )
    op.create_table(
        "call_records",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("direction", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("sip_status", sa.Integer(), nullable=True),
        sa.Column("q850_cause", sa.Integer(), nullable=True),
        sa.Column("pii_whatsapp_number", sa.String(length=255), nullable=True),
        sa.Column("pii_whatsapp_name", sa.String(length=255), nullable=True),
        sa.Column("pii_sip_user", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_call_records_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_records")),
    )
    op.create_index(op.f("ix_call_records_account_id"), "call_records", ["account_id"])
    op.create_index(op.f("ix_call_records_created_at"), "call_records", ["created_at"])


def downgrade() -> None:
    """Change them back."""
    op.drop_index(op.f("ix_call_records_created_at"), "call_records")
    op.drop_index(op.f("ix_call_records_account_id"), "call_records")

    op.drop_table("call_records")
    op.drop_table("bridge_configs")
    op.drop_index(op.f("ix_api_keys_account_id"), "api_keys")

    op.drop_table("api_keys")
    op.drop_table("store_meta")
    op.drop_table("accounts")
