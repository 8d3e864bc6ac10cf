"""The roll-up of the journal as a state machine: every entry is added once, whatever happens when.

Three workers, two of which look after the same slot; Hypothesis decides the fate of every call to DynamoDB,
kills workers between any two of them and moves the clock on. `KINSTREAM_MODEL_RUNS=2000` makes it the long
form.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kinstream import keys
from kinstream.dynamo import from_item, to_item
from session_worker.domain.sums import Sums, written_down
from session_worker.engine import rollup
from session_worker.engine.rollup import RollUp
from session_worker.engine.worker import AWAY
from tests.support.interleaving import Call, Fate, Gate
from tests.support.memory_aws import ForgetfulDynamoDb
from tests.support.model import fates_of, model_settings

USUAL_RUNS = 100
RUNS = int(os.environ.get("KINSTREAM_MODEL_RUNS", USUAL_RUNS))
TABLE = "model-counters"
SLOTS = (3, 3, 4)
START_MS = 1_795_284_000_000
CONTENTS = [f"story-{number}" for number in range(3)]

numbers = st.integers(0, 11)
fortunes = st.integers(0, 13)
"""How a call fares: beyond the fates of its kind, it is just done."""


class RollUpModel(RuleBasedStateMachine):
    """A journal, and what adds it to the counters."""

    def __init__(self) -> None:
        super().__init__()
        self._patches = [
            mock.patch.object(rollup, "MOST_ENTRIES_OF_A_PART", 4),
            mock.patch.object(rollup, "_MOST_DELETES", 3),
            mock.patch.object(rollup, "_ATTEMPTS", 2),
        ]
        for patch in self._patches:
            patch.start()
        self._gate = Gate(open=False)
        self._dynamodb = ForgetfulDynamoDb(lambda *_: None)
        self._now_ms = START_MS
        self._entries = 0
        self._views: Counter[str] = Counter()
        self._viewers: dict[str, set[int]] = defaultdict(set)
        self._names = ["worker 0", "worker 1", "worker 2"]
        self._workers = [self._start(number) for number in range(len(SLOTS))]

    @rule(
        slot=st.sampled_from(SLOTS),
        entries=st.lists(st.dictionaries(st.sampled_from(CONTENTS), numbers, min_size=1), max_size=6),
    )
    def write(self, slot: int, entries: list[dict[str, int]]) -> None:
        """What transactions leave."""
        for entry in entries:
            self._entries += 1
            pk, sk = keys.journal_entry(slot, self._now_ms, str(self._entries))
            viewers = {keys.content_counters("demo", name, slot)[0]: viewer for name, viewer in entry.items()}
            sums = {name: Sums({"views": 1}, {"viewers": {viewer}}) for name, viewer in viewers.items()}
            item = to_item({"pk": pk, "sk": sk, "sums": written_down(sums)})
            self._dynamodb.handle("PutItem", {"TableName": TABLE, "Item": item})
            self._views.update(viewers.keys())
            for name, viewer in viewers.items():
                self._viewers[name].add(viewer)

    @rule(
        numbers=st.lists(st.integers(0, 2), min_size=1, max_size=3),
        sweeps=st.booleans(),
        seconds=st.sampled_from([0, 0, 31, 61]),
    )
    def roll_up(self, numbers: list[int], sweeps: bool, seconds: int) -> None:
        self._now_ms += seconds * 1000
        for number in numbers:
            if self._gate.tasks(self._names[number]) < 2:
                worker = self._workers[number]
                self._gate.start(self._names[number], _once(worker.sweep if sweeps else worker.run))

    @precondition(lambda self: self._gate.calls)
    @rule(choices=st.lists(st.tuples(numbers, fortunes), min_size=1, max_size=30))
    def go_on(self, choices: list[tuple[int, int]]) -> None:
        for choice, fortune in choices:
            self._decide(choice, lambda fates, n=fortune: fates[n] if n < len(fates) else Fate.DONE)

    @rule(
        picks=st.lists(st.integers(0, 3), min_size=10, max_size=40),
        slow=st.integers(0, 12),
        seconds=st.sampled_from([0, 31]),
    )
    def race(self, picks: list[int], slow: int, seconds: int) -> None:
        """Two workers of one slot take turns, more is written meanwhile, and one call comes late."""
        self._settle()
        for number in (0, 1):
            self._gate.start(self._names[number], _once(self._workers[number].run))
        for number, pick in enumerate(picks):
            mine = [call for call in self._gate.calls if call.caller == self._names[pick % 2]]
            if pick > 1:
                self.write(SLOTS[0], [{CONTENTS[0]: number}])
            elif mine:
                self._gate.decide(mine[0], Fate.LATE if number == slow else Fate.DONE)
            if number == slow:
                self._now_ms += seconds * 1000

    @precondition(lambda self: self._gate.calls)
    @rule(number=st.integers(0, 2), fortunes=st.lists(numbers, max_size=20))
    def storm(self, number: int, fortunes: list[int]) -> None:
        """Little goes well for one worker."""
        for fortune in fortunes:
            mine = [call for call in self._gate.calls if call.caller == self._names[number]]
            if mine:
                fates = [*fates_of(mine[0]), Fate.DONE, Fate.PARTIAL]
                self._gate.decide(mine[0], fates[fortune % len(fates)])

    @precondition(lambda self: self._gate.calls)
    @rule(number=st.integers(0, 2), calls=st.integers(1, 40))
    def hurry(self, number: int, calls: int) -> None:
        """One worker gets far while the others' calls are still under way."""
        for _ in range(calls):
            mine = [call for call in self._gate.calls if call.caller == self._names[number]]
            if mine:
                self._gate.decide(mine[0], Fate.DONE)

    @rule(number=st.integers(0, 2), done=st.booleans())
    def crash(self, number: int, done: bool) -> None:
        """Kill a worker; `done`: one of its calls is done, and nobody lives to hear of it."""
        mine = [call for call in self._gate.calls if call.caller == self._names[number]]
        if done and mine:
            self._gate.let_it_be_done(mine[0])
        self._gate.kill(self._names[number])
        self._names[number] += "'"
        self._workers[number] = self._start(number)

    @rule(most=st.integers(1, 3))
    def late_calls(self, most: int) -> None:
        self._gate.let_late_ones_arrive(most)

    @rule(seconds=st.sampled_from([1, 20, 31, 61, 3_600]))
    def let_time_pass(self, seconds: int) -> None:
        self._now_ms += seconds * 1000

    @invariant()
    def nothing_is_added_that_was_not_written(self) -> None:
        views, viewers = self._shown()
        assert all(count <= self._views[name] for name, count in views.items())
        assert all(found <= self._viewers[name] for name, found in viewers.items())

    def teardown(self) -> None:
        try:
            self._come_to_rest()
            assert self._shown() == (self._views, self._viewers)
            assert not [item for item in self._rows() if "sums" in item]
        finally:
            self._gate.close()
            for patch in self._patches:
                patch.stop()

    def _start(self, number: int) -> RollUp:
        name = self._names[number]
        client = self._gate.client(name, self._dynamodb)
        return RollUp(
            client, TABLE, SLOTS[number], worker=name, interval_seconds=3.0, now_ms=lambda: self._now_ms
        )

    def _decide(self, choice: int, fate_of: Callable[[Sequence[Fate]], Fate]) -> None:
        if calls := self._gate.calls:
            call: Call = calls[choice % len(calls)]
            self._gate.decide(call, fate_of(fates_of(call)))

    def _come_to_rest(self) -> None:
        self._settle()
        self._gate.let_late_ones_arrive()
        for _ in range(2):
            self._now_ms += 3_600_000
            for number in (0, 2):
                self._gate.start(self._names[number], _once(self._workers[number].run))
                self._settle()

    def _settle(self) -> None:
        while self._gate.calls:
            self._gate.decide(self._gate.calls[0], Fate.DONE)

    def _rows(self) -> list[dict[str, Any]]:
        return [from_item(item) for item in self._dynamodb.items(TABLE)]

    def _shown(self) -> tuple[Counter[str], dict[str, set[int]]]:
        counters = [row for row in self._rows() if row["sk"] == "total"]
        views, viewers = Counter[str](), dict[str, set[int]]()
        for row in counters:
            views[row["pk"]] += row.get("views", 0)
            viewers.setdefault(row["pk"], set()).update(row.get("viewers", set()))
        return views, viewers


async def _once(action: Callable[[], Any]) -> None:
    """As the worker's upkeep does it, which tries again later."""
    with suppress(*AWAY):
        await action()


TestRollUpModel = RollUpModel.TestCase
TestRollUpModel.settings = model_settings(RUNS, usual=USUAL_RUNS)
