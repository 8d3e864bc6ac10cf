"""Closing sessions against a model: a ledger in memory, a clock that is moved, closers that die anywhere."""

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from kinstream.ledger_format import Bucket, bucket_start_ms
from kinstream.views import closing
from kinstream.views.closing import Closing, closes_at_ms, decide, decode_closings, encode_closings
from kinstream.views.sessions import GAP_MS, Moment, Session, moments_in, sessions_of

HOUR_MS = 3_600_000
LATENESS_MS = 15 * 60_000
DELAY_MS = 2 * GAP_MS + LATENESS_MS


class DiedError(Exception):
    """The closer was killed here."""


@dataclass
class Ledger:
    """One device's buckets with their due times, the clock, and what was announced."""

    now_ms: int = 100 * HOUR_MS
    buckets: dict[int, Bucket] = field(default_factory=dict)
    announced: list[Closing] = field(default_factory=list)
    events: int = 0
    steps_left: int = 0

    def add(self, time_ms: int) -> None:
        start_ms = bucket_start_ms(time_ms, 3_600)
        bucket = self.buckets.setdefault(start_ms, Bucket(start_ms))
        bucket.add(((time_ms - start_ms) << 42) + self.events, ("read", ""))
        self.events += 1
        bucket.due_at_ms = closing.due_at_ms(bucket.due_at_ms, time_ms, self.now_ms, LATENESS_MS)

    def moments(self) -> list[Moment]:
        return [moment for start_ms in sorted(self.buckets) for moment in moments_in(self.buckets[start_ms])]

    def closings(self) -> dict[int, Closing]:
        stored = (decode_closings(bucket.state) for bucket in self.buckets.values())
        return {one.started_ms: one for closings in stored for one in closings}

    def put(self, one: Closing) -> None:
        bucket = self.buckets[bucket_start_ms(one.started_ms, 3_600)]
        others = [old for old in decode_closings(bucket.state) if old.started_ms != one.started_ms]
        bucket.state = encode_closings([*others, one])

    def look(self, bucket: Bucket) -> None:
        for one in self.closings().values():
            if one.account:
                self.send(one)
        in_bucket = range(bucket.start_ms, bucket.start_ms + HOUR_MS)
        decision = decide(self.moments(), self.closings(), in_bucket, self.now_ms, LATENESS_MS)
        for one in decision.closings:
            self.step()
            self.put(one)
        for one in decision.closings:
            self.send(one)
        if decision.look_again_ms:
            self.step()
            bucket.due_at_ms = decision.look_again_ms
            assert bucket.due_at_ms > self.now_ms

    def send(self, one: Closing) -> None:
        self.step()
        self.announced.append(one)
        self.step()
        self.put(one.sent())

    def step(self) -> None:
        if self.steps_left == 0:
            raise DiedError
        self.steps_left -= 1

    def sweep(self, looked: set[tuple[int, int]], survives: int = 1_000) -> None:
        """Look at every bucket that is due and has not been looked at to the end; die after so many steps."""
        self.steps_left = survives
        for start_ms in sorted(self.buckets):
            bucket = self.buckets[start_ms]
            entry = start_ms, bucket.due_at_ms
            if bucket.due_at_ms <= self.now_ms and entry not in looked:
                try:
                    self.look(bucket)
                except DiedError:
                    return
                looked.add(entry)


ages = st.one_of(st.integers(0, 20), st.integers(0, 5).map(lambda n: n * 30), st.integers(0, 30 * 60))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("event"), ages),
        st.tuples(st.just("event"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.one_of(st.integers(0, 40), st.integers(60, 80), st.just(30 * 60))),
        st.tuples(st.just("sweep"), st.one_of(st.integers(0, 6), st.just(1_000))),
        st.tuples(st.just("day"), st.integers(0, 300)),
    ),
    max_size=40,
)


def run(ledger: Ledger, done) -> None:
    """Do these steps, then sweep and wait until there is nothing left to do."""
    looked: set[tuple[int, int]] = set()
    for kind, number in done:
        match kind:
            case "event":  # so many minutes old
                ledger.add(ledger.now_ms - number * 60_000)
            case "wait":
                ledger.now_ms += number * 60_000
            case "sweep":
                ledger.sweep(looked, survives=number)
            case "day":  # and more of it, without a gap, swept while it goes on
                for place in range(60):
                    ledger.now_ms += 29 * 60_000
                    ledger.add(ledger.now_ms)
                    if place * 5 > number:
                        ledger.sweep(looked)
    for _ in range(8):
        ledger.sweep(looked)
        ledger.now_ms += 50 * HOUR_MS
    assert all(bucket.due_at_ms < ledger.now_ms for bucket in ledger.buckets.values())


@settings(max_examples=300, deadline=None)
@given(steps)
def test_any_interleaving_of_events_and_dying_closers_ends_in_the_sessions_of_a_plain_fold(done):
    ledger = Ledger()
    run(ledger, done)
    closings = ledger.closings()
    live = {one.started_ms: one for one in sessions_of(ledger.moments())}
    last = {one.started_ms: one for one in ledger.announced}
    assert set(live) <= set(last)
    for start_ms, session in live.items():
        standing = closing.standing_of(session, closings)
        assert not standing.provisional
        assert closings[start_ms].account is None
        told = last[start_ms]
        assert told.revision == standing.revision
        assert (told.event_count, told.account.ended_ms) == (session.event_count, session.ended_ms)
        assert told.account.supersedes == standing.supersedes


@settings(max_examples=300, deadline=None)
@given(steps)
def test_each_revision_has_one_content_and_every_start_ever_announced_lives_or_is_superseded(done):
    ledger = Ledger()
    run(ledger, done)
    by_start: dict[int, dict[int, Closing]] = defaultdict(dict)
    for one in ledger.announced:
        assert by_start[one.started_ms].setdefault(one.revision, one) == one
    for revisions in by_start.values():
        assert sorted(revisions) == list(range(1, len(revisions) + 1))
    live = {one.started_ms for one in sessions_of(ledger.moments())}
    superseded = [
        start for start_ms in live for start in by_start[start_ms][max(by_start[start_ms])].account.supersedes
    ]
    assert len(superseded) == len(set(superseded))
    assert set(by_start) == live | set(superseded)


@settings(deadline=None)
@given(steps)
def test_nothing_is_announced_before_its_time(done):
    ledger = Ledger()
    run(ledger, done)
    assert all(one.decided_at_ms >= one.account.ended_ms + DELAY_MS for one in ledger.announced)


def test_session_closes_when_neither_a_later_nor_a_late_event_is_expected():
    ledger = Ledger()
    ledger.add(ledger.now_ms - 60_000)
    ledger.add(ledger.now_ms)
    looked: set[tuple[int, int]] = set()
    ends_ms = ledger.now_ms
    ledger.now_ms = ends_ms + DELAY_MS - 1
    ledger.sweep(looked)
    assert ledger.announced == []
    ledger.now_ms += 1
    ledger.sweep(looked)
    ledger.sweep(looked)
    (one,) = ledger.announced
    assert (one.revision, one.event_count, one.account.supersedes) == (1, 2, ())
    assert closes_at_ms(Session(0, ends_ms), LATENESS_MS) == ledger.now_ms


def test_event_between_two_closed_sessions_gives_one_that_supersedes_both_names():
    ledger = Ledger()
    looked: set[tuple[int, int]] = set()
    base_ms = ledger.now_ms - 10 * HOUR_MS
    for minute in (30, 75):
        ledger.add(base_ms + minute * 60_000)
    ledger.now_ms += HOUR_MS
    ledger.sweep(looked)
    assert [one.revision for one in ledger.announced] == [1, 1]
    ledger.add(base_ms + 15 * 60_000)
    ledger.add(base_ms + 50 * 60_000)
    ledger.now_ms += HOUR_MS
    ledger.sweep(looked)
    merged = ledger.announced[-1]
    assert (len(ledger.announced), merged.revision, merged.event_count) == (3, 1, 4)
    assert merged.account.supersedes == (base_ms + 30 * 60_000, base_ms + 75 * 60_000)


def test_start_that_was_superseded_and_begins_a_session_again_says_what_that_supersedes():
    ledger = Ledger()
    looked: set[tuple[int, int]] = set()
    zero_ms = ledger.now_ms - 60 * HOUR_MS

    def add(*minutes: int) -> None:
        for minute in minutes:
            ledger.add(zero_ms + minute * 60_000)
        ledger.now_ms += HOUR_MS
        ledger.sweep(looked)

    add(*range(0, 30 * 60, 25))
    add(-20)  # all starts move, and with them where 24 hours are over
    moved = min(one.started_ms for one in ledger.announced if one.started_ms > zero_ms)
    add(*range(-24 * 60 - 15, -20, 25))  # a day before it ends where the first session began at first
    first, again = (one for one in ledger.announced if one.started_ms == zero_ms)
    assert (first.revision, again.revision) == (1, 2)
    assert first.event_count == again.event_count
    assert moved in again.account.supersedes


def test_look_that_stands_safely_ahead_is_kept_and_another_waits_for_company():
    assert closing.due_at_ms(500_000, 0, 400_000, LATENESS_MS) == 500_000
    assert closing.due_at_ms(0, 400_000, 400_000, LATENESS_MS) == 400_000 + DELAY_MS
    late_ms = 10 * HOUR_MS
    assert closing.due_at_ms(1, 400_000, late_ms, LATENESS_MS) == late_ms + closing.LATE_PAUSE_MS
