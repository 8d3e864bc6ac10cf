"""What the catalog's repositories share: a transaction, and rows as plain values."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from kinstream.catalog.models import MediaItem, MediaRendition, MediaStep
from kinstream.catalog.records import Item, Missing, Rendition, Role, State, StepState
from kinstream.catalog.rules import FINISHED
from kinstream.clock import now_ms
from kinstream.errors import RetryableError


class Repository:
    """One engine and one clock. RetryableError wherever the database cannot be reached now."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int] = now_ms) -> None:
        self._engine = engine
        self._now_ms = now_ms

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def check(self) -> None:
        """RetryableError unless the database answers and has its tables."""
        try:
            with self._session() as session:
                session.execute(sa.select(MediaItem.media_id).limit(1))
        except ProgrammingError as error:  # Postgres' way to say that there is no such table
            raise RetryableError(f"the catalog cannot be used now: {_cause(error)}") from error

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session, session.begin():
                yield session
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise RetryableError(f"the catalog cannot be used now: {_cause(error)}") from error

    @contextmanager
    def _locked(self, app: str, media_id: str) -> Iterator[MediaItem | None]:
        """The item, with its steps, under its lock until the block ends: changes of one item never mix.

        The lock is a write, so that it is one in SQLite as well.
        """
        statement = (
            sa.update(MediaItem)
            .where(MediaItem.app == app, MediaItem.media_id == media_id)
            .values(updated_at_ms=self._now_ms())
            .execution_options(synchronize_session=False)
        )
        with self._session() as session:
            session.execute(statement)
            yield session.get(MediaItem, (app, media_id))


def item_of(row: MediaItem) -> Item:
    """A row as a plain value. Variants are not among its renditions."""
    variants = {step.name for step in row.steps if step.role == Role.VARIANT}
    return Item(
        app=row.app,
        media_id=row.media_id,
        customer_id=row.customer_id,
        kind=row.kind,
        content_type=row.content_type,
        state=State(row.state),
        reason=row.reason,
        progress=progress_of(row),
        created_at_ms=row.created_at_ms,
        finished_at_ms=row.finished_at_ms,
        facts=row.facts,
        missing=tuple(Missing(*one) for one in row.missing or ()),
        renditions=tuple(
            rendition_of(made)
            for made in row.renditions
            if row.state == State.READY and made.step not in variants
        ),
    )


def rendition_of(row: MediaRendition) -> Rendition:
    """A row as a plain value."""
    return Rendition(
        name=row.name,
        kind=row.kind,
        object_key=row.object_key,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        duration_seconds=row.duration_seconds,
        codecs=row.codecs,
        detail=row.detail,
    )


def progress_of(row: MediaItem) -> int:
    """In percent, each step by what it costs; 100 only for an item that is ready."""
    if row.state == State.READY:
        return 100
    steps = [step for step in row.steps if step.role != Role.VARIANT]
    cost = sum(step.cost_seconds for step in steps)
    done = sum(step.cost_seconds * (100 if step.state in FINISHED else step.progress) for step in steps)
    return min(99, int(done / cost)) if cost else 0


def new_step(row: MediaItem, name: str, role: Role, queue: str, now: int) -> MediaStep:
    """A step that waits to be begun."""
    return MediaStep(
        app=row.app,
        media_id=row.media_id,
        name=name,
        position=len(row.steps),
        role=role,
        queue=queue,
        state=StepState.WAITING,
        order={},
        essential=True,
        cost_seconds=1.0,
        progress=0,
        exhausted=False,
        attempt=0,
        tries=0,
        updated_at_ms=now,
    )


def _cause(error: Exception) -> str:
    # The driver's own text: SQLAlchemy's would show the statement's parameters as well.
    return str(getattr(error, "orig", None) or type(error).__name__)
