"""Faults at every step of a commit, over real HTTP: whatever befalls a call, the result is exact."""

import asyncio
import csv
import gzip
import itertools
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

from kinstream.chunks import decode_chunk
from kinstream.resources import DEAD_LETTER_SUFFIX, TABLE_COUNTERS, TABLE_OUTBOX, TOPIC_ALERTS
from kinstream.settings import CoreSettings
from kinstream.views import trending
from kinstream_devkit.generate.walks import Place
from kinstream_devkit.generate.world import generate
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from kinstream_devkit.reference.events import truth_of
from session_worker.engine import outbox, rollup, worker
from session_worker.main import Worker
from session_worker.processor import Stateful, discover
from tests.support.fault_proxy import Fault, FaultProxy, Kind, fault_proxy
from tests.support.model_truth import compare, customers_shown, sessions_shown
from tests.support.sending import wait_for
from tests.support.workers import Deployment, event_of, worker_processes, worker_through

REAL = Path(__file__).parents[3] / "shared/data/events/git-activity.csv.gz"
TWENTY_YEARS_SECONDS = 20 * 366 * 86_400
KNOWN_SESSIONS = 16_941
PROCESSORS = [processor for processor in discover() if isinstance(processor, Stateful)]
_numbers = itertools.count(1)

FOR_LONG = 6
"""Calls in a row: more than the client makes good by itself, and than the engine tries before it gives up,
so that messages come again."""
NO_ANSWER = (Kind.BEFORE, Kind.LOST, Kind.ERROR)
EVERY_KIND = (*NO_ANSWER, Kind.THROTTLING, Kind.EXCEEDED)


class Step(NamedTuple):
    """One step of what a worker does, by the call it makes; `about` tells it from others of its operation."""

    name: str
    operation: str
    kinds: tuple[Kind, ...]
    about: str = ""

    def now_and_then(self) -> list[Fault]:
        """Each kind once, as far as there are calls, with one in between that goes well."""
        return [Fault(self.operation, kind, 2 * n, 1, self.about) for n, kind in enumerate(self.kinds)]

    def for_long(self, kind: Kind) -> list[Fault]:
        """One kind, until the engine gives up."""
        return [Fault(self.operation, kind, 0, FOR_LONG, self.about)]


STEPS = [
    Step("receiving", "ReceiveMessage", NO_ANSWER),
    Step("reading buckets", "BatchGetItem", EVERY_KIND),
    Step("reading a timeline", "Query", EVERY_KIND, "BETWEEN"),
    Step("reading its head", "GetItem", NO_ANSWER, "@head"),
    Step("committing", "TransactWriteItems", (Kind.CONFLICT, *EVERY_KIND)),
    Step("reading the outbox", "GetItem", NO_ANSWER, "outbox"),
    Step("sending an announcement", "Publish", NO_ANSWER),
    Step("marking it sent", "UpdateItem", (Kind.CONFLICT, *EVERY_KIND), "sent_at_ms"),
    Step("putting aside", "SendMessage", NO_ANSWER),
    Step("deleting", "DeleteMessageBatch", NO_ANSWER),
    Step("giving back", "ChangeMessageVisibilityBatch", NO_ANSWER),
    Step("reading the journal", "Query", (Kind.LOST,), "journal"),
    Step("making a batch of it", "PutItem", (Kind.BEFORE, Kind.LOST, Kind.THROTTLING), "batch_number"),
    Step("adding the batch", "UpdateItem", (Kind.CONFLICT, Kind.LOST), "rolled_up_to"),
    Step("removing its entries", "BatchWriteItem", (Kind.BEFORE, Kind.LOST)),
    Step("finishing the batch", "UpdateItem", (Kind.LOST,), "is_done"),
    Step("flushing scores", "UpdateItem", (Kind.CONFLICT, *EVERY_KIND), "trend_shard"),
]
CASES = [
    pytest.param(step, faults, id=f"{step.name}: {how}")
    for step in STEPS
    for how, faults in [
        ("now and then", step.now_and_then()),
        *((kind.name.lower(), step.for_long(kind)) for kind in step.kinds),
    ]
]


@pytest.fixture(scope="module")
def deployment(endpoint: str) -> Iterator[Deployment]:
    settings = CoreSettings(
        name_prefix=f"t{uuid.uuid4().hex[:12]}",
        aws_endpoint_url=endpoint,
        ledger_hash_key=SecretStr("a key for tests"),
        ledger_retention_seconds=TWENTY_YEARS_SECONDS,
    )
    provision(settings, processor_queues())
    deployment = Deployment(settings)
    for processor in PROCESSORS:
        deployment.set_visibility(settings.names.processor_queue(processor.name), 1)
    yield deployment
    deployment.close()


@pytest.fixture(scope="module")
def proxy(endpoint: str) -> Iterator[FaultProxy]:
    with fault_proxy(endpoint) as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker waits for in production, a test need not."""
    monkeypatch.setattr(worker, "RECEIVE_WAIT_SECONDS", 0)
    monkeypatch.setattr(worker, "PAUSE_AFTER_FAILURE_SECONDS", 0.05)
    monkeypatch.setattr(worker, "_PAUSE_AFTER_ERROR_SECONDS", 0.05)
    monkeypatch.setattr(worker, "retry_delay_seconds", lambda _: 0)
    monkeypatch.setattr(outbox, "SETTLING_MS", -1_000)
    monkeypatch.setattr(rollup, "LEFT_BEHIND_INTERVALS", 0)


HOME = Place("fam-1", "home", "Home", 52.52, 13.4, 150.0)


def native(second: int, kind: str = "content.viewed", customer: int = 1, **data: Any) -> dict[str, Any]:
    moment = datetime(2026, 11, 20, 17, 50, tzinfo=UTC) + timedelta(seconds=second)
    return {
        "id": f"e-{second}",
        "type": kind,
        "customer_id": f"fam-{customer}",
        "device_id": f"ipad-{second % 2}",
        "occurred_at": moment.isoformat(timespec="milliseconds"),
        "data": data or {"content_id": f"story-{second // 60 % 3}"},
    }


def a_family_s_day() -> list[dict[str, Any]]:
    """Over the border of an hour: views, a change of mind, a walk, and data nobody can read."""
    views = [native(60 * n, customer=1 + n % 3) for n in range(24)]
    minds = [native(60 * n + 1, ["content.liked", "content.unliked"][n % 2], 1 + n % 3) for n in range(8)]
    walk = [
        native(
            70 * n + 2,
            "location.updated",
            person_id="kid",
            latitude=52.52 if n in {0, 6} else 52.53,
            longitude=13.4,
            accuracy_m=10.0,
        )
        for n in range(8)
    ]
    return [*views, *minds, *walk, native(5, content_id=7)]


async def work_off(through: Worker, deployment: Deployment) -> None:
    """Consume, as `session_worker.main` does, until nothing is left."""
    consumers = [(await through.consumers(processor))[0] for processor in PROCESSORS]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(consumer.run(stop)) for consumer in consumers]
    queues = [deployment.names.processor_queue(processor.name) for processor in PROCESSORS]
    # Nobody can tell this process when a queue of another one is empty.
    while any([await asyncio.to_thread(deployment.messages, queue) for queue in queues]):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*tasks)


def trend_shown(deployment: Deployment, app: str) -> dict[str, float]:
    return {
        row["content_id"]: row["trend"]
        for row in deployment.rows(TABLE_COUNTERS)
        if "trend" in row and row["pk"].startswith(f"{app}#")
    }


def trend_meant(events: list[dict[str, Any]]) -> dict[str, float]:
    weights = {"content.viewed": 1.0, "content.liked": 4.0}
    meant: Counter[str] = Counter()
    for one in events:
        content_id = one["data"].get("content_id")
        if isinstance(content_id, str) and one["type"] in weights:
            at_ms = event_of(one).occurred_at_ms
            meant[content_id] += trending.stored_score(weights[one["type"]], at_ms)  # type: ignore[assignment]
    return dict(meant)


@pytest.mark.parametrize(("step", "faults"), CASES)
async def test_a_fault_at_any_step_of_the_commit_ends_exact(
    deployment: Deployment, proxy: FaultProxy, step: Step, faults: list[Fault]
):
    app, events = f"app{next(_numbers)}", a_family_s_day()
    deployment.put_place(app, HOME)
    heard = deployment.listen(TOPIC_ALERTS)
    async with worker_through(deployment.settings, proxy.url) as through:
        deployment.publish(app, [[event_of(one) for one in events[start::4]] for start in range(4)])
        proxy.strike(*faults)
        if step.name == "giving back":
            proxy.strike(Fault("TransactWriteItems", Kind.THROTTLING, times=2 * FOR_LONG))
        await work_off(through, deployment)
        for _ in range(FOR_LONG):
            await through.scores.flush()
        await sweep(through)
        struck = proxy.relent()
        await sweep(through)
        await through.scores.flush()
        assert not deployment.journal()
    assert struck >= {faults[0].kind}
    compare(deployment, app, events, [HOME])
    if step.name == "flushing scores" and Kind.LOST not in struck:
        # Trending is no part of the transaction: an answer that was lost may have counted or not.
        assert trend_shown(deployment, app) == pytest.approx(trend_meant(events))
    assert_announced(deployment, app, deployment.take_bodies(heard))
    dead = deployment.take_bodies(deployment.names.processor_queue("content") + DEAD_LETTER_SUFFIX)
    aside = [chunk.events for chunk in map(decode_chunk, dead) if chunk.app == app]
    assert aside
    assert all([found.id for found in of_chunk] == ["e-5"] for of_chunk in aside)


def assert_announced(deployment: Deployment, app: str, heard: list[str]) -> None:
    """All that the outbox holds was heard, and is marked."""
    told = [json.loads(body) for body in heard]
    rows = [row for row in deployment.rows(TABLE_OUTBOX) if row["pk"].startswith(f"{app}#")]
    assert rows
    assert not [row for row in rows if "pending_shard" in row]
    assert all(json.loads(row["body"]) in told for row in rows)


async def sweep(through: Worker) -> None:
    for _ in range(FOR_LONG):
        for upkeep in (through.outbox.sweep, through.roll_up.run):
            with suppress(*worker.AWAY):
                await upkeep()


async def add_what_is_left(deployment: Deployment) -> None:
    """As the workers that come after do."""
    async with worker_through(deployment.settings, str(deployment.settings.aws_endpoint_url)) as through:
        await through.roll_up.run()
        for _ in range(2):  # a batch that was left undone, then what came after it
            await through.roll_up.sweep()
    assert not deployment.journal()


RATES = {
    "TransactWriteItems": {
        Kind.CONFLICT: 0.05,
        Kind.THROTTLING: 0.02,
        Kind.EXCEEDED: 0.01,
        Kind.LOST: 0.02,
        Kind.BEFORE: 0.02,
        Kind.ERROR: 0.01,
    },
    "BatchGetItem": {Kind.THROTTLING: 0.02, Kind.ERROR: 0.01, Kind.LOST: 0.02, Kind.DELAY: 0.02},
    "Query": {Kind.THROTTLING: 0.01, Kind.BEFORE: 0.01},
    "GetItem": {Kind.ERROR: 0.02, Kind.LOST: 0.02},
    "UpdateItem": {Kind.LOST: 0.02, Kind.CONFLICT: 0.02},
    "PutItem": {Kind.LOST: 0.02, Kind.CONFLICT: 0.02},
    "BatchWriteItem": {Kind.LOST: 0.02, Kind.BEFORE: 0.02},
    "Publish": {Kind.LOST: 0.05, Kind.BEFORE: 0.05},
    "DeleteMessageBatch": {Kind.LOST: 0.03, Kind.BEFORE: 0.03, Kind.ERROR: 0.02},
    "ReceiveMessage": {Kind.LOST: 0.01, Kind.BEFORE: 0.01},
    "ChangeMessageVisibilityBatch": {Kind.BEFORE: 0.1},
}
SOME_PROCESSORS = {"KINSTREAM_PROCESSORS": ",".join(processor.name for processor in PROCESSORS)}


def through_four_workers(
    deployment: Deployment, proxy: FaultProxy, folder: Path, app: str, events: list[dict[str, Any]]
) -> None:
    """Each chunk comes twice, in an order that mixes early and late, through four real processes."""
    chunks = [[event_of(one) for one in events[start : start + 50]] for start in range(0, len(events), 50)]
    proxy.strike_at_random(len(events), RATES)
    # Four busy workers that take the same messages from one another would wear out their deliveries.
    for processor in PROCESSORS:
        deployment.set_visibility(deployment.names.processor_queue(processor.name), 5)
    with worker_processes(deployment.settings, folder, proxy.url, 4, SOME_PROCESSORS):
        deployment.publish(app, chunks)
        deployment.publish(app, chunks[::7])
        for processor in PROCESSORS:
            queue = deployment.names.processor_queue(processor.name)
            wait_for(f"all of {queue}", lambda q=queue: deployment.messages(q) == 0, seconds=500)
    for processor in PROCESSORS:
        deployment.set_visibility(deployment.names.processor_queue(processor.name), 1)
    assert {Kind.CONFLICT, Kind.LOST, Kind.BEFORE, Kind.THROTTLING} <= proxy.relent()
    asyncio.run(add_what_is_left(deployment))


def test_four_workers_count_a_generated_world_exactly_whatever_fails(
    deployment: Deployment, proxy: FaultProxy, tmp_path: Path
):
    app, world = f"app{next(_numbers)}", generate(11, 60, datetime.now(UTC))
    for place in world.places:
        deployment.put_place(app, place)
    through_four_workers(deployment, proxy, tmp_path, app, world.accepted)
    compare(deployment, app, world.accepted, world.places)


def real_events() -> list[dict[str, Any]]:
    """Human activity with real lateness, in the order of its arrival."""
    with gzip.open(REAL, "rt", newline="") as file:
        return [
            {
                "id": row["event_id"],
                "type": "content.viewed",
                "customer_id": row["customer_id"],
                "device_id": "git",
                "occurred_at": datetime.fromtimestamp(int(row["occurred_at"]), UTC).isoformat(),
                "data": {"content_id": row["content_id"]},
            }
            for row in csv.DictReader(file)
        ]


@pytest.mark.timeout(1_800)
@pytest.mark.skipif(not REAL.exists(), reason=f"the real events are not beside the project: {REAL.name}")
def test_four_workers_count_real_events_exactly_whatever_fails(
    deployment: Deployment, proxy: FaultProxy, tmp_path: Path
):
    app, events = f"app{next(_numbers)}", real_events()
    through_four_workers(deployment, proxy, tmp_path, app, events)
    compare(deployment, app, events, [])
    assert sum(len(sessions) for sessions in sessions_shown(deployment, app).values()) == KNOWN_SESSIONS
    assert sum(row["events"] for row in customers_shown(deployment, app).values()) == truth_of(events).events
