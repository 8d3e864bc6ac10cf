"""A rebuild that dies at any of its steps is begun again by the same command, and ends exact."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path

import pytest

from kinstream.aws import blocking_client
from kinstream.generations import Generations, space
from kinstream.resources import TABLE_COUNTERS
from kinstream.settings import CoreSettings
from kinstream_devkit.counters import read_counter, read_generations
from kinstream_devkit.provision import provision
from kinstream_devkit.rebuild import Rebuild, Terms
from session_worker.processor import discover
from session_worker.processors.content import Content
from tests.support.engine import APP, event, in_chunks
from tests.support.replaying import FAST, archive
from tests.support.workers import Deployment, worker_through

VIEWS = 120
TERMS = Terms(FAST, archive_lag_seconds=0, settle_seconds=0)


class DeadError(Exception):
    """Stands for a kill."""


class Mortal:
    """Dies when it has so many more words to say."""

    def __init__(self, words: int) -> None:
        self._words = words

    def __call__(self, _: str) -> None:
        self._words -= 1
        if self._words < 0:
            raise DeadError


@asynccontextmanager
async def working(settings: CoreSettings) -> AsyncIterator[None]:
    """A worker that counts what comes into the queues of the processor and of its rebuild."""
    stop = asyncio.Event()
    async with worker_through(settings, str(settings.aws_endpoint_url)) as worker:
        consumers = [*await worker.consumers(Content()), worker.rebuilding(Content())]
        async with asyncio.TaskGroup() as tasks:
            for consumer in consumers:
                tasks.create_task(consumer.run(stop))
            try:
                yield
            finally:
                stop.set()


def attempt(settings: CoreSettings, folder: Path, words: int) -> bool:
    """Whether it came to its end before it died."""
    opened = {name: blocking_client(name, settings) for name in ("dynamodb", "sqs", "sns", "s3")}
    try:
        Rebuild(opened, settings.names, Content(), folder=folder, terms=TERMS, say=Mortal(words)).run()
    except DeadError:
        return False
    finally:
        for client in opened.values():
            client.close()
    return True


@pytest.mark.timeout(900)
async def test_a_rebuild_that_dies_at_every_step_in_turn_ends_exact(settings: CoreSettings, tmp_path: Path):
    provision(settings, [processor.resource() for processor in discover()])
    views = [event(type="content.viewed", data={"content_id": "story"}) for _ in range(VIEWS)]
    archive(settings, "some", views[:80])
    archive(settings, "more", views[40:])
    deployment = Deployment(settings)
    deployment.publish(APP, in_chunks(views[:50], 10))
    with closing(blocking_client("dynamodb", settings)) as dynamodb:
        async with working(settings):
            deaths = 0
            for words in count():
                if await asyncio.to_thread(attempt, settings, tmp_path, words):
                    break
                deaths += 1
        served = read_generations(dynamodb, settings.names, "content")
        counted = read_counter(dynamodb, settings.names, APP, ["content", "story"])
    of_the_first = [
        row["views"]
        for row in deployment.rows(TABLE_COUNTERS)
        if row["pk"].startswith(f"{space(APP, 0)}#content")
    ]
    deployment.close()
    assert (served, counted["views"], sum(of_the_first)) == (Generations(1), VIEWS, 50)
    assert deaths >= 3
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
