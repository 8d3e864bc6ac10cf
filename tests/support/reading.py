"""A request as a dialect reads it, and what admission makes of the reading."""

import json
from typing import Any

from ingest_api.admission import admit_items
from ingest_api.dialects.base import Answer, Dialect, Incoming, Outcome, Reading
from kinstream.chunks import assemble_chunk, decode_chunk
from kinstream.events import Event, format_time_ms

NOW_MS = 1_795_197_845_123
NOW = format_time_ms(NOW_MS)
RETENTION_MS = 35 * 86_400_000


def incoming(
    path: str,
    body: Any = b"",
    *,
    method: str = "POST",
    query: str = "",
    headers: dict[str, str] | None = None,
) -> Incoming:
    """A request received at NOW_MS; what is no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pairs = {name.lower().encode(): value.encode() for name, value in (headers or {}).items()}
    return Incoming(method, path, query.encode(), pairs, raw, NOW_MS)


def events_of(reading: Reading) -> list[Event]:
    """The events that are taken, counted or not."""
    admission = admit_items(reading.items, NOW_MS, RETENTION_MS)
    return [*decode_chunk(assemble_chunk("app", admission.parts).decode()).events] if admission.parts else []


def the_event(reading: Reading) -> Event:
    """The one event of a request in which nothing is wrong."""
    admission = admit_items(reading.items, NOW_MS, RETENTION_MS)
    assert admission.rejected == []
    [event] = events_of(reading)
    return event


def data_of(event: Event) -> dict[str, Any]:
    """Its data without what the dialect adds."""
    return {name: value for name, value in json.loads(bytes(event.data)).items() if name != "_client"}


def client_of(event: Event) -> dict[str, Any]:
    """What the dialect adds: what else the client said."""
    client: dict[str, Any] = json.loads(bytes(event.data))["_client"]
    return client


def reasons(reading: Reading) -> list[tuple[int, str, str]]:
    """(index, code, field) of each event that is not counted."""
    rejected = admit_items(reading.items, NOW_MS, RETENTION_MS).rejected
    return [(r.index, r.error, r.detail.split(":")[0]) for r in rejected]


def answered(dialect: Dialect, request: Incoming) -> Answer:
    """The dialect's answer once everything is durable."""
    reading = dialect.read(request)
    admission = admit_items(reading.items, NOW_MS, RETENTION_MS)
    return dialect.answer(request, reading, Outcome(admission.accepted, admission.rejected))
