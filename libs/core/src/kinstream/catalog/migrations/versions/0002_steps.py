"""Work on an item as steps; renditions tell more of themselves.

Items that were being worked on go back to `uploaded` with their first step, and are told again by the sweep.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OLD_ITEM_COLUMNS = ("progress", "attempt", "delivery_id", "lease_until_ms")


def upgrade() -> None:
    """Steps in a table of their own."""
    op.create_table(
        "media_steps",
        sa.Column("app", sa.String(128), primary_key=True),
        sa.Column("media_id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(96), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("queue", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("order", sa.JSON, nullable=False),
        sa.Column("essential", sa.Boolean, nullable=False),
        sa.Column("cost_seconds", sa.Float, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("exhausted", sa.Boolean, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("delivery_id", sa.String(128)),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["app", "media_id"], ["media_items.app", "media_items.media_id"], ondelete="CASCADE"
        ),
    )
    op.create_index("ix_media_steps_state", "media_steps", ["state", "lease_until_ms"])
    _carry_work_over()
    op.drop_index("ix_media_items_state", "media_items")
    for name in _OLD_ITEM_COLUMNS:
        # As SQL: Alembic would copy the table in SQLite, and take what refers to it along when it drops it.
        op.execute(f"ALTER TABLE media_items DROP COLUMN {name}")
    op.add_column("media_items", sa.Column("facts", sa.JSON))
    op.add_column("media_items", sa.Column("missing", sa.JSON))
    op.add_column("media_items", sa.Column("finished_at_ms", sa.BigInteger))
    op.add_column("media_items", sa.Column("announced_at_ms", sa.BigInteger))
    op.execute("UPDATE media_items SET finished_at_ms = updated_at_ms WHERE state IN ('ready', 'failed')")
    # What was finished before there were announcements is not announced any more.
    op.execute("UPDATE media_items SET announced_at_ms = 0")
    op.create_index("ix_media_items_announced", "media_items", ["announced_at_ms", "finished_at_ms"])
    if op.get_bind().dialect.name == "postgresql":  # SQLite does not hold text to a length
        op.alter_column("media_renditions", "name", type_=sa.String(96))
        op.alter_column("media_renditions", "kind", type_=sa.String(24))
    op.add_column("media_renditions", sa.Column("step", sa.String(96), nullable=False, server_default="main"))
    op.add_column("media_renditions", sa.Column("codecs", sa.String(128)))
    op.add_column("media_renditions", sa.Column("detail", sa.JSON, nullable=False, server_default="{}"))


def _carry_work_over() -> None:
    op.execute(
        'INSERT INTO media_steps (app, media_id, name, position, role, queue, state, "order", essential,'
        " cost_seconds, progress, reason, exhausted, attempt, delivery_id, updated_at_ms)"
        " SELECT app, media_id, 'main', 0, 'main', 'media',"
        " CASE state WHEN 'ready' THEN 'done' WHEN 'failed' THEN 'failed' ELSE 'waiting' END,"
        " '{}', true, 1.0, 0, reason, exhausted, attempt, delivery_id, updated_at_ms"
        " FROM media_items WHERE state <> 'declared'"
    )
    op.execute("UPDATE media_items SET state = 'uploaded' WHERE state = 'processing'")


def downgrade() -> None:
    """Not offered: steps that are under way would be lost. Restore a backup instead."""
    raise NotImplementedError("restore the backup that was made before this version")
