"""Coalescing: what travels together, and who hears of a failure."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

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
    Part,
    decode_chunk,
    read_json,
)
from kinstream.errors import RetryableError

TIME = "2026-11-20T18:04:05Z"


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
        return {n for n, message in enumerate(messages) if self.refuses in read_json(message.body.decode())}

    @property
    def chunks(self) -> list[Chunk]:
        return [decode_chunk(message.body.decode()) for batch in self.batches for message in batch]


def parts(*names: str, pad: int = 0, each: int = 1) -> list[Part]:
    """Events in parts of `each`."""
    events = [
        {
            "id": name,
            "type": "screen.viewed",
            "customer_id": "c",
            "occurred_at": TIME,
            "data": {"p": "x" * pad},
        }
        for name in names
    ]
    groups = [events[start : start + each] for start in range(0, len(events), each)]
    return [Part(b",".join(msgspec.json.encode(event) for event in group), len(group), 2) for group in groups]


def publisher(topic: Topic, **bounds: float) -> Publisher:
    return Publisher(topic.publish, Bounds(**{"linger_seconds": 0.001} | bounds), Metrics())  # type: ignore[arg-type]


async def test_requests_of_one_app_travel_in_one_chunk_and_apps_never_mix():
    topic = Topic()
    one = publisher(topic)
    sends = [one.publish(app, parts(f"{app}-{n}"), {"screen.viewed"}) for n in range(5) for app in ("a", "b")]
    await asyncio.gather(*sends)
    assert len(topic.batches) == 1
    assert {(chunk.app, len(chunk.events)) for chunk in topic.chunks} == {("a", 5), ("b", 5)}
    assert all(e.id.startswith(chunk.app) for chunk in topic.chunks for e in chunk.events)


async def test_a_large_request_is_split_within_every_limit_and_answered_once():
    topic = Topic()
    one = publisher(topic)
    names = [f"e-{n}" for n in range(600)]
    await one.publish("a", parts(*names, pad=1_000, each=50), {"screen.viewed"})
    assert sorted(e.id for chunk in topic.chunks for e in chunk.events) == sorted(names)
    assert all(len(chunk.events) <= MAX_CHUNK_EVENTS for chunk in topic.chunks)
    bodies = [read_json(m.body.decode()) for batch in topic.batches for m in batch]
    assert all(len(body) <= MAX_CHUNK_BYTES + 1_000 for body in bodies)
    assert all(len(batch) <= 10 for batch in topic.batches)
    assert all(sum(m.size_bytes for m in batch) <= MAX_BATCH_BYTES for batch in topic.batches)


async def test_a_refused_message_fails_its_own_requests_and_no_others():
    topic = Topic()
    topic.refuses = b"bad"
    one = publisher(topic)
    results = await asyncio.gather(
        one.publish("a", parts("bad"), set()),
        one.publish("b", parts("good"), set()),
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
        await publisher(topic).publish("a", parts(*(f"e-{n}" for n in range(300))), set())


async def test_an_absent_topic_fails_every_request_and_later_ones_succeed():
    topic = Topic()
    one = publisher(topic)
    topic.away = True
    with pytest.raises(ApiError):
        await one.publish("a", parts("1"), set())
    topic.away = False
    await one.publish("a", parts("1"), set())


async def test_nothing_is_taken_beyond_the_backlog_s_bound_and_room_comes_back():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic, backlog_events=2)
    waiting = asyncio.create_task(one.publish("a", parts("1", "2"), set()))
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refusal:
        await one.publish("a", parts("3"), set())
    assert refusal.value.code == "overloaded"
    topic.open.set()
    await waiting
    await one.publish("a", parts("3"), set())


async def test_calls_under_way_are_bounded_and_events_gather_meanwhile():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic, in_flight=1)
    first = asyncio.create_task(one.publish("a", parts("first"), set()))
    await topic.called.wait()
    rest = [asyncio.create_task(one.publish("a", parts(f"e-{n}"), set())) for n in range(20)]
    await asyncio.sleep(0.01)
    topic.open.set()
    await asyncio.gather(first, *rest)
    assert topic.most_at_once == 1
    assert [len(chunk.events) for chunk in topic.chunks] == [1, 20]


async def test_a_client_that_leaves_disturbs_nobody():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic)
    leaving = asyncio.create_task(one.publish("a", parts("1"), set()))
    staying = asyncio.create_task(one.publish("a", parts("2"), set()))
    await asyncio.sleep(0.01)
    leaving.cancel()
    topic.open.set()
    await staying
    await one.close()


async def test_closing_sends_what_is_left():
    topic = Topic()
    one = publisher(topic, linger_seconds=1.0)
    waiting = asyncio.create_task(one.publish("a", parts("1"), set()))
    await asyncio.sleep(0)
    await one.close()
    await waiting
    assert len(topic.chunks) == 1


async def test_apps_take_turns_whatever_one_of_them_has_waiting():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic, in_flight=1)
    first = asyncio.create_task(one.publish("noisy", parts("first"), set()))
    await topic.called.wait()
    names = [f"n-{n}" for n in range(3_000)]
    rest = [asyncio.create_task(one.publish("noisy", parts(*names, each=100), set()))]
    await asyncio.sleep(0)
    rest.append(asyncio.create_task(one.publish("quiet", parts("q"), set())))
    await asyncio.sleep(0.01)
    topic.open.set()
    await asyncio.gather(first, *rest)
    apps = [chunk.app for chunk in topic.chunks]
    assert len(apps) == 32
    assert apps.index("quiet") <= 10


async def test_an_app_that_fills_its_share_is_refused_and_others_are_not():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic, backlog_events=10)
    noisy = asyncio.create_task(one.publish("noisy", parts("1", "2", "3", "4", "5"), set()))
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as refusal:
        one.require_room("noisy")
    assert (refusal.value.status, refusal.value.code) == (503, "overloaded")
    quiet = asyncio.create_task(one.publish("quiet", parts("q"), set()))
    await asyncio.sleep(0)
    assert (one.events_waiting, one.bytes_waiting > 0) == (6, True)
    topic.open.set()
    await asyncio.gather(noisy, quiet)
    one.require_room("noisy")
    assert (one.events_waiting, one.bytes_waiting) == (0, 0)


async def test_while_sns_is_away_nobody_waits_for_more_than_one_call():
    topic = Topic()
    topic.open.clear()
    topic.away = True
    one = publisher(topic, in_flight=1)
    first = asyncio.create_task(one.publish("a", parts("1"), set()))
    await topic.called.wait()
    queued = [asyncio.create_task(one.publish("a", parts(f"q-{n}"), set())) for n in range(250)]
    await asyncio.sleep(0.01)
    topic.open.set()
    results = await asyncio.gather(first, *queued, return_exceptions=True)
    assert all(isinstance(result, ApiError) and result.status == 503 for result in results)
    assert len(topic.batches) == 1
    assert one.events_waiting == 0


async def test_calls_under_way_find_out_that_sns_is_back_and_nobody_waits_behind_them():
    topic = Topic()
    topic.away = True
    one = publisher(topic, in_flight=1)
    with pytest.raises(ApiError):
        await one.publish("a", parts("1"), set())
    topic.open.clear()
    topic.called.clear()
    probe = asyncio.create_task(one.publish("a", parts("2"), set()))
    await topic.called.wait()
    with pytest.raises(ApiError) as refusal:
        one.require_room("b")
    assert (refusal.value.code, refusal.value.headers["Retry-After"]) == ("unavailable", "2")
    topic.away = False
    topic.open.set()
    await probe
    one.require_room("b")
    await one.publish("b", parts("3"), set())


async def test_an_app_that_holds_its_share_of_the_bytes_is_refused_and_others_are_not():
    topic = Topic()
    topic.open.clear()
    one = publisher(topic, backlog_bytes=4_000)
    noisy = asyncio.create_task(one.publish("noisy", parts("1", pad=3_000), set()))
    await asyncio.sleep(0)
    with pytest.raises(ApiError):
        one.require_room("noisy")
    one.require_room("quiet")
    topic.open.set()
    await noisy


async def test_a_call_that_fails_while_others_succeed_fails_its_own_requests_alone():
    slow, quick = asyncio.Event(), asyncio.Event()

    async def send(messages: Sequence[SnsMessage]) -> set[int]:
        if b"doomed" in read_json(messages[0].body.decode()):
            quick.set()
            await slow.wait()
            raise RetryableError("this one only")
        return set()

    one = Publisher(send, Bounds(linger_seconds=0.001, in_flight=2), Metrics())
    doomed = asyncio.create_task(one.publish("a", parts("doomed"), set()))
    await quick.wait()
    await one.publish("b", parts("fine"), set())
    slow.set()
    with pytest.raises(ApiError):
        await doomed
    one.require_room("c")
    await one.publish("c", parts("fine, too"), set())


async def test_an_error_that_nobody_foresaw_is_503_as_well():
    async def send(messages: Sequence[SnsMessage]) -> set[int]:
        raise LookupError("no credentials")

    one = Publisher(send, Bounds(linger_seconds=0.001), Metrics())
    with pytest.raises(ApiError) as refusal:
        await one.publish("a", parts("1"), set())
    assert refusal.value.status == 503


async def test_what_is_sent_together_is_sent_in_no_requests_context():
    request = ContextVar("request", default="")
    seen: list[str] = []

    async def publish(_: Sequence[SnsMessage]) -> set[int]:
        seen.append(request.get())
        return set()

    async def send(name: str) -> None:
        request.set(name)
        await publisher.publish("demo", parts(name), {"screen.viewed"})

    publisher = Publisher(publish, Bounds(in_flight=1), Metrics())
    for round_number in range(3):
        await asyncio.gather(*(send(f"{round_number}-{number}") for number in range(5)))
    await publisher.close()
    assert set(seen) == {""}
