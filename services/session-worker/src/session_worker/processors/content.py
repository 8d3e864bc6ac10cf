"""Likes, views and trending of contents."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from kinstream import keys
from kinstream.errors import PermanentError
from kinstream.events import CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED, ContentData, Event
from kinstream.views.cardinality import register_of
from session_worker.effects import Effect, Increment, Score, Toggle
from session_worker.processor import LedgerKey, Reducer

VIEW_WEIGHT = 1.0
LIKE_WEIGHT = 4.0

_decode = msgspec.json.Decoder(ContentData).decode


class Content(Reducer):
    """What is viewed and liked.

    Guarantee: each view is counted once; a like counts for each customer whose last word, by time and
    id, is a like. Unique viewers are estimated (see `kinstream.views.cardinality`), trending is
    approximate.
    """

    name = "content"
    handles = frozenset({CONTENT_VIEWED, CONTENT_LIKED, CONTENT_UNLIKED})
    example = {
        "id": "e-2",
        "type": "content.liked",
        "customer_id": "fam-42",
        "occurred_at": "2026-11-20T18:05:00.000Z",
        "data": {"content_id": "story-7"},
    }

    def key(self, event: Event) -> LedgerKey:
        return LedgerKey((event.customer_id,), (event.device_id,))

    def effects(self, app: str, key: LedgerKey, new: Sequence[Event]) -> Iterator[Effect]:
        (customer_id,) = key.partition
        views: dict[str, int] = defaultdict(int)
        for event in new:
            content_id = _content_id(event)
            if event.type == CONTENT_VIEWED:
                views[content_id] += 1
                yield Score(content_id, VIEW_WEIGHT, event.occurred_at_ms)
                continue
            liked = event.type == CONTENT_LIKED
            if liked:
                yield Score(content_id, LIKE_WEIGHT, event.occurred_at_ms)
            yield Toggle(
                keys.like(app, customer_id, content_id),
                event.occurred_at_ms,
                event.id,
                on=liked,
                counter=("content", content_id),
                amount="likes",
            )
        viewer = frozenset({register_of(customer_id)})
        for content_id, count in views.items():
            yield Increment(
                ("content", content_id),
                {"views": count},
                members={"viewers": viewer},
                spread=True,
            )


def _content_id(event: Event) -> str:
    try:
        return _decode(event.data).content_id
    except msgspec.MsgspecError as error:
        raise PermanentError(f"data of {event.type}: {error}") from error
