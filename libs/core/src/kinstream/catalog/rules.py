"""When a step may be claimed, and how rows change with one. No I/O: rows come under their item's lock."""

from collections.abc import Sequence

from kinstream.catalog.models import MediaItem, MediaRendition, MediaStep
from kinstream.catalog.records import Abandoned, Hold, Missing, Rendition, Role, State, StepState, Task

FINISHED = frozenset({StepState.DONE, StepState.FAILED})
OPEN = frozenset({State.UPLOADED, State.PROCESSING})


def claimable(item: MediaItem, row: MediaStep, delivery_id: str, sent_at_ms: int, now: int) -> bool:
    """Whether a message may have the step now.

    What failed for being tried too often is begun anew by a message that was sent after that: somebody
    brought it back. Messages that were on their way already do not, or they would go on for ever.
    """
    fits = (
        item.state == State.READY
        if row.role == Role.VARIANT
        # An item that failed for trying too often is opened again by the step that did, not by an extra.
        else item.state in OPEN
        or (item.state == State.FAILED and row.state == StepState.FAILED and row.essential)
    )
    if not fits or (row.role == Role.FINALIZE and not all_made(item)):
        return False
    if row.state == StepState.PROCESSING:
        return row.delivery_id == delivery_id or (row.lease_until_ms or 0) < now
    if row.state == StepState.FAILED:
        return row.exhausted and sent_at_ms >= row.updated_at_ms
    return row.state == StepState.WAITING


def all_made(item: MediaItem) -> bool:
    """Whether nothing stands before the last step."""
    return all(
        step.state == StepState.DONE or (step.state == StepState.FAILED and not step.essential)
        for step in item.steps
        if step.role in (Role.MAIN, Role.PART)
    )


def step_of(item: MediaItem, name: str) -> MediaStep | None:
    """The item's step of that name."""
    return next((step for step in item.steps if step.name == name), None)


def task_of(row: MediaStep) -> Task:
    """What its message has to say."""
    return Task(row.app, row.media_id, row.name, row.queue)


def abandoned_of(row: MediaStep) -> Abandoned:
    """The row of a step that nobody works on, as a plain value."""
    hold = Hold(row.app, row.media_id, row.name, row.attempt)
    return Abandoned(hold, row.queue, StepState(row.state), row.tries)


def set_missing(item: MediaItem, step: str, missing: Sequence[Missing]) -> None:
    """Note extras that the item has to do without, in place of what an earlier try of the step said."""
    known = {name: reason for name, reason in item.missing or () if name != step}
    told = known | {one.name: one.reason for one in missing}
    item.missing = [list(one) for one in told.items()] or None


def lay_down(item: MediaItem) -> None:
    """The item has failed: nobody holds a step of it any more, and what was not made waits."""
    for row in item.steps:
        if row.role != Role.VARIANT and row.state == StepState.PROCESSING:
            row.state, row.lease_until_ms, row.progress = StepState.WAITING, None, 0


def send_soon(item: MediaItem) -> None:
    """Let the next sweep send the parts that wait: whoever reopens the item may die before it has."""
    for row in item.steps:
        if row.role == Role.PART and row.state == StepState.WAITING:
            row.updated_at_ms = 0


def put(item: MediaItem, row: MediaStep, renditions: Sequence[Rendition]) -> None:
    """In place of what an earlier try of the step made."""
    others = [made for made in item.renditions if made.step != row.name]
    item.renditions = others + [
        MediaRendition(
            app=row.app,
            media_id=row.media_id,
            name=made.name,
            step=row.name,
            position=row.position * 100 + number,
            kind=made.kind,
            object_key=made.object_key,
            content_type=made.content_type,
            width=made.width,
            height=made.height,
            duration_seconds=made.duration_seconds,
            size_bytes=made.size_bytes,
            codecs=made.codecs,
            detail=made.detail,
        )
        for number, made in enumerate(renditions)
    ]
