"""Tables of the catalog. Every key begins with the app; times are milliseconds since 1970."""

from sqlalchemy import BigInteger, Boolean, Float, ForeignKeyConstraint, Index, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Base of the catalog's tables."""


class MediaItem(Base):
    """A declared upload and how far it got."""

    __tablename__ = "media_items"
    __table_args__ = (
        Index("ix_media_items_customer", "app", "customer_id", "created_at_ms", "media_id"),
        Index("ix_media_items_state", "state", "lease_until_ms"),
    )

    app: Mapped[str] = mapped_column(String(128), primary_key=True)
    media_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    customer_id: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(16))
    content_type: Mapped[str] = mapped_column(String(128))
    declared_bytes: Mapped[int] = mapped_column(BigInteger)
    uploaded_bytes: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(500))
    exhausted: Mapped[bool] = mapped_column(Boolean, default=False)
    """Failed for having been tried too often, not for what it is: it may be tried again."""
    progress: Mapped[int] = mapped_column(Integer, default=0)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    """Grows with every claim; whoever holds an older one has lost the item."""
    delivery_id: Mapped[str | None] = mapped_column(String(128))
    """The message under which the last claim was made."""
    lease_until_ms: Mapped[int | None] = mapped_column(BigInteger)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)

    renditions: Mapped[list["MediaRendition"]] = relationship(
        order_by="MediaRendition.position", cascade="all, delete-orphan", lazy="selectin"
    )


class MediaRendition(Base):
    """A file made from an item."""

    __tablename__ = "media_renditions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["app", "media_id"], ["media_items.app", "media_items.media_id"], ondelete="CASCADE"
        ),
    )

    app: Mapped[str] = mapped_column(String(128), primary_key=True)
    media_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    object_key: Mapped[str] = mapped_column(String(512))
    content_type: Mapped[str] = mapped_column(String(128))
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    duration_seconds: Mapped[float | None] = mapped_column(Float)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
