"""Which files are merged: enough of them, of one date, none twice, and none again and again."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender_trigger.settings import TriggerSettings
from session_worker.compaction.compactor import CompactionSettings
from session_worker.domain.compaction import Policy, StoredFile, merge_of, plan

HOUR_MS = 3_600_000
NOW_MS = 1_000 * HOUR_MS
KB, MB = 1024, 1024 * 1024
POLICY = Policy()


def file(
    name: str, size_bytes: int = 10 * KB, age_ms: int = HOUR_MS // 2, date: str = "2026-11-20"
) -> StoredFile:
    return StoredFile(f"events/app=demo/dt={date}/{name}.parquet", size_bytes, NOW_MS - age_ms)


def several(count: int, **fields) -> list[StoredFile]:
    return [file(f"f{number}", **fields) for number in range(count)]


def sizes_of(files, **options) -> list[int]:
    return [len(merge.sources) for merge in plan(files, options.get("taken", ()), NOW_MS, POLICY)]


def test_a_date_that_is_written_to_is_merged_once_it_has_eight_small_files():
    assert sizes_of(several(7)) == []
    assert sizes_of(several(8)) == [8]


def test_a_quiet_date_is_merged_down_to_the_last_two():
    assert sizes_of(several(2, age_ms=2 * HOUR_MS)) == [2]
    assert sizes_of(several(1, age_ms=2 * HOUR_MS)) == []


def test_merged_files_stay_for_longer_than_a_training_may_take_whatever_that_is(
    monkeypatch: pytest.MonkeyPatch,
):
    assert CompactionSettings().stay_seconds > TriggerSettings().training_max_run_seconds
    monkeypatch.setenv("KINSTREAM_TRAINING_MAX_RUN_SECONDS", "100000")
    assert TriggerSettings().training_max_run_seconds == 100_000
    assert CompactionSettings().stay_seconds > 100_000


def test_files_that_were_written_just_now_wait():
    assert sizes_of(several(20, age_ms=60_000)) == []


def test_files_of_a_merge_that_was_begun_are_left_to_it():
    files = several(16)
    assert sizes_of(files, taken={one.key for one in files[:9]}) == []
    assert sizes_of(files, taken={one.key for one in files[:8]}) == [8]


def test_dates_and_apps_are_merged_each_by_itself():
    files = several(8) + several(8, date="2026-11-21")
    assert [
        {key.rpartition("/")[0] for key in merge.sources} for merge in plan(files, (), NOW_MS, POLICY)
    ] == [
        {"events/app=demo/dt=2026-11-20"},
        {"events/app=demo/dt=2026-11-21"},
    ]


def test_a_large_file_is_not_rewritten_for_a_few_late_events():
    files = [file("large", 60 * MB, 5 * HOUR_MS), *several(3, size_bytes=KB, age_ms=2 * HOUR_MS)]
    (merge,) = plan(files, (), NOW_MS, POLICY)
    assert not any("large" in key for key in merge.sources)


def test_no_merge_grows_beyond_the_target():
    files = several(40, size_bytes=10 * MB, age_ms=2 * HOUR_MS)
    assert sizes_of(files) == [12, 12, 12, 4]


def test_what_is_no_parquet_is_left_alone():
    files = [StoredFile(f"events/app=demo/dt=2026-11-20/{n}.txt", KB, 0) for n in range(9)]
    assert sizes_of(files) == []


def test_the_same_files_become_the_same_file_in_whatever_order_they_are_named():
    keys = [one.key for one in several(3)]
    assert merge_of(keys) == merge_of(keys[::-1])
    assert merge_of(keys) != merge_of(keys[:2])


@given(st.lists(st.integers(1, 400 * KB), min_size=1, max_size=400), st.integers(1, 40))
def test_few_files_stay_and_a_large_one_is_rewritten_only_when_it_doubles(sizes, arriving_at_once):
    files: dict[str, StoredFile] = {}
    members: dict[str, list[str]] = {}
    rewritten_large: Counter[str] = Counter()

    def merge_round(age_ms: int) -> bool:
        stored = [StoredFile(one.key, one.size_bytes, NOW_MS - age_ms) for one in files.values()]
        merges = list(plan(stored, (), NOW_MS, POLICY))
        for merge in merges:
            sources = [files.pop(key) for key in merge.sources]
            inside = {one.key: members.pop(one.key) for one in sources}
            for one in sources:
                rewritten_large.update(inside[one.key] if one.size_bytes > POLICY.small_bytes else ())
            files[merge.target] = StoredFile(merge.target, sum(one.size_bytes for one in sources), 0)
            members[merge.target] = [name for names in inside.values() for name in names]
        return bool(merges)

    for start in range(0, len(sizes), arriving_at_once):
        for number, size in enumerate(sizes[start : start + arriving_at_once], start):
            new = file(str(number), size)
            files[new.key], members[new.key] = new, [new.key]
        merge_round(HOUR_MS // 2)
    while merge_round(2 * HOUR_MS):
        pass
    whole = sum(sizes)
    assert sum(one.size_bytes for one in files.values()) == whole
    assert len(files) <= 1 + (whole // POLICY.small_bytes).bit_length()
    assert max(rewritten_large.values(), default=0) <= (whole // POLICY.small_bytes).bit_length()
