"""Tables of the catalog. Every key begins with the app; times are milliseconds since 1970."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKeyConstraint, Index, Integer, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Base of the catalog's tables."""


class MediaItem(Base):
    """A declared upload and how far it got."""

    __tablename__ = "media_items"
    __table_args__ = (
        Index("ix_media_items_customer", "app", "customer_id", "created_at_ms", "media_id"),
        Index("ix_media_items_announced", "announced_at_ms", "finished_at_ms"),
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
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What the original was found to be."""
    missing: Mapped[list[Any] | None] = mapped_column(JSON)
    """Extras that could not be made: [name, reason] each."""
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)
    finished_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    """When it became ready or failed."""
    announced_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    """When that was announced; 0 while there is nothing to announce."""

    steps: Mapped[list["MediaStep"]] = relationship(
        order_by="MediaStep.position", cascade="all, delete-orphan", lazy="selectin"
    )
    renditions: Mapped[list["MediaRendition"]] = relationship(
        order_by="MediaRendition.position", cascade="all, delete-orphan", lazy="selectin"
    )


class MediaStep(Base):
    """A piece of work on an item, done by one worker in one go."""

    __tablename__ = "media_steps"
    __table_args__ = (
        ForeignKeyConstraint(
            ["app", "media_id"], ["media_items.app", "media_items.media_id"], ondelete="CASCADE"
        ),
        Index("ix_media_steps_state", "state", "lease_until_ms"),
    )

    app: Mapped[str] = mapped_column(String(128), primary_key=True)
    media_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(96), primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(16))
    queue: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    order: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What to do, as the worker wrote it."""
    essential: Mapped[bool] = mapped_column(Boolean)
    cost_seconds: Mapped[float] = mapped_column(Float)
    progress: Mapped[int] = mapped_column(Integer, default=0)
    reason: Mapped[str | None] = mapped_column(String(500))
    exhausted: Mapped[bool] = mapped_column(Boolean, default=False)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    """Grows with every claim; whoever holds an older one has lost the step."""
    tries: Mapped[int] = mapped_column(Integer, default=0)
    """Claims since the step was begun, or begun anew after it had failed for too many of them."""
    delivery_id: Mapped[str | None] = mapped_column(String(128))
    """The message under which the last claim was made."""
    lease_until_ms: Mapped[int | None] = mapped_column(BigInteger)
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)


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
    name: Mapped[str] = mapped_column(String(96), primary_key=True)
    step: Mapped[str] = mapped_column(String(96))
    """The step that made it."""
    position: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(24))
    object_key: Mapped[str] = mapped_column(String(512))
    content_type: Mapped[str] = mapped_column(String(128))
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    duration_seconds: Mapped[float | None] = mapped_column(Float)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    codecs: Mapped[str | None] = mapped_column(String(128))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
