"""Reading and changing the catalog. Each change of state is one conditional statement.

An item goes `declared` -> `uploaded` -> `processing` -> `ready` or `failed`. Whoever processes it
holds a claim: an attempt number and a lease in time. A claim is lost when another is made, and every
write under a lost claim changes nothing and says so, so that two workers never mix their results.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from kinstream.catalog.models import MediaItem, MediaRendition
from kinstream.catalog.records import Claim, Item, NewItem, Rendition, State
from kinstream.clock import now_ms
from kinstream.errors import RetryableError

MAX_REASON_CHARACTERS = 500


class MediaRepository:
    """Media items. RetryableError wherever the database cannot be reached now."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int] = now_ms) -> None:
        self._engine = engine
        self._now_ms = now_ms

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def check(self) -> None:
        """RetryableError unless the database answers and has its tables."""
        with self._session() as session:
            session.execute(sa.select(MediaItem.media_id).limit(1))

    def declare(self, new: NewItem) -> None:
        """A new item that waits for its file."""
        now = self._now_ms()
        with self._session() as session:
            session.execute(
                sa.insert(MediaItem).values(
                    app=new.app,
                    media_id=new.media_id,
                    customer_id=new.customer_id,
                    kind=new.kind,
                    content_type=new.content_type,
                    declared_bytes=new.declared_bytes,
                    state=State.DECLARED,
                    exhausted=False,
                    progress=0,
                    attempt=0,
                    created_at_ms=now,
                    updated_at_ms=now,
                )
            )

    def mark_uploaded(self, app: str, media_id: str, uploaded_bytes: int) -> bool:
        """The file is there. Whether there is anything left to do for it; told twice, it changes nothing."""
        with self._session() as session:
            session.execute(
                self._update(app, media_id, MediaItem.state == State.DECLARED).values(
                    state=State.UPLOADED, uploaded_bytes=uploaded_bytes
                )
            )
            state = session.scalar(
                sa.select(MediaItem.state).where(MediaItem.app == app, MediaItem.media_id == media_id)
            )
        return state in (State.UPLOADED, State.PROCESSING)

    def claim(self, app: str, media_id: str, delivery_id: str, lease_seconds: float) -> Claim | None:
        """The item, to process it; None where it is finished, unknown, or held under a running lease.

        A message that comes again means that its last receiver is gone: it takes its own claim over at
        once. Under another message the lease has to have ended. What failed only for having been tried
        too often may be claimed under a new message.
        """
        now = self._now_ms()
        free = sa.or_(
            MediaItem.state == State.UPLOADED,
            sa.and_(
                MediaItem.state == State.PROCESSING,
                sa.or_(MediaItem.delivery_id == delivery_id, MediaItem.lease_until_ms < now),
            ),
            sa.and_(
                MediaItem.state == State.FAILED,
                MediaItem.exhausted.is_(True),
                MediaItem.delivery_id != delivery_id,
            ),
        )
        statement = (
            self._update(app, media_id, free)
            .values(
                state=State.PROCESSING,
                reason=None,
                exhausted=False,
                progress=0,
                attempt=MediaItem.attempt + 1,
                delivery_id=delivery_id,
                lease_until_ms=now + round(lease_seconds * 1000),
            )
            .returning(MediaItem.attempt, MediaItem.kind, MediaItem.content_type)
        )
        with self._session() as session:
            row = session.execute(statement).one_or_none()
        return Claim(app, media_id, *row) if row else None

    def extend(self, claim: Claim, lease_seconds: float) -> bool:
        """Hold on to the item; False where the claim is lost."""
        return self._change(claim, lease_until_ms=self._now_ms() + round(lease_seconds * 1000))

    def report_progress(self, claim: Claim, percent: int) -> bool:
        """Tell how far it is; False where the claim is lost."""
        return self._change(claim, progress=max(0, min(99, percent)))

    def release(self, claim: Claim) -> bool:
        """Give the item back, to be tried again; False where the claim is lost."""
        return self._change(claim, state=State.UPLOADED, progress=0, lease_until_ms=None)

    def fail(self, claim: Claim, reason: str, *, exhausted: bool = False) -> bool:
        """The item failed, for a reason that a person reads; False where the claim is lost."""
        return self._change(
            claim,
            state=State.FAILED,
            reason=reason[:MAX_REASON_CHARACTERS],
            exhausted=exhausted,
            lease_until_ms=None,
        )

    def finish(self, claim: Claim, renditions: Sequence[Rendition]) -> bool:
        """The item is ready, with these renditions and no others; False where the claim is lost."""
        with self._session() as session:
            if not self._changed(
                session, claim, state=State.READY, progress=100, reason=None, lease_until_ms=None
            ):
                return False
            session.execute(
                sa.delete(MediaRendition).where(
                    MediaRendition.app == claim.app, MediaRendition.media_id == claim.media_id
                )
            )
            for position, made in enumerate(renditions):
                session.execute(
                    sa.insert(MediaRendition).values(
                        app=claim.app,
                        media_id=claim.media_id,
                        position=position,
                        name=made.name,
                        kind=made.kind,
                        object_key=made.object_key,
                        content_type=made.content_type,
                        width=made.width,
                        height=made.height,
                        duration_seconds=made.duration_seconds,
                        size_bytes=made.size_bytes,
                    )
                )
        return True

    def get(self, app: str, media_id: str) -> Item | None:
        """The item with its renditions; None where this app has none of that id."""
        with self._session() as session:
            row = session.get(MediaItem, (app, media_id))
            return _item(row) if row else None

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
            return [_item(row) for row in session.scalars(query)]

    def take_abandoned(self, silent_seconds: float, waiting_seconds: float) -> list[Item]:
        """Items whose lease ended so long ago, or that wait so long, and that nobody has touched since.

        Each is told once, to one caller, until as much time has passed again.
        """
        now = self._now_ms()
        processing = MediaItem.state == State.PROCESSING
        statement = (
            sa.update(MediaItem)
            .where(
                sa.or_(
                    sa.and_(processing, MediaItem.lease_until_ms < now - round(silent_seconds * 1000)),
                    sa.and_(
                        MediaItem.state == State.UPLOADED,
                        MediaItem.updated_at_ms < now - round(waiting_seconds * 1000),
                    ),
                )
            )
            .values(updated_at_ms=now, lease_until_ms=sa.case((processing, now)))
            .returning(MediaItem.app, MediaItem.media_id)
            .execution_options(synchronize_session=False)
        )
        with self._session() as session:
            keys = session.execute(statement).all()
            rows = [session.get(MediaItem, (app, media_id)) for app, media_id in keys]
            return [_item(row) for row in rows if row]

    def _change(self, claim: Claim, **values: Any) -> bool:
        with self._session() as session:
            return self._changed(session, claim, **values)

    def _changed(self, session: Session, claim: Claim, **values: Any) -> bool:
        held = sa.and_(MediaItem.state == State.PROCESSING, MediaItem.attempt == claim.attempt)
        statement = self._update(claim.app, claim.media_id, held).values(**values)
        return session.execute(statement.returning(MediaItem.media_id)).one_or_none() is not None

    def _update(self, app: str, media_id: str, condition: sa.ColumnElement[bool]) -> sa.Update:
        return (
            sa.update(MediaItem)
            .where(MediaItem.app == app, MediaItem.media_id == media_id, condition)
            .values(updated_at_ms=self._now_ms())
            .execution_options(synchronize_session=False)
        )

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session, session.begin():
                yield session
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise RetryableError(f"the catalog cannot be used now: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    # The driver's own text: SQLAlchemy's would show the statement's parameters as well.
    return str(getattr(error, "orig", None) or type(error).__name__)


def _item(row: MediaItem) -> Item:
    return Item(
        app=row.app,
        media_id=row.media_id,
        customer_id=row.customer_id,
        kind=row.kind,
        content_type=row.content_type,
        state=State(row.state),
        reason=row.reason,
        progress=row.progress,
        attempt=row.attempt,
        created_at_ms=row.created_at_ms,
        lease_until_ms=row.lease_until_ms,
        renditions=tuple(
            Rendition(
                name=made.name,
                kind=made.kind,
                object_key=made.object_key,
                content_type=made.content_type,
                size_bytes=made.size_bytes,
                width=made.width,
                height=made.height,
                duration_seconds=made.duration_seconds,
            )
            for made in row.renditions
        ),
    )
