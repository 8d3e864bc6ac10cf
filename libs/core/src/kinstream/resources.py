"""Every named AWS thing that Kinstream uses, described once.

The embedded stack and compose create from this description; Terraform uses the same names.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

DEAD_LETTER_SUFFIX = "-dlq"


@dataclass(frozen=True, slots=True)
class Names:
    """Full names from short ones, under a deployment's prefix."""

    prefix: str
    region: str = "us-east-1"
    account_id: str = "000000000000"

    def of(self, short: str) -> str:
        """Name of a table, a bucket, a queue or a topic."""
        return f"{self.prefix}-{short}"

    def processor_queue(self, processor: str) -> str:
        """Queue of one processor."""
        return self.of(f"processor-{processor}")

    def rebuild_queue(self, processor: str) -> str:
        """Queue of what a rebuild of a processor counts, for as long as it takes."""
        return self.of(f"rebuild-{processor}")

    def topic_arn(self, short: str) -> str:
        """ARN of a topic."""
        return f"arn:aws:sns:{self.region}:{self.account_id}:{self.of(short)}"

    def rule_arn(self, full_name: str) -> str:
        """ARN of a rule of EventBridge, from its full name."""
        return f"arn:aws:events:{self.region}:{self.account_id}:rule/{full_name}"

    def queue_arn(self, full_name: str) -> str:
        """ARN of a queue, from its full name."""
        return f"arn:aws:sqs:{self.region}:{self.account_id}:{full_name}"


@dataclass(frozen=True, slots=True)
class ProcessorQueue:
    """What a processor needs of the infrastructure; generated from the code."""

    name: str
    handles: tuple[str, ...] | None
    """Event types of its subscription's filter; None for every type."""
    visibility_timeout_seconds: int = 30
    max_receive_count: int = 12
    """Poison is put aside by the worker itself: this many deliveries is an outage of half an hour."""
    bucket: str | None = None
    """Short name of the bucket that it writes to; None for one that counts in the ledger."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with its dead-letter queue."""

    name: str
    visibility_timeout_seconds: int
    max_receive_count: int = 5
    topic: str | None = None
    """Short name of the topic that it subscribes to, with raw delivery."""
    filter_types: tuple[str, ...] | None = None
    rules: tuple[str, ...] = ()
    """Full names of the rules of EventBridge that send to it. Terraform makes them: emulated EMR is mute."""


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index, sparse: only items that carry its keys are in it."""

    name: str
    partition: str
    sort: str
    sort_kind: str = "S"
    keys_only: bool = False
    """Whether it projects nothing but keys, so that writes of the item's other attributes cost it nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with string keys `pk` and `sk` and TTL on `expires_at`."""

    name: str
    indexes: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A private bucket."""

    name: str
    notify_queue: str | None = None
    """Full name of the queue that hears of each object created."""
    expire_days: int | None = None
    used_by_pages: bool = False
    """Whether web pages send to its presigned URLs and fetch from them."""


@dataclass(frozen=True, slots=True)
class Resources:
    """All of it."""

    topics: tuple[str, ...]
    queues: tuple[Queue, ...]
    tables: tuple[Table, ...]
    buckets: tuple[Bucket, ...]
    names: Names = field(default_factory=lambda: Names("kinstream"))


TOPIC_EVENTS = "events"
TOPIC_ALERTS = "alerts"
TOPIC_OPERATIONS = "operations"
TOPIC_SESSIONS = "sessions"
TOPIC_MEDIA = "media"

QUEUE_UPLOADS = "uploads"
QUEUE_MEDIA = "media"
QUEUE_MEDIA_LARGE = "media-large"
QUEUE_EMR_EVENTS = "emr-events"

RULE_CLUSTERS = "emr-clusters"
RULE_JOB_RUNS = "emr-job-runs"

TABLE_LEDGER = "ledger"
TABLE_COUNTERS = "counters"
TABLE_RECORDS = "records"
TABLE_OUTBOX = "outbox"
TABLE_REGISTRY = "registry"
TABLE_RECOMMENDATIONS = "recommendations"

BUCKET_UPLOADS = "uploads"
BUCKET_DERIVED = "derived"
BUCKET_ARCHIVE = "archive"
BUCKET_QUARANTINE = "quarantine"
BUCKET_TRAINING = "training"

INDEX_DUE = "due"
INDEX_TREND = "trend"
INDEX_PENDING = "pending"

TOPICS = (TOPIC_EVENTS, TOPIC_ALERTS, TOPIC_OPERATIONS, TOPIC_SESSIONS, TOPIC_MEDIA)
TABLES = (
    Table(TABLE_LEDGER, (Index(INDEX_DUE, "due_shard", "due_at_ms", "N", keys_only=True),)),
    Table(
        TABLE_COUNTERS,
        (
            Index(INDEX_DUE, "due_shard", "due_at_ms", "N"),
            Index(INDEX_TREND, "trend_shard", "trend", "N"),
        ),
    ),
    Table(TABLE_RECORDS),
    Table(TABLE_OUTBOX, (Index(INDEX_PENDING, "pending_shard", "created_at_ms", "N"),)),
    Table(TABLE_REGISTRY),
    Table(TABLE_RECOMMENDATIONS),
)


def describe(names: Names, processors: Iterable[ProcessorQueue]) -> Resources:
    """The resources of a deployment that runs these processors."""
    of_processors = tuple(
        Queue(
            names.processor_queue(processor.name),
            processor.visibility_timeout_seconds,
            processor.max_receive_count,
            TOPIC_EVENTS,
            processor.handles,
        )
        for processor in processors
    )
    uploads = Queue(names.of(QUEUE_UPLOADS), visibility_timeout_seconds=60)
    media = Queue(names.of(QUEUE_MEDIA), visibility_timeout_seconds=120)
    media_large = Queue(names.of(QUEUE_MEDIA_LARGE), visibility_timeout_seconds=120)
    emr_events = Queue(
        names.of(QUEUE_EMR_EVENTS),
        visibility_timeout_seconds=30,
        rules=tuple(map(names.of, (RULE_CLUSTERS, RULE_JOB_RUNS))),
    )
    return Resources(
        topics=tuple(map(names.of, TOPICS)),
        queues=(*of_processors, uploads, media, media_large, emr_events),
        tables=tuple(Table(names.of(table.name), table.indexes) for table in TABLES),
        buckets=(
            Bucket(names.of(BUCKET_UPLOADS), uploads.name, expire_days=30, used_by_pages=True),
            Bucket(names.of(BUCKET_DERIVED), used_by_pages=True),
            Bucket(names.of(BUCKET_ARCHIVE)),
            Bucket(names.of(BUCKET_QUARANTINE), expire_days=90),
            Bucket(names.of(BUCKET_TRAINING), expire_days=90),
        ),
        names=names,
    )
