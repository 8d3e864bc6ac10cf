"""Media items and their renditions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """The first tables."""
    op.create_table(
        "media_items",
        sa.Column("app", sa.String(128), primary_key=True),
        sa.Column("media_id", sa.String(32), primary_key=True),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("content_type", sa.String(128), nullable=False),
        sa.Column("declared_bytes", sa.BigInteger, nullable=False),
        sa.Column("uploaded_bytes", sa.BigInteger),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("exhausted", sa.Boolean, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("delivery_id", sa.String(128)),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "ix_media_items_customer", "media_items", ["app", "customer_id", "created_at_ms", "media_id"]
    )
    op.create_index("ix_media_items_state", "media_items", ["state", "lease_until_ms"])
    op.create_table(
        "media_renditions",
        sa.Column("app", sa.String(128), primary_key=True),
        sa.Column("media_id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("object_key", sa.String(512), nullable=False),
        sa.Column("content_type", sa.String(128), nullable=False),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("duration_seconds", sa.Float),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["app", "media_id"], ["media_items.app", "media_items.media_id"], ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Back to an empty catalog."""
    op.drop_table("media_renditions")
    op.drop_table("media_items")
