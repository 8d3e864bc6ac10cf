"""How often a group tries: whatever mixture of refusals comes, what was not committed is never done with."""

import itertools

from session_worker.engine.groups import MAX_ATTEMPTS, Committer, Group, Unit
from session_worker.engine.store import AwayError, BusyError, StaleError
from session_worker.processor import LedgerKey
from session_worker.processors.activity import Activity
from tests.support.engine import event, message


class Refusing(Committer):
    """Refuses with these errors, one an attempt, and then commits."""

    def __init__(self, *errors: type[Exception]) -> None:
        super().__init__(Activity(), None, None)
        self._errors = list(errors)
        self.committed = 0

    def unit_key(self, app, event):
        return app, LedgerKey((event.customer_id,)), 0

    def pack(self, units):
        return [[unit] for unit in units]

    async def commit(self, units: list[Unit], outcome):
        if self._errors:
            raise self._errors.pop(0)
        self.committed += sum(len(unit.members) for unit in units)


async def test_a_message_is_done_with_only_when_its_event_is_committed():
    for errors in itertools.product([StaleError, BusyError, AwayError], repeat=MAX_ATTEMPTS):
        committer = Refusing(*errors)
        mine = message([event()])
        outcome = await Group(committer, None, jitter=lambda: 0.0).run([mine])
        assert (committer.committed == 1) is (mine.id not in outcome.failed), errors


async def test_what_is_refused_less_often_than_it_is_tried_is_committed():
    committer = Refusing(*[StaleError] * (MAX_ATTEMPTS - 1))
    outcome = await Group(committer, None, jitter=lambda: 0.0).run([message([event()])])
    assert (committer.committed, outcome.failed) == (1, {})
