"""Every event into S3 as Parquet, by app and date: what Spark trains on and what people query."""

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from kinstream.events import ActivityData, Event, format_time_ms
from kinstream.resources import BUCKET_ARCHIVE
from session_worker.processor import File, Sink

_decode = msgspec.json.Decoder(ActivityData).decode

SCHEMA = pa.schema(
    [
        pa.field("app", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("device_id", pa.string(), nullable=False),
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("occurred_at", pa.string(), nullable=False),
        pa.field("occurred_at_ms", pa.int64(), nullable=False),
        pa.field("received_at_ms", pa.int64(), nullable=False),
        pa.field("counted", pa.bool_(), nullable=False),
        pa.field("content_id", pa.string()),
        pa.field("data", pa.string(), nullable=False),
    ]
)


class Archive(Sink):
    """Keeps everything, also what is not counted.

    Guarantee: at least once; messages are deleted after their files are stored. Readers drop repetitions
    by (customer_id, device_id, occurred_at_ms, id).
    """

    name = "archive"
    handles = None
    bucket = BUCKET_ARCHIVE
    concurrency = 1
    example = {
        "id": "e-4",
        "type": "screen.viewed",
        "customer_id": "fam-42",
        "occurred_at": "2026-11-20T18:07:00.000Z",
    }

    def takes(self, event: Event) -> bool:
        return True

    def files(self, batch_id: str, events: Mapping[str, Sequence[Event]]) -> Iterator[File]:
        for app, of_app in events.items():
            by_date: dict[str, list[Event]] = defaultdict(list)
            for event in of_app:
                by_date[_date(event)].append(event)
            for date, of_date in by_date.items():
                yield File(
                    key=f"events/app={app}/dt={date}/{batch_id}.parquet",
                    body=_parquet(app, of_date),
                    metadata={"events": str(len(of_date))},
                )


def _date(event: Event) -> str:
    """UTC date of its occurrence; where the client's clock is not believed, of its arrival."""
    return format_time_ms(event.occurred_at_ms if event.counted else event.received_at_ms)[:10]


def _parquet(app: str, events: Sequence[Event]) -> bytes:
    rows = [_row(app, event) for event in events]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def _row(app: str, event: Event) -> dict[str, object]:
    content_id = _decode(event.data).content_id
    return {
        "app": app,
        "id": event.id,
        "type": event.type,
        "customer_id": event.customer_id,
        "device_id": event.device_id,
        "person_id": event.person_id,
        "occurred_at": event.occurred_at,
        "occurred_at_ms": event.occurred_at_ms,
        "received_at_ms": event.received_at_ms,
        "counted": event.counted,
        "content_id": content_id if isinstance(content_id, str) else None,
        "data": bytes(event.data).decode(),
    }
