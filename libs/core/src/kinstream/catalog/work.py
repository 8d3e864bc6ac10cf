"""What a worker asks of the catalog: claim a step, plan, complete or fail it, finish the item.

An item goes `declared` -> `uploaded` -> `processing` -> `ready` or `failed`; its steps go `waiting` ->
`processing` -> `done` or `failed`. Whoever carries a step out holds a claim: an attempt number and a lease in
time. A claim is lost when another is made, and every write under a lost claim changes nothing and says so,
so that two workers never mix their results. All changes of one item happen under its lock.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from kinstream.catalog.base import Repository, item_of, new_step, progress_of, rendition_of
from kinstream.catalog.models import MediaItem, MediaRendition, MediaStep
from kinstream.catalog.records import (
    Abandoned,
    Claim,
    Hold,
    Item,
    Missing,
    NewStep,
    Rendition,
    Role,
    State,
    StepState,
    Task,
)
from kinstream.catalog.rules import (
    FINISHED,
    OPEN,
    abandoned_of,
    all_made,
    claimable,
    lay_down,
    put,
    send_soon,
    set_missing,
    step_of,
    task_of,
)
from kinstream.resources import QUEUE_MEDIA

MAIN = "main"
FINALIZE = "finalize"
MAX_REASON_CHARACTERS = 500

_FINALIZE_COST_SECONDS = 0.1


class WorkRepository(Repository):
    """The worker's side of the catalog. RetryableError wherever the database cannot be reached now."""

    def get(self, app: str, media_id: str) -> Item | None:
        """The item with its renditions; None where this app has none of that id."""
        with self._session() as session:
            row = session.get(MediaItem, (app, media_id))
            return item_of(row) if row else None

    def mark_uploaded(self, app: str, media_id: str, uploaded_bytes: int) -> bool:
        """The file is there. Whether its first step is still to be done; told twice, it changes nothing."""
        now = self._now_ms()
        with self._locked(app, media_id) as item:
            if item is None:
                return False
            if item.state == State.DECLARED:
                item.state, item.uploaded_bytes = State.UPLOADED, uploaded_bytes
                item.steps.append(new_step(item, MAIN, Role.MAIN, QUEUE_MEDIA, now))
            main = step_of(item, MAIN)
            return item.state in OPEN and main is not None and main.state not in FINISHED

    def claim(
        self,
        app: str,
        media_id: str,
        step: str,
        delivery_id: str,
        lease_seconds: float,
        *,
        sent_at_ms: int | None = None,
    ) -> Claim | None:
        """The step, to carry it out; None where it is finished, unknown, held, or not to be done yet.

        A message that comes again means that its last receiver is gone: it takes its own claim over at
        once. Under another message the lease has to have ended. What failed only for having been tried
        too often may be claimed under a message sent since (`sent_at_ms`; left out, it was sent just now),
        and has all its tries before it again.
        """
        now = self._now_ms()
        sent = now if sent_at_ms is None else sent_at_ms
        with self._locked(app, media_id) as item:
            row = step_of(item, step) if item else None
            if item is None or row is None or not claimable(item, row, delivery_id, sent, now):
                return None
            is_reopened = row.role != Role.VARIANT and item.state == State.FAILED
            if row.role != Role.VARIANT:
                item.state, item.reason, item.exhausted = State.PROCESSING, None, False
                item.finished_at_ms, item.announced_at_ms = None, 0
            if is_reopened:
                send_soon(item)
            row.tries = 1 if row.exhausted else row.tries + 1
            row.state, row.reason, row.exhausted, row.progress = StepState.PROCESSING, None, False, 0
            row.attempt, row.delivery_id = row.attempt + 1, delivery_id
            row.lease_until_ms, row.updated_at_ms = now + round(lease_seconds * 1000), now
            return Claim(
                app=app,
                media_id=media_id,
                step=step,
                attempt=row.attempt,
                role=Role(row.role),
                kind=item.kind,
                customer_id=item.customer_id,
                order=row.order,
                is_reopened=is_reopened,
                facts=item.facts,
            )

    def extend(self, claim: Hold, lease_seconds: float) -> bool:
        """Hold on to the step; False where the claim is lost."""

        def hold(_: MediaItem, row: MediaStep) -> None:
            row.lease_until_ms = self._now_ms() + round(lease_seconds * 1000)

        return self._change(claim, hold)

    def report_progress(self, claim: Hold, percent: int) -> int | None:
        """Tell how far the step is. How far that makes the item, in percent; None where the claim is lost."""
        of_item: list[int] = []

        def tell(item: MediaItem, row: MediaStep) -> None:
            row.progress = max(0, min(99, percent))
            of_item.append(progress_of(item))

        return of_item[0] if self._change(claim, tell) else None

    def release(self, claim: Hold) -> bool:
        """Give the step back, to be tried again; False where the claim is lost."""

        def give_back(_: MediaItem, row: MediaStep) -> None:
            row.state, row.progress, row.lease_until_ms = StepState.WAITING, 0, None

        return self._change(claim, give_back)

    def plan(self, claim: Claim, facts: dict[str, object], parts: Sequence[NewStep]) -> bool:
        """The first step is done: it found out what the file is and cut the work into parts, which wait now.

        False where the claim is lost.
        """

        def plan(item: MediaItem, row: MediaStep) -> None:
            item.facts = facts
            for part in parts:
                made = new_step(item, part.name, Role.PART, part.queue, self._now_ms())
                made.order, made.essential, made.cost_seconds = part.order, part.essential, part.cost_seconds
                item.steps.append(made)
            self._done(item, row)

        return self._change(claim, plan)

    def complete(
        self,
        claim: Claim,
        renditions: Sequence[Rendition],
        *,
        missing: Sequence[Missing] = (),
        facts: dict[str, object] | None = None,
    ) -> bool:
        """The step is done and made these, seen when the item is ready; False where the claim is lost."""

        def complete(item: MediaItem, row: MediaStep) -> None:
            put(item, row, renditions)
            item.facts = facts or item.facts
            set_missing(item, row.name, missing)
            self._done(item, row)

        return self._change(claim, complete)

    def fail(self, claim: Hold, reason: str, *, exhausted: bool = False) -> bool:
        """The step failed, for a reason that a person reads, and with it the item unless it can do without.

        False where the claim is lost.
        """

        def fail(item: MediaItem, row: MediaStep) -> None:
            row.state, row.lease_until_ms = StepState.FAILED, None
            row.reason, row.exhausted = reason[:MAX_REASON_CHARACTERS], exhausted
            if row.role == Role.PART and not row.essential:
                set_missing(item, row.name, [Missing(row.name, reason[:MAX_REASON_CHARACTERS])])
            elif row.role != Role.VARIANT:
                self._end(item, State.FAILED)
                item.reason, item.exhausted = row.reason, exhausted
                lay_down(item)

        return self._change(claim, fail)

    def finish(self, claim: Claim, renditions: Sequence[Rendition]) -> bool:
        """The last step is done: the item is ready, with these and all that its steps made.

        False where the claim is lost.
        """

        def finish(item: MediaItem, row: MediaStep) -> None:
            put(item, row, renditions)
            row.state, row.lease_until_ms = StepState.DONE, None
            self._end(item, State.READY)

        return self._change(claim, finish)

    def made_so_far(self, claim: Claim) -> tuple[Rendition, ...]:
        """What the steps of a claimed item have made, before it is ready."""
        query = (
            sa.select(MediaRendition)
            .where(MediaRendition.app == claim.app, MediaRendition.media_id == claim.media_id)
            .order_by(MediaRendition.position)
        )
        with self._session() as session:
            return tuple(rendition_of(row) for row in session.scalars(query))

    def waiting(self, app: str, media_id: str, role: Role) -> list[Task]:
        """Steps of that role, of an item under way, that may be begun and that nobody has begun.

        Their messages may have been sent or not.
        """
        with self._session() as session:
            item = session.get(MediaItem, (app, media_id))
            if item is None or item.state != State.PROCESSING:
                return []
            if role == Role.FINALIZE and not all_made(item):
                return []
            return [task_of(row) for row in item.steps if row.role == role and row.state == StepState.WAITING]

    def forget_failed(self, hold: Hold) -> tuple[Rendition, ...]:
        """What was made of an item that has failed for good, which nobody will see: forgotten here, and for
        the caller to delete. Nothing of any other item."""
        with self._locked(hold.app, hold.media_id) as item:
            if item is None or item.state != State.FAILED or item.exhausted:
                return ()
            made = tuple(map(rendition_of, item.renditions))
            item.renditions = []
            return made

    def take_abandoned(
        self, silent_seconds: float, waiting_seconds: float, limit: int = 50
    ) -> list[Abandoned]:
        """Steps whose lease ended so long ago, or that wait so long, and that nobody has touched since.

        Each is told once, to one caller, until as much time has passed again. So few at once that little is
        put off where the caller dies with them.
        """
        now = self._now_ms()
        processing = MediaStep.state == StepState.PROCESSING
        is_wanted = sa.exists().where(
            MediaItem.app == MediaStep.app,
            MediaItem.media_id == MediaStep.media_id,
            sa.or_(MediaItem.state.in_(OPEN), MediaStep.role == Role.VARIANT),
        )
        waits = sa.and_(
            MediaStep.state == StepState.WAITING,
            MediaStep.updated_at_ms < now - round(waiting_seconds * 1000),
        )
        silent = sa.and_(processing, MediaStep.lease_until_ms < now - round(silent_seconds * 1000))
        key = (MediaStep.app, MediaStep.media_id, MediaStep.name)
        some = (
            sa.select(*key)
            .where(sa.or_(silent, waits), is_wanted)
            .limit(limit)
            .with_for_update(of=MediaStep, skip_locked=True)
            # Apart, so that Postgres asks once: asked again for each row it would find others.
            .cte()
        )
        statement = (
            sa.update(MediaStep)
            .where(sa.tuple_(*key).in_(sa.select(some)))
            .values(updated_at_ms=now, lease_until_ms=sa.case((processing, now)))
            .returning(MediaStep)
            .execution_options(synchronize_session=False)
        )
        with self._session() as session:
            return [abandoned_of(row) for row in session.scalars(statement)]

    def unannounced(self, before_ms: int, limit: int = 100) -> list[Item]:
        """Items that became ready or failed before then, and are not recorded as announced, oldest first."""
        query = (
            sa.select(MediaItem)
            .where(MediaItem.announced_at_ms.is_(None), MediaItem.finished_at_ms < before_ms)
            .order_by(MediaItem.finished_at_ms)
            .limit(limit)
        )
        with self._session() as session:
            return [item_of(row) for row in session.scalars(query)]

    def unannounced_item(self, app: str, media_id: str) -> Item | None:
        """The item, if it is ready or failed and that is not recorded as announced."""
        with self._session() as session:
            row = session.get(MediaItem, (app, media_id))
            is_new = row is not None and row.finished_at_ms is not None and row.announced_at_ms is None
            return item_of(row) if row is not None and is_new else None

    def mark_announced(self, item: Item) -> None:
        """Announced, as it stood in `item`; what has become of it since is announced anew."""
        with self._locked(item.app, item.media_id) as row:
            if row is not None and row.finished_at_ms == item.finished_at_ms:
                row.announced_at_ms = self._now_ms()

    def _change(self, claim: Hold, change: Callable[[MediaItem, MediaStep], None]) -> bool:
        with self._locked(claim.app, claim.media_id) as item:
            row = step_of(item, claim.step) if item else None
            if item is None or row is None:
                return False
            if row.state != StepState.PROCESSING or row.attempt != claim.attempt:
                return False
            if row.role != Role.VARIANT and item.state != State.PROCESSING:
                return False
            row.updated_at_ms = self._now_ms()
            change(item, row)
            return True

    def _done(self, item: MediaItem, row: MediaStep) -> None:
        row.state, row.lease_until_ms, row.reason = StepState.DONE, None, None
        if row.role == Role.MAIN and step_of(item, FINALIZE) is None:
            last = new_step(item, FINALIZE, Role.FINALIZE, QUEUE_MEDIA, self._now_ms())
            last.cost_seconds = _FINALIZE_COST_SECONDS
            item.steps.append(last)

    def _end(self, item: MediaItem, state: State) -> None:
        item.state, item.finished_at_ms, item.announced_at_ms = state, self._now_ms(), None
