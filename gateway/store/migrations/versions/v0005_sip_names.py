"""Call records: the display name of who called from the SIP side."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Change the tables."""
    op.add_column("call_records", sa.Column("pii_sip_name", sa.String(length=255), nullable=True))


def downgrade() -> None:
    """Change them back."""
    with op.batch_alter_table("call_records") as table:
        table.drop_column("pii_sip_name")
