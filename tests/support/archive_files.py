"""Archive files as the archive processor writes them, and events with tastes to put into them."""

import io
import random
from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from kinstream.events import CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED, format_time_ms

SCHEMA = pa.schema(
    [
        ("app", pa.string()),
        ("id", pa.string()),
        ("type", pa.string()),
        ("customer_id", pa.string()),
        ("device_id", pa.string()),
        ("person_id", pa.string()),
        ("occurred_at", pa.string()),
        ("occurred_at_ms", pa.int64()),
        ("received_at_ms", pa.int64()),
        ("counted", pa.bool_()),
        ("content_id", pa.string()),
        ("data", pa.string()),
    ]
)
DAY_MS = 86_400_000


def archived(
    event_id: str,
    customer_id: str | None,
    content_id: str | None,
    time_ms: int,
    *,
    app: str = "demo",
    kind: str = CONTENT_VIEWED,
    counted: bool = True,
) -> dict:
    """One row of the archive."""
    return {
        "app": app,
        "id": event_id,
        "type": kind,
        "customer_id": customer_id,
        "device_id": "",
        "person_id": "",
        "occurred_at": format_time_ms(time_ms),
        "occurred_at_ms": time_ms,
        "received_at_ms": time_ms,
        "counted": counted,
        "content_id": content_id,
        "data": "{}",
    }


def parquet(rows: Iterable[dict]) -> bytes:
    """The bytes of an archive file."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def files(rows: Iterable[dict], app: str = "demo") -> dict[str, bytes]:
    """Key to bytes: one file a day, under the keys of the archive bucket."""
    days: dict[str, list[dict]] = {}
    for row in rows:
        day = datetime.fromtimestamp(row["occurred_at_ms"] / 1000, UTC).date().isoformat()
        days.setdefault(day, []).append(row)
    return {f"events/app={app}/dt={day}/part-0.parquet": parquet(part) for day, part in days.items()}


def tastes(
    customers: int,
    contents: int,
    *,
    groups: int,
    per_customer: int,
    end_ms: int,
    days: int = 28,
    seed: int = 7,
) -> list[dict]:
    """Events of customers who mostly keep to their group's contents: ALS can beat what is popular.

    Content n belongs to group n % groups; so does customer n. Nobody sees a content often, everybody
    goes on discovering.
    """
    rng = random.Random(seed)
    rows = []
    for customer in range(customers):
        own = [c for c in range(contents) if c % groups == customer % groups]
        rng.shuffle(own)
        for n in range(per_customer):
            content = own[n % len(own)] if rng.random() < 0.9 else rng.randrange(contents)
            kind = rng.choices((CONTENT_VIEWED, CONTENT_LIKED, CONTENT_UNLIKED), (85, 13, 2))[0]
            time_ms = end_ms - int((1 - n / per_customer) * days * DAY_MS) + rng.randrange(3_600_000)
            row = archived(
                f"e-{customer}-{n}", f"fam-{customer:04d}", f"story-{content:04d}", time_ms, kind=kind
            )
            rows.append(row)
    return rows
