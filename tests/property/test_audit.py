"""The audit's SQL against the session view: two ways to the same sessions, whatever the events are."""

import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kinstream.events import CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED, Event, format_time_ms
from kinstream.views.sessions import GAP_MS, IDLE_CAP_MS, MAX_SESSION_MS, Moment, sessions_of
from kinstream_devkit.audit.recompute import Recomputed, Session
from session_worker.processors.activity import Activity
from session_worker.processors.archive import Archive
from tests.support.engine import event

START_MS = 1_795_000_000_000
ALWAYS_MS = 2**60

gaps = st.one_of(
    st.sampled_from([0, 0, 1, IDLE_CAP_MS - 1, IDLE_CAP_MS + 1, GAP_MS - 1, GAP_MS, GAP_MS + 1]),
    st.integers(0, 2 * GAP_MS),
)
# Values that SQL, JSON and Python could read or order differently, and what is no name at all.
names = st.sampled_from(
    [None, "", "read", "read!", "it's", 'say "x"', "a\\b", "é", "\u0000", "x" * 130, 7, ["read"]]
)
moments = st.tuples(
    gaps,
    st.sampled_from(["screen.viewed", CONTENT_VIEWED, "location.updated"]),
    names,
    st.sampled_from([None, "", "s-1", "s-2", "s!"]),
)
devices = st.lists(st.lists(moments, max_size=30), min_size=1, max_size=3)


def events_of(of_devices) -> list[Event]:
    events = []
    for number, rows in enumerate(of_devices):
        time_ms = START_MS
        for gap_ms, kind, activity, content_id in rows:
            time_ms += gap_ms
            given_data = {"activity": activity, "content_id": content_id}
            one = event(
                type=kind,
                customer_id=f"fam-{number % 2}",
                device_id=f"d-{number}",
                occurred_at=format_time_ms(time_ms),
                data={name: value for name, value in given_data.items() if value is not None},
            )
            events.append(one)
    return events


def recomputed(folder: Path, *batches: list[Event]) -> Recomputed:
    """From one file a batch and date."""
    paths = []
    for number, batch in enumerate(batches):
        for file in Archive().files(f"batch-{number}", {"demo": batch}):
            path = folder / file.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.body)
            paths.append(path)
    archived = Recomputed(folder)
    archived.load(paths)
    return archived


def by_the_view(events: list[Event]) -> list[Session]:
    timelines = defaultdict(list)
    for one in events:
        if fact := Activity().fact(one):
            timelines[one.customer_id, one.device_id].append((one.occurred_at_ms, fact))
    return [
        Session(
            *who,
            session.started_ms,
            session.ended_ms,
            session.event_count,
            tuple((name, spent.engaged_ms, spent.events) for name, spent in session.by_priority()),
            tuple(session.content_ids),
        )
        for who, rows in timelines.items()
        for session in sessions_of(
            Moment(time_ms, *fact) for time_ms, fact in sorted(rows, key=lambda row: (row[0], repr(row[1])))
        )
    ]


@given(devices, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_sessions_and_counters_in_sql_are_those_of_the_view(of_devices, rng):
    events = events_of(of_devices)
    repeated = rng.choices(events, k=5) if events else []
    with tempfile.TemporaryDirectory() as folder:
        archived = recomputed(Path(folder), rng.sample(events, len(events)), repeated)
        sessions = list(archived.sessions("", "~", 0, ALWAYS_MS))
        by_type = archived.by_type("", "~")
        counted = archived.events
        archived.close()
    assert sorted(sessions, key=repr) == sorted(by_the_view(events), key=repr)
    expected: dict[str, Counter[str]] = defaultdict(Counter)
    for one in events:
        expected[one.customer_id][one.type] += 1
    assert by_type == expected
    assert counted == len(events)


def test_a_device_that_never_pauses_is_cut_every_day_as_the_view_cuts_it(tmp_path: Path):
    steps = [(29 * 60_000 + number % 7, "screen.viewed", None, None) for number in range(300)]
    events = events_of([steps, steps[:1]])
    archived = recomputed(tmp_path, events)
    sessions = list(archived.sessions("", "~", 0, ALWAYS_MS))
    assert sorted(sessions, key=repr) == sorted(by_the_view(events), key=repr)
    assert max(session.ended_ms - session.started_ms for session in sessions) <= MAX_SESSION_MS
    assert archived.reaches_back(START_MS, START_MS + 5 * MAX_SESSION_MS)
    assert not archived.reaches_back(START_MS - 2 * GAP_MS, START_MS + 5 * MAX_SESSION_MS)
    archived.close()


words = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED])),
    max_size=30,
)


@given(words, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_likes_in_sql_are_the_last_words_of_customers(said, rng):
    events = [
        event(
            # In any order, and never twice: one identity with two contents is another test's.
            id=f"e-{rng.randrange(10**9)}-{number}",
            type=kind,
            customer_id=f"fam-{rng.randrange(3)}",
            device_id=f"d-{rng.randrange(2)}",
            occurred_at=format_time_ms(START_MS + offset),
            data={"content_id": f"s-{rng.randrange(2)}"},
        )
        for number, (offset, kind) in enumerate(said)
    ]
    last: dict[tuple[str, str], str] = {}
    views: Counter[str] = Counter()
    for one in sorted(events, key=lambda one: (one.occurred_at_ms, one.id)):
        content = json.loads(bytes(one.data))["content_id"]
        if one.type == CONTENT_VIEWED:
            views[content] += 1
        else:
            last[one.customer_id, content] = one.type
    with tempfile.TemporaryDirectory() as folder:
        archived = recomputed(Path(folder), rng.sample(events, len(events)))
        found = archived.contents()
        archived.close()
    likes = Counter(content for (_, content), kind in last.items() if kind == CONTENT_LIKED)
    named = {content for _, content in last} | views.keys()
    assert found == {content: (likes[content], views[content]) for content in named}


def test_one_identity_with_two_contents_is_counted_once_and_told_of(tmp_path: Path):
    first = event(id="twice", received_at_ms=1, data={"activity": "first"})
    second = event(id="twice", received_at_ms=2, data={"activity": "second"})
    archived = recomputed(tmp_path, [second], [first])
    (session,) = archived.sessions("", "~", 0, ALWAYS_MS)
    assert (archived.events, archived.ambiguous) == (1, 1)
    assert session.activities == (("first", 0, 1),)
    archived.close()


def test_an_archive_without_files_comes_to_nothing(tmp_path: Path):
    archived = Recomputed(tmp_path)
    archived.load([])
    assert (archived.events, archived.contents(), archived.customers(0, ALWAYS_MS)) == (0, {}, [])
    archived.close()
