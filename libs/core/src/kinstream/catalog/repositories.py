"""What the API asks of the catalog: declare an upload, read items, order a variant of one."""

from typing import Any

import sqlalchemy as sa

from kinstream.catalog.base import Repository, item_of, new_step, rendition_of
from kinstream.catalog.models import MediaItem, MediaRendition, MediaStep
from kinstream.catalog.records import Item, NewItem, Role, State, StepState, VariantState
from kinstream.catalog.rules import step_of
from kinstream.errors import PermanentError
from kinstream.resources import QUEUE_MEDIA

_UNBEGUN_MS = 60_000


class TooManyVariantsError(PermanentError):
    """Whoever may order variants of this item has ordered as many as there may be."""


class MediaRepository(Repository):
    """Media items. RetryableError wherever the database cannot be reached now."""

    def declare(self, new: NewItem) -> None:
        """A new item that waits for its file."""
        now = self._now_ms()
        with self._session() as session:
            session.add(
                MediaItem(
                    app=new.app,
                    media_id=new.media_id,
                    customer_id=new.customer_id,
                    kind=new.kind,
                    content_type=new.content_type,
                    declared_bytes=new.declared_bytes,
                    state=State.DECLARED,
                    exhausted=False,
                    announced_at_ms=0,
                    created_at_ms=now,
                    updated_at_ms=now,
                )
            )

    def get(self, app: str, media_id: str) -> Item | None:
        """The item with its renditions; None where this app has none of that id."""
        with self._session() as session:
            row = session.get(MediaItem, (app, media_id))
            return item_of(row) if row else None

    def of_customer(
        self, app: str, customer_id: str, limit: int, before: tuple[int, str] | None = None
    ) -> list[Item]:
        """A customer's items, newest first, older than `before` (created_at_ms, media_id)."""
        query = (
            sa.select(MediaItem)
            .where(MediaItem.app == app, MediaItem.customer_id == customer_id)
            .order_by(MediaItem.created_at_ms.desc(), MediaItem.media_id.desc())
            .limit(limit)
        )
        if before:
            query = query.where(
                sa.tuple_(MediaItem.created_at_ms, MediaItem.media_id) < sa.tuple_(*map(sa.literal, before))
            )
        with self._session() as session:
            return [item_of(row) for row in session.scalars(query)]

    def order_variant(
        self, app: str, media_id: str, step: str, arguments: dict[str, Any], *, most: int
    ) -> bool:
        """Whether this call ordered it, so that its message is still to be sent; False where it was ordered
        before or the item is not ready. TooManyVariantsError where the item has `most` others already.

        One that failed for having been tried too often is ordered anew, and one that nobody has begun for a
        minute is told to whoever asks next: its message may be lost.
        """
        with self._locked(app, media_id) as item:
            if item is None or item.state != State.READY:
                return False
            known = step_of(item, step)
            if known is None:
                if sum(row.role == Role.VARIANT for row in item.steps) >= most:
                    raise TooManyVariantsError(f"this item has {most:,} variants already")
                known = new_step(item, step, Role.VARIANT, QUEUE_MEDIA, self._now_ms())
                item.steps.append(known)
            elif not _is_to_be_sent(known, self._now_ms()):
                return False
            known.order, known.essential, known.state = arguments, False, StepState.WAITING
            known.updated_at_ms = self._now_ms()
            return True

    def variant(self, app: str, media_id: str, step: str) -> VariantState | None:
        """How far a variant got; None where nobody ordered it."""
        with self._session() as session:
            row = session.get(MediaStep, (app, media_id, step))
            if row is None or row.role != Role.VARIANT:
                return None
            made = session.get(MediaRendition, (app, media_id, step))
            return VariantState(StepState(row.state), row.reason, rendition_of(made) if made else None)


def _is_to_be_sent(row: MediaStep, now: int) -> bool:
    if row.state == StepState.WAITING:
        return row.updated_at_ms < now - _UNBEGUN_MS
    return row.state == StepState.FAILED and row.exhausted
