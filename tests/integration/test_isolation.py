"""A processor that raises or hangs leaves the others alone."""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from kinstream.aws import blocking_client
from kinstream.dynamo import from_item, to_item
from kinstream.keys import Key, counter, customer_counters
from kinstream.queues import Message
from kinstream.resources import TABLE_COUNTERS, ProcessorQueue
from kinstream.settings import CoreSettings
from session_worker.engine.watchdog import EXIT_CODE, Patience, culprit_of
from session_worker.engine.worker import suspects_apart
from session_worker.processors.activity import Activity
from tests.support.engine import APP, event
from tests.support.stack import eventually
from tests.support.worker_process import queues_of, worker_process

TROUBLED = '''
import re

from kinstream.resources import ProcessorQueue
from session_worker.effects import Increment
from session_worker.processor import LedgerKey, Reducer


class Troubled(Reducer):
    """Guarantee: none."""

    name = "troubled"
    handles = frozenset({"good.sent", "bad.sent"})
    example = {"id": "e", "type": "good.sent", "customer_id": "c", "occurred_at": "2026-11-20T18:00:00Z"}

    def resource(self):
        return ProcessorQueue(self.name, tuple(sorted(self.handles)), 1, 3)

    def key(self, event):
        return LedgerKey((event.customer_id,))

    def effects(self, app, key, new):
        if any(event.type == "bad.sent" for event in new):
            self.fail()
        yield Increment(("troubled", *key.partition), {"events": len(new)})

    def fail(self):
        «FAIL»
'''
QUEUE = ProcessorQueue("troubled", ("bad.sent", "good.sent"), 1, 3)
PROCESSORS = {"KINSTREAM_PROCESSORS": "activity,troubled"}
IMPATIENT = {"KINSTREAM_MAX_BLOCKED_SECONDS": "2"}


def count(settings: CoreSettings, key: Key) -> int:
    with closing(blocking_client("dynamodb", settings)) as dynamodb:
        answer = dynamodb.get_item(
            TableName=settings.names.of(TABLE_COUNTERS),
            Key=to_item({"pk": key[0], "sk": key[1]}),
            ConsistentRead=True,
        )
    return int(from_item(answer.get("Item", {})).get("events", 0))


@pytest.mark.parametrize(
    ("fail", "exit_code"),
    [
        ("raise ZeroDivisionError", None),
        ("while True: pass", EXIT_CODE),
        # Holds the interpreter, so that no thread of Python gets to run: the watchdog behind the watchdog.
        ("re.match('(a+)+$', 'a' * 60 + 'b')", 1),
    ],
    ids=["raises", "hangs", "hangs in C"],
)
def test_processor_in_trouble_leaves_the_others_counting_and_its_poison_is_put_aside(
    settings: CoreSettings, tmp_path: Path, fail: str, exit_code: int | None
):
    source = TROUBLED.replace("«FAIL»", fail)
    variables = PROCESSORS | (IMPATIENT if exit_code else {})
    with (
        worker_process(settings, tmp_path, source, [QUEUE], variables) as worker,
        queues_of(settings) as queues,
    ):
        poison = queues.send("troubled", event(type="bad.sent"))
        sent = 0
        aside: list[str] = []

        def others_count_until_the_poison_is_gone() -> bool:
            nonlocal sent
            worker.look_after()
            queues.send("activity", event(customer_id="fam-others"))
            sent += 1
            aside.extend(queues.put_aside("troubled"))
            return bool(aside)

        eventually(others_count_until_the_poison_is_gone, "the poison is put aside")
        queues.send("troubled", event(type="good.sent"))

        def all_is_counted() -> bool:
            worker.look_after()
            mine = count(settings, counter(APP, "troubled", "fam-1"))
            return (mine, count(settings, customer_counters(APP, "fam-others"))) == (1, sent)

        eventually(all_is_counted, "everything but the poison is counted")
        assert worker.stop() == 0
        critical = worker.logged("CRITICAL")
    assert aside == [poison]
    if exit_code is None:
        assert worker.exit_codes == []
    else:
        # Where the machine stands still for seconds, the watchdog behind the watchdog may be the first.
        assert exit_code in worker.exit_codes
        assert set(worker.exit_codes) <= {exit_code, 1}
    assert {(line["processor"], line["function"]) for line in critical} == (
        {("troubled", "Troubled.fail")} if exit_code == EXIT_CODE else set()
    )


def received(*counts: int) -> list[Message]:
    return [Message(f"m-{n}", "", "", receive_count) for n, receive_count in enumerate(counts)]


def names(groups: Sequence[Sequence[Message]]) -> list[set[str]]:
    return [{one.id for one in group} for group in groups]


def test_messages_that_came_back_often_are_counted_alone_and_after_the_others():
    trusted, *alone = names(suspects_apart(received(1, 5, 4, 9), 4))
    assert trusted == {"m-0", "m-2"}
    assert sorted(map(sorted, alone)) == [["m-1"], ["m-3"]]
    assert names(suspects_apart(received(9), 4)) == [{"m-0"}]
    assert names(suspects_apart(received(1, 2, 3), 4)) == [{"m-0", "m-1", "m-2"}]
    assert suspects_apart([], 4) == []


def test_no_suspect_is_always_behind_the_same_other():
    first = {groups[0][0].id for groups in (suspects_apart(received(9, 9), 4) for _ in range(200))}
    assert first == {"m-0", "m-1"}


def test_loop_that_beats_is_never_too_long_silent():
    patience = Patience(10, 1)
    assert not any(patience.is_over(beats, 1) for beats in range(1_000))


def test_loop_that_stands_still_is_too_long_silent_after_its_time():
    patience = Patience(10, 1)
    assert [patience.is_over(5, 1) for _ in range(12)] == [False] * 10 + [True] * 2


def test_time_in_which_nothing_ran_at_all_is_no_silence():
    patience = Patience(10, 1)
    assert not patience.is_over(5, 0)
    assert not patience.is_over(5, 3_600), "the machine slept"
    assert not patience.is_over(6, 1)


def test_stack_without_a_processor_names_where_it_stands():
    found = culprit_of(sys._getframe())
    assert (found.processor, found.function) == (None, "test_stack_without_a_processor_names_where_it_stands")
    assert culprit_of(None).processor is None


def test_stack_below_a_processor_names_it():
    class Asking(Activity):
        def key(self, event):
            return culprit_of(sys._getframe())

    found = Asking().key(event())
    assert (found.processor, found.function.rpartition(".")[2]) == ("activity", "key")
