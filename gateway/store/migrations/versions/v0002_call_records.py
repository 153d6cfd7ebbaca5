"""Call records: where a call came from, when it rang, its quality, room for its recording; indexes for lists."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Change the tables."""
    op.add_column("call_records", sa.Column("origin", sa.String(length=32), nullable=True))
    op.execute("UPDATE call_records SET origin = CASE direction WHEN 'whatsapp_to_sip' THEN 'whatsapp' ELSE 'sip' END")
    with op.batch_alter_table("call_records") as table:
        table.alter_column("origin", existing_type=sa.String(length=32), nullable=False)
        table.add_column(sa.Column("ringing_at", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("quality", sa.JSON(), nullable=True))
        table.add_column(sa.Column("pii_recording", sa.JSON(), nullable=True))
        table.drop_index(op.f("ix_call_records_account_id"))
        table.create_index(op.f("ix_call_records_account_id_created_at_id"), ["account_id", "created_at", "id"])
        table.create_index(op.f("ix_call_records_pii_whatsapp_number"), ["pii_whatsapp_number"])


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("call_records") as table:
        table.drop_index(op.f("ix_call_records_pii_whatsapp_number"))
        table.drop_index(op.f("ix_call_records_account_id_created_at_id"))
        table.create_index(op.f("ix_call_records_account_id"), ["account_id"])
        for name in ("origin", "ringing_at", "quality", "pii_recording"):
            table.drop_column(name)
