"""A later generation of a processor's results lies beside the first, and neither knows of the other."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from kinstream import keys
from kinstream.aws import AwsClients
from kinstream.chunks import decode_chunk
from kinstream.errors import PermanentError
from kinstream.events import Event
from kinstream.generations import MAX_AGE_MS, Generations, GenerationsReader, app_of, space
from kinstream.queues import SqsQueue
from kinstream.resources import TABLE_OUTBOX, TABLE_REGISTRY, TOPIC_ALERTS
from kinstream.settings import CoreSettings
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from kinstream_devkit.replay import rebuildable_named
from session_worker.effects import Announce, Effect
from session_worker.main import Worker
from session_worker.processor import LedgerKey, Reducer, discover
from session_worker.settings import WorkerSettings
from tests.support.engine import APP, engine, event, message


def view(content_id: object = "story-7") -> Event:
    return event(type="content.viewed", data={"content_id": content_id})


async def test_generations_count_the_same_events_each_once(settings: CoreSettings):
    events = [view() for _ in range(3)]
    async with engine(settings) as (worker,):
        group = worker.group("content")
        for generation, taken in ((0, events[:2]), (1, events), (1, events), (0, events[:2])):
            assert not (await group.run([message(taken)], generation)).failed
        counted = [await worker.content("story-7", "views", space(APP, number)) for number in range(2)]
    assert counted == [2, 3]


async def test_what_a_later_generation_puts_aside_bears_the_name_of_its_app(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.group("content").run([message([view(7)])], generation=2)
        ((body, _),) = await worker.put_aside()
    assert decode_chunk(body).app == APP


class Telling(Reducer):
    """Announces every event. Guarantee: none, it is a test's."""

    name = "telling"
    handles = frozenset({"screen.viewed"})
    example = MappingProxyType({})

    def key(self, event: Event) -> LedgerKey:
        return LedgerKey((event.customer_id,))

    def effects(self, app: str, key: LedgerKey, new: Sequence[Event]) -> Iterator[Effect]:
        for one in new:
            yield Announce(TOPIC_ALERTS, app, one.id, {})


async def test_nothing_is_announced_a_second_time_by_a_later_generation(settings: CoreSettings):
    told = event()
    async with engine(settings) as (worker,):
        await worker.group(Telling()).run([message([told])], generation=1)
        ((_, reason),) = await worker.put_aside()
        assert await worker.query(TABLE_OUTBOX, keys.announcement(space(APP, 1), told.id)[0]) == []
    assert "rebuildable = False" in reason


@pytest.mark.parametrize("name", ["activity", "safety", "archive", "nope"])
def test_what_cannot_be_counted_a_second_time_is_refused(name: str, tmp_path: Path):
    with pytest.raises(PermanentError, match=name):
        rebuildable_named(name, discover())


def test_space_of_an_app_is_no_other_apps():
    assert [space("demo", number) for number in (0, 1, 12)] == ["demo", "demo~1", "demo~12"]
    assert {app_of(space("demo", number)) for number in range(20)} == {"demo"}


async def test_a_change_of_generations_is_heard_of_within_seconds(settings: CoreSettings):
    async with engine(settings) as (worker,):
        dynamodb, table = worker._clients["dynamodb"], settings.names.of(TABLE_REGISTRY)
        now_ms = 1_795_284_000_000
        reader = GenerationsReader(dynamodb, table, lambda: now_ms)
        heard = [await reader.of("content")]
        pk, sk = keys.generations("content")
        item = {"pk": {"S": pk}, "sk": {"S": sk}, "served": {"N": "1"}, "building": {"N": "2"}}
        await dynamodb.put_item(TableName=table, Item=item)
        heard.append(await reader.of("content"))
        now_ms += MAX_AGE_MS
        heard.append(await reader.of("content"))
    assert heard == [Generations(), Generations(), Generations(1, 2)]


async def test_registry_that_is_away_wears_out_no_deliveries(settings: CoreSettings):
    # One that is not given back comes again when its visibility ends, and soon has no deliveries left.
    provision(settings, processor_queues())
    worker_settings = WorkerSettings(**settings.model_dump())
    stop = asyncio.Event()
    async with AwsClients(worker_settings) as aws:
        clients = {name: await aws.open(name) for name in ("sqs", "dynamodb", "sns", "s3")}
        worker = Worker(worker_settings, **clients)
        content = next(one for one in discover() if one.name == "content")
        consumer, *_ = await worker.consumers(content)
        queue = await SqsQueue.open(clients["sqs"], settings.names.processor_queue("content"))
        await clients["dynamodb"].delete_table(TableName=settings.names.of(TABLE_REGISTRY))
        url = (await clients["sqs"].get_queue_url(QueueName=settings.names.processor_queue("content")))[
            "QueueUrl"
        ]
        await clients["sqs"].send_message(QueueUrl=url, MessageBody=message([view()]).body)
        asyncio.get_running_loop().call_later(1, stop.set)  # it would pause for longer
        await consumer.step(stop)
        seen = await queue.receive(wait_seconds=content.resource().visibility_timeout_seconds // 2)
    assert [one.receive_count for one in seen] == [2]
