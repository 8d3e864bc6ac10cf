"""Steps count their tries apart from their attempts, so that a step may be begun anew with all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """So far every attempt was a try."""
    # With a default, for workers of the version before that still run.
    op.add_column("media_steps", sa.Column("tries", sa.Integer, nullable=False, server_default="0"))
    # What is done is tried no more; there is much of it, and everybody waits meanwhile.
    op.execute("UPDATE media_steps SET tries = attempt WHERE state <> 'done'")


def downgrade() -> None:
    """The version before counts attempts alone."""
    op.execute("ALTER TABLE media_steps DROP COLUMN tries")
