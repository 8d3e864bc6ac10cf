"""Having variants made: once, whoever asks and whoever leaves, and again where an order was lost."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest_api.errors import ApiError, unavailable
from ingest_api.variants import Variants, Wanted
from kinstream.catalog import (
    FINALIZE,
    MAIN,
    MediaRepository,
    NewItem,
    Rendition,
    WorkRepository,
    migrate,
    open_catalog,
    open_work,
)
from kinstream.catalog.database import create_engine
from kinstream.catalog.variants import VariantSpec
from kinstream.clock import now_ms

SPEC = VariantSpec(width=64)
WANTED = Wanted("demo", "m1", SPEC)
MOST = 3
"""Variants of an item."""


class Queue:
    """What was sent; `is_away` refuses."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.is_away = False
        self.has_some = asyncio.Event()

    async def send(self, body: str) -> None:
        if self.is_away:
            raise unavailable("the queue is away")
        self.sent.append(body)
        self.has_some.set()


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path}/catalog.sqlite3"
    migrate(made)
    return made


@pytest.fixture
def catalog(url: str) -> Iterator[MediaRepository]:
    made = open_catalog(url)
    yield made
    made.close()


@pytest.fixture
def work(catalog: MediaRepository, url: str) -> Iterator[WorkRepository]:
    """The worker's side, with a photo that is ready."""
    made = open_work(url)
    catalog.declare(NewItem("demo", "m1", "fam-1", "image", "image/jpeg", 9))
    made.mark_uploaded("demo", "m1", 9)
    for step in (MAIN, FINALIZE):
        claim = made.claim("demo", "m1", step, step, 60)
        assert claim
        assert made.complete(claim, []) if step == MAIN else made.finish(claim, [])
    yield made
    made.close()


def carry_out(work: WorkRepository, delivery_id: str = "d1") -> None:
    claim = work.claim("demo", "m1", SPEC.name, delivery_id, 60)
    assert claim
    assert claim.order == SPEC.arguments
    assert work.complete(claim, [Rendition(SPEC.name, "image", "key", "image/jpeg", 7)])


def codes(answers: list[object]) -> list[str]:
    return [answer.code if isinstance(answer, ApiError) else type(answer).__name__ for answer in answers]


async def test_many_in_two_processes_order_it_once_and_all_get_it(catalog, work):
    queue = Queue()
    processes = [Variants(catalog, queue.send, 10, MOST) for _ in range(2)]
    asked = [asyncio.create_task(one.get(WANTED)) for one in processes for _ in range(25)]
    await queue.has_some.wait()
    asked[0].cancel()
    carry_out(work)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert codes(answers) == ["CancelledError", *["Rendition"] * 49]
    assert [json.loads(body) for body in queue.sent] == [
        {"kinstream": "variant", "app": "demo", "media_id": "m1", "step": SPEC.name}
    ]


async def test_who_waits_too_long_is_told_to_ask_again_and_then_gets_it(catalog, work):
    queue = Queue()
    variants = Variants(catalog, queue.send, 0.2, MOST)
    with pytest.raises(ApiError) as told:
        await variants.get(WANTED)
    assert (told.value.status, told.value.code) == (503, "not_made_yet")
    assert int(told.value.headers["Retry-After"]) > 0
    carry_out(work)
    assert (await variants.get(WANTED)).object_key == "key"
    assert len(queue.sent) == 1


async def test_an_order_that_the_queue_did_not_take_is_sent_by_who_asks_a_minute_later(url, catalog, work):
    queue = Queue()
    queue.is_away = True
    variants = Variants(catalog, queue.send, 0.1, MOST)
    answers = await asyncio.gather(*(variants.get(WANTED) for _ in range(5)), return_exceptions=True)
    # Who comes only when the first has been refused waits for what is ordered.
    assert "unavailable" in codes(answers)
    assert set(codes(answers)) <= {"unavailable", "not_made_yet"}
    assert queue.sent == []
    queue.is_away = False
    in_a_minute = MediaRepository(create_engine(url), lambda: now_ms() + 61_000)
    variants = Variants(in_a_minute, queue.send, 0.1, MOST)
    for _ in range(2):
        answers = await asyncio.gather(variants.get(WANTED), return_exceptions=True)
        assert codes(answers) == ["not_made_yet"]
    assert len(queue.sent) == 1
    in_a_minute.close()


@pytest.mark.parametrize(("exhausted", "orders"), [(False, 1), (True, 2)])
async def test_one_that_failed_is_ordered_anew_only_where_trying_may_help(catalog, work, exhausted, orders):
    queue = Queue()
    patient, variants = (Variants(catalog, queue.send, seconds, MOST) for seconds in (60, 0.3))
    asked = asyncio.create_task(patient.get(WANTED))
    await queue.has_some.wait()
    claim = work.claim("demo", "m1", SPEC.name, "d1", 60)
    assert claim
    assert work.fail(claim, "it burnt", exhausted=exhausted)
    assert codes(await asyncio.gather(asked, return_exceptions=True)) == ["cannot_be_made"]
    again = await asyncio.gather(variants.get(WANTED), return_exceptions=True)
    assert codes(again) == ["not_made_yet" if exhausted else "cannot_be_made"]
    assert len(queue.sent) == orders


async def test_at_the_end_nobody_waits_on(catalog, work):
    queue = Queue()
    variants = Variants(catalog, queue.send, 60, MOST)
    asked = asyncio.create_task(variants.get(WANTED))
    await queue.has_some.wait()
    variants.stop()
    assert codes(await asyncio.gather(asked, return_exceptions=True)) == ["not_ready"]


async def test_an_item_has_so_many_variants_and_no_more(catalog, work):
    queue = Queue()
    variants = Variants(catalog, queue.send, 0, MOST)
    other = [Wanted("demo", "m1", VariantSpec(width=width)) for width in range(1, MOST + 2)]
    answers = await asyncio.gather(*map(variants.get, other), return_exceptions=True)
    assert sorted(codes(answers)) == [*["not_made_yet"] * MOST, "too_many_variants"]
    assert len(queue.sent) == MOST
    # What was ordered before is made all the same.
    ordered = other[codes(answers).index("not_made_yet")]
    claim = work.claim("demo", "m1", ordered.spec.name, "d1", 60)
    assert work.complete(claim, [Rendition(ordered.spec.name, "image", "key", "image/jpeg", 7)])
    assert (await variants.get(ordered)).object_key == "key"
