"""Coalescing: what travels together, and who hears of a failure."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from ingest_api.errors import ApiError
from ingest_api.metrics import Metrics
from ingest_api.publisher import Bounds, Publisher
from ingest_api.sns import MAX_BATCH_BYTES, SnsMessage
from kinstream.chunks import (
    MAX_CHUNK_BYTES,
    MAX_CHUNK_EVENTS,
    Chunk,
    assemble_chunk,
    decode_chunk,
    encode_chunk,
)
from kinstream.errors import RetryableError
from kinstream.events import Event


class Topic:
    """A topic that keeps what it is sent, confirms when it is told to, and refuses what a test names."""

    def __init__(self) -> None:
        self.batches: list[list[SnsMessage]] = []
        self.called = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.refuses = b"nothing"
        self.away = False
        self.at_once = 0
        self.most_at_once = 0

    async def publish(self, messages: Sequence[SnsMessage]) -> set[int]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.batches.append(list(messages))
        self.called.set()
        await self.open.wait()
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.away:
            raise RetryableError("away")
        return {position for position, message in enumerate(messages) if self.refuses in message.body}

    @property
    def chunks(self) -> list[Chunk]:
        return [decode_chunk(message.body.decode()) for batch in self.batches for message in batch]


def event(name: str, pad: int = 0) -> Event:
    return Event(
        id=name,
        type="screen.viewed",
        customer_id="c",
        occurred_at="2026-11-20T18:04:05Z",
        occurred_at_ms=1,
        received_at_ms=2,
        data=msgspec.Raw(msgspec.json.encode({"pad": "x" * pad})),
    )


def pieces(*names: str, pad: int = 0) -> list[bytes]:
    return [msgspec.json.encode(event(name, pad)) for name in names]


def publisher(topic: Topic, **bounds: float) -> Publisher:
    return Publisher(topic.publish, Bounds(**{"linger_seconds": 0.001} | bounds), Metrics())  # type: ignore[arg-type]


async def test_requests_of_one_app_travel_in_one_chunk_and_apps_never_mix():
    topic = Topic()
    one = publisher(topic)
    sends = [
        one.publish(app, pieces(f"{app}-{n}"), {"screen.viewed"}) for n in range(5) for app in ("a", "b")
    ]
    await asyncio.gather(*sends)
    assert len(topic.batches) == 1
    assert {(chunk.app, len(chunk.events)) for chunk in topic.chunks} == {("a", 5), ("b", 5)}
    assert all(e.id.startswith(chunk.app) for chunk in topic.chunks for e in chunk.events)


@pytest.mark.parametrize("text", ["plain", "Märchen", "\ufffe and \uffff", 'a "quoted" \\ \u0000 id'])
def test_a_chunk_is_what_the_workers_expect(text):
    events = [event(text), event("next")]
    body = assemble_chunk("app", [msgspec.json.encode(e) for e in events])
    assert body.decode() == encode_chunk(Chunk(app="app", events=events))


async def test_a_large_request_is_split_within_every_limit_and_answered_once():
    topic = Topic()
    one = publisher(topic)
    names = [f"e-{n}" for n in range(600)]
    await one.publish("a", pieces(*names, pad=1_000), {"screen.viewed"})
    assert sorted(e.id for chunk in topic.chunks for e in chunk.events) == sorted(names)
    assert all(len(chunk.events) <= MAX_CHUNK_EVENTS for chunk in topic.chunks)
    assert all(len(m.body) <= MAX_CHUNK_BYTES + 1_000 for batch in topic.batches for m in batch)
    assert all(len(batch) <= 10 for batch in topic.batches)
    assert all(sum(m.size_bytes for m in batch) <= MAX_BATCH_BYTES for batch in topic.batches)


async def test_a_refused_message_fails_its_own_requests_and_no_others():
    topic = Topic()
    topic.refuses = b"bad"
    one = publisher(topic)
    results = await asyncio.gather(
        one.publish("a", pieces("bad"), set()),
        one.publish("b", pieces("good"), set()),
        return_exceptions=True,
    )
    assert isinstance(results[0], ApiError)
    assert results[0].status == 503
    assert results[0].headers["Retry-After"]
    assert results[1] is None


async def test_a_request_fails_when_any_of_its_chunks_fails():
    topic = Topic()
    topic.refuses = b'"e-250"'
    with pytest.raises(ApiError):
        await publisher(topic).publish("a", pieces(*(f"e-{n}" for n in range(300))), set())


async def test_an_absent_topic_fails_every_request_and_later_ones_succeed():
    topic = Topic()
    one = publisher(topic)
    topic.away = True
    with pytest.raises(ApiError):
        await one.publish("a", pieces("1"), set())
    topic.away = False
    await one.publish("a", pieces("1"), set())


async def test_nothing_is_taken_beyond_the_backlog_s_bound_and_room_comes_back():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic, backlog_events=2)
    waiting = asyncio.create_task(one.publish("a", pieces("1", "2"), set()))
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refusal:
        await one.publish("a", pieces("3"), set())
    assert refusal.value.code == "overloaded"
    topic.open.set()
    await waiting
    await one.publish("a", pieces("3"), set())


async def test_calls_under_way_are_bounded_and_events_gather_meanwhile():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic, in_flight=1)
    first = asyncio.create_task(one.publish("a", pieces("first"), set()))
    await topic.called.wait()
    rest = [asyncio.create_task(one.publish("a", pieces(f"e-{n}"), set())) for n in range(20)]
    await asyncio.sleep(0.01)
    topic.open.set()
    await asyncio.gather(first, *rest)
    assert topic.most_at_once == 1
    assert [len(chunk.events) for chunk in topic.chunks] == [1, 20]


async def test_a_client_that_leaves_disturbs_nobody():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic)
    leaving = asyncio.create_task(one.publish("a", pieces("1"), set()))
    staying = asyncio.create_task(one.publish("a", pieces("2"), set()))
    await asyncio.sleep(0.01)
    leaving.cancel()
    topic.open.set()
    await staying
    await one.close()


async def test_closing_sends_what_is_left():
    topic = Topic()
    one = publisher(topic, linger_seconds=1.0)
    waiting = asyncio.create_task(one.publish("a", pieces("1"), set()))
    await asyncio.sleep(0)
    await one.close()
    await waiting
    assert len(topic.chunks) == 1
