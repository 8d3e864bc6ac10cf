"""The parts of `kinstream replay` that decide."""

from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.chunks import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS, decode_chunk, encode_chunk, read_json
from kinstream.errors import PermanentError
from kinstream_devkit.replay import ReplayLog, Span, check_span, chunks_of, events_of, reducer_named
from kinstream_devkit.replay_queue import Pace, Quiet
from session_worker.processor import discover
from session_worker.processors.archive import Archive
from tests.support.engine import APP, event

NOW_MS = int(datetime(2026, 11, 20, 18, tzinfo=UTC).timestamp() * 1000)
DAY_SECONDS = 86_400


def span(first: str, last: str = "2026-11-20", app: str | None = None, processor: str = "activity") -> Span:
    return Span(processor, date.fromisoformat(first), date.fromisoformat(last), app)


def test_archived_event_comes_back_as_it_was_accepted():
    odd = event(
        id="ä#\u2028", customer_id="f\\\"", device_id="", occurred_at="2026-11-20T20:00:00.5+02:00",
        data={"a": [1.0, "ü"], "content_id": 7},
    )  # fmt: skip
    plain = event(person_id="kid", received_at_ms=7)
    (file,) = Archive().files("batch", {APP: [odd, plain]})
    back = [*events_of(file.body, lambda _: True)]
    assert back == [odd, plain]
    (chunk,) = chunks_of(APP, back)
    assert decode_chunk(encode_chunk(chunk)).events == [odd, plain]


def test_only_counted_events_of_its_types_are_replayed():
    (content,) = (p for p in discover() if p.name == "content")
    wanted = event(type="content.viewed")
    (file,) = Archive().files("batch", {APP: [event(), wanted, event(type="content.liked", counted=False)]})
    assert [*events_of(file.body, content.takes)] == [wanted]


@given(st.lists(st.integers(0, 30_000), max_size=300))
def test_chunks_hold_every_event_in_order_and_none_is_too_big(sizes: list[int]):
    events = [event(received_at_ms=n, data={"x": "y" * size}) for n, size in enumerate(sizes)]
    chunks = [*chunks_of(APP, events)]
    assert [e for chunk in chunks for e in chunk.events] == events
    for chunk in chunks:
        assert len(chunk.events) <= MAX_CHUNK_EVENTS
        assert len(read_json(encode_chunk(chunk))) <= MAX_CHUNK_BYTES + 100


def test_days_that_the_ledger_remembers_whole_can_be_replayed():
    check_span(span("2026-11-11"), 10 * DAY_SECONDS, NOW_MS)
    check_span(span("2026-11-10"), 11 * DAY_SECONDS, NOW_MS)


@pytest.mark.parametrize("first", ["2026-11-10", "2025-01-01"])
def test_day_that_the_ledger_may_have_forgotten_is_refused_and_the_earliest_is_named(first: str):
    with pytest.raises(PermanentError, match=r"10 days that the ledger .* earliest --from is 2026-11-11"):
        check_span(span(first), 10 * DAY_SECONDS, NOW_MS)


def test_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(PermanentError, match="is after --to"):
        check_span(span("2026-11-20", "2026-11-19"), DAY_SECONDS, NOW_MS)


@pytest.mark.parametrize(
    ("name", "why"),
    [("safety", "is no reducer"), ("archive", "is no reducer"), ("nope", "there is no processor")],
)
def test_what_cannot_be_replayed_is_refused(name: str, why: str):
    with pytest.raises(PermanentError, match=why):
        reducer_named(name, discover())


def test_log_forgets_a_line_that_was_cut_short(tmp_path: Path):
    log = ReplayLog(tmp_path / "replays", span("2026-11-20"))
    assert log.done() == set()
    log.add("a")
    log.add("b")
    (file,) = (tmp_path / "replays").iterdir()
    file.write_text(file.read_text() + "c-was-not-do")
    assert log.done() == {"a", "b"}
    log.end()
    assert log.done() == set()
    log.end()


def test_replays_of_different_things_do_not_share_a_log(tmp_path: Path):
    spans = [
        span("2026-11-19"),
        span("2026-11-18"),
        span("2026-11-19", "2026-11-21"),
        span("2026-11-19", app="a"),
        span("2026-11-19", app="b"),
        span("2026-11-19", processor="content"),
    ]
    for one in spans:
        ReplayLog(tmp_path, one).add("key")
    assert len(list(tmp_path.iterdir())) == len(spans)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 1_000)), min_size=1, max_size=50))
def test_no_stretch_of_time_lets_more_pass_than_the_rate(steps: list[tuple[float, int]]):
    now = 0.0
    passed: list[tuple[float, int]] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(100, clock=lambda: now, sleep=sleep)
    for idle, number in steps:
        now += idle
        pace.take(number)
        passed.append((now, number))
    for start in range(len(passed)):
        for end in range(start, len(passed)):
            # What passes last has its time after it.
            events = sum(number for _, number in passed[start:end])
            assert events <= 100 * (passed[end][0] - passed[start][0]) + 1e-6


def test_body_that_is_no_parquet_is_an_error(tmp_path: Path):
    import pyarrow as pa

    with pytest.raises(pa.ArrowException):
        next(events_of(b"PAR1 nonsense", lambda _: True))


def test_identity_survives_the_way_through_the_archive():
    one = event(occurred_at="2026-11-20T18:00:00.123456Z")
    (file,) = Archive().files("batch", {APP: [one]})
    (back,) = events_of(file.body, lambda _: True)
    assert msgspec.json.encode(back) == msgspec.json.encode(one)


def test_queue_is_quiet_once_it_has_looked_empty_long_enough_without_a_break():
    looks = [(0, True), (9, True), (9.5, False), (11, True), (20, True), (21, True)]
    times = iter([at for at, _ in looks])
    quiet = Quiet(10, clock=lambda: next(times))
    answers = [quiet.lasts(is_empty) for _, is_empty in looks]
    assert answers == [False, False, False, False, False, True]
    assert [Quiet(0).lasts(True)] == [False]
