"""Sessions and customer counters: what a family did, and when enough of it calls for a training."""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from kinstream.events import PASSIVE_TYPES, ActivityData, Event
from kinstream.ledger_format import Bucket, Fact
from kinstream.settings import read_settings
from kinstream.views import closing
from session_worker.effects import Effect, Increment, Tally, Threshold
from session_worker.processor import LedgerKey, Reducer

MAX_NAME_CHARACTERS = 128

_decode = msgspec.json.Decoder(ActivityData).decode


class ActivitySettings(BaseSettings):
    """When a customer is due for a training, and the like."""

    model_config = SettingsConfigDict(env_prefix="KINSTREAM_ACTIVITY_", frozen=True)

    training_threshold_events: int = Field(100, ge=1)
    most_types: int = Field(200, ge=1, le=250)
    """Types that a customer's counters tell apart; the rest is summed. DynamoDB's expressions end at 4 KB."""
    lateness_seconds: int = Field(900, ge=0, le=86_400)
    """How much later than its session an event may come before the session is called closed."""


class Activity(Reducer):
    """Every event of a device: its time, activity and content for the session view, and counters.

    Guarantee: each event is in its customer's counters and in its device's sessions exactly once.
    Passive events are counted and stay out of sessions.
    """

    name = "activity"
    handles = None
    # Sessions were announced and trainings begun on its account.
    rebuildable = False
    example = {
        "id": "e-1",
        "type": "screen.viewed",
        "customer_id": "fam-42",
        "device_id": "ipad-1",
        "occurred_at": "2026-11-20T18:04:05.123Z",
        "data": {"activity": "reading"},
    }

    def __init__(self) -> None:
        settings = read_settings(ActivitySettings, "session-worker")
        self._threshold = Threshold("events_since_training", settings.training_threshold_events)
        self._most_types = settings.most_types
        self.lateness_ms = settings.lateness_seconds * 1000

    def key(self, event: Event) -> LedgerKey:
        return LedgerKey((event.customer_id,), (event.device_id,))

    def fact(self, event: Event) -> Fact:
        """(activity, content or ""), which the session view reads; () for a passive event."""
        if event.type in PASSIVE_TYPES:
            return ()
        data = _decode(event.data)
        return _name(data.activity) or event.type, _name(data.content_id)

    def due_at_ms(self, bucket: Bucket, new: Sequence[Event], now_ms: int) -> int:
        """When sessions that end in the bucket may be over. Passive events change none."""
        times_ms = [event.occurred_at_ms for event in new if event.type not in PASSIVE_TYPES]
        if not times_ms:
            return bucket.due_at_ms
        return closing.due_at_ms(bucket.due_at_ms, max(times_ms), now_ms, self.lateness_ms)

    def effects(self, app: str, key: LedgerKey, new: Sequence[Event]) -> Iterator[Effect]:
        (customer_id,) = key.partition
        yield Increment(
            counter=("customer", customer_id),
            amounts={"events": len(new), "events_since_training": len(new)},
            tally=Tally("type", Counter(event.type for event in new), self._most_types),
            labels={"app": app, "customer_id": customer_id},
            threshold=self._threshold,
        )


def _name(value: object) -> str:
    return value[:MAX_NAME_CHARACTERS] if isinstance(value, str) else ""
