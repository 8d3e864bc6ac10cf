"""What is served, rolled back and tried on some: the pointer's rules."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.dynamo import from_item, to_item
from kinstream.errors import PermanentError
from kinstream.versions import (
    LIST_TTL_MS,
    MOST_KEPT,
    SERVED,
    TRENDING,
    Arm,
    Experiment,
    Versions,
    row_of,
    serving,
    versions_of,
)

NOW_MS = 9_000


def _of(*runs: str) -> Versions:
    versions = Versions()
    for number, run in enumerate(runs, 1):
        versions = versions.published(run, number * 1000, number * 1000 - 500)
    return versions


def test_newest_run_is_served_and_older_ones_stand_in():
    served = serving(_of("r1", "r2", "r3"), "fam", NOW_MS)
    assert served.version is not None
    assert (served.version.run_id, served.version.as_of_ms, served.stand_ins) == ("r3", 2500, ("r2", "r1"))


def test_rollback_serves_the_version_before_and_the_bad_one_stands_in_for_nothing():
    versions = _of("r1", "r2", "r3").rolled_back(4000)
    assert versions.run_id == "r2"
    assert serving(versions.published("r4", 5000, 5000), "fam", NOW_MS).stand_ins == ("r2", "r1")


def test_run_that_was_rolled_back_is_not_published_again():
    with pytest.raises(PermanentError, match="rolled back"):
        _of("r1", "r2").rolled_back(3000).published("r2", 4000, 4000)


def test_older_run_never_replaces_a_newer_one():
    with pytest.raises(PermanentError, match="newer"):
        _of("r2").published("r1", 1, 1)


def test_rollback_to_a_named_version_skips_those_between():
    versions = _of("r1", "r2", "r3").rolled_back(4000, "r1")
    assert (versions.run_id, versions.withdrawn) == ("r1", ("r3", "r2"))


def test_rollback_without_an_earlier_version_says_so_and_names_the_way_out():
    with pytest.raises(PermanentError, match="--to trending"):
        _of("r1").rolled_back(2000)
    versions = _of("r1").rolled_back(2000, TRENDING)
    assert serving(versions, "fam", NOW_MS).version is None
    assert serving(versions.published("r2", 3000, 3000), "fam", NOW_MS).stand_ins == ()


def test_version_whose_lists_have_run_out_is_not_gone_back_to():
    with pytest.raises(PermanentError, match="lists are kept"):
        _of("r1", "r2").rolled_back(1000 + LIST_TTL_MS)


def test_unknown_version_is_refused_with_those_there_are():
    with pytest.raises(PermanentError, match="r2, r1"):
        _of("r1", "r2").rolled_back(3000, "r7")
    with pytest.raises(PermanentError, match="r2, r1"):
        _of("r1", "r2").split("try", [Arm("r7", 0.5)], NOW_MS)


@pytest.mark.parametrize(
    "arms", [[Arm(TRENDING, 0)], [Arm(TRENDING, 0.6), Arm("r1", 0.6)], [Arm("r1", 0.1), Arm("r1", 0.1)]]
)
def test_arms_that_make_no_experiment_are_refused(arms: list[Arm]):
    with pytest.raises(PermanentError):
        _of("r1").split("try", arms, NOW_MS)


def test_customers_are_split_by_their_shares_and_each_keeps_its_arm():
    experiment = Experiment("try", (Arm(TRENDING, 0.1), Arm("r1", 0.3)))
    arms = [experiment.arm_of(f"fam-{number}") for number in range(4000)]
    assert 320 < sum(arm == Arm(TRENDING, 0.1) for arm in arms) < 480
    assert 1080 < sum(arm == Arm("r1", 0.3) for arm in arms) < 1320
    assert arms == [experiment.arm_of(f"fam-{number}") for number in range(4000)]
    other = Experiment("again", experiment.arms)
    assert any(arm != other.arm_of(f"fam-{number}") for number, arm in enumerate(arms[:50]))


def test_arm_decides_what_a_customer_is_served():
    everybody_else = _of("r1", "r2").split("try", [Arm("r1", 0.5)], NOW_MS)
    seen = {serving(everybody_else, f"fam-{number}", NOW_MS).variant for number in range(50)}
    assert seen == {"r1", SERVED}
    control = _of("r1").split("try", [Arm(TRENDING, 1)], NOW_MS)
    assert (serving(control, "fam", NOW_MS).version, serving(control, "fam", NOW_MS).variant) == (
        None,
        TRENDING,
    )
    assert serving(control.split("", [], NOW_MS), "fam", NOW_MS).variant is None


def test_version_that_an_arm_serves_is_remembered_however_many_are_published():
    versions = _of("r00", "r01").split("try", [Arm("r00", 1)], NOW_MS)
    for number in range(2, MOST_KEPT + 5):
        versions = versions.published(f"r{number:02}", 9000, 9000)
    assert [one.run_id for one in versions.good][MOST_KEPT:] == ["r00"]
    assert serving(versions, "fam", NOW_MS).variant == "r00"
    ended = versions.split("", [], NOW_MS).published("r99", 9000, 9000)
    assert len(ended.good) == MOST_KEPT


def test_experiment_ends_with_the_rollback_of_what_an_arm_serves():
    versions = _of("r1", "r2", "r3")
    assert versions.split("try", [Arm("r3", 0.5)], NOW_MS).rolled_back(NOW_MS).experiment is None
    assert versions.split("try", [Arm("r1", 0.5)], NOW_MS).rolled_back(NOW_MS).experiment is not None
    assert versions.split("try", [Arm(TRENDING, 0.5)], NOW_MS).rolled_back(NOW_MS).experiment is not None


def test_arm_whose_version_is_not_there_any_more_is_served_what_everybody_is_and_not_counted():
    versions = _of("r1", "r2").split("try", [Arm("r1", 1)], NOW_MS)
    gone_ms = 1000 + LIST_TTL_MS
    served = serving(versions, "fam", gone_ms - 1)
    assert served.version is not None
    assert (served.version.run_id, served.variant) == ("r1", "r1")
    lost = replace(versions, good=versions.good[:1])
    for served in (serving(versions, "fam", gone_ms), serving(lost, "fam", NOW_MS)):
        assert served.version is not None
        assert (served.version.run_id, served.variant) == ("r2", None)
    with pytest.raises(PermanentError, match="no version r1 whose lists are kept; there are r2,"):
        versions.split("again", [Arm("r1", 1)], gone_ms)


def test_rest_keeps_its_label_when_a_run_is_published_or_taken_back():
    versions = _of("r1", "r2").split("try", [Arm("r1", 0.0001)], NOW_MS)
    for changed in (versions, versions.published("r3", 9000, 9000), versions.rolled_back(NOW_MS)):
        assert serving(changed, "fam", NOW_MS).variant == SERVED


@given(
    runs=st.lists(st.integers(1, 30), max_size=8, unique=True).map(sorted),
    steps=st.lists(st.sampled_from(["back", "split", "trending"]), max_size=3),
)
def test_row_holds_all_of_it(runs: list[int], steps: list[str]):
    versions = _of(*(f"r{run:02}" for run in runs))
    for step in steps:
        try:
            if step == "split":
                versions = versions.split("try", [Arm(TRENDING, 0.25)], NOW_MS)
            else:
                versions = versions.rolled_back(9000, TRENDING if step == "trending" else None)
        except PermanentError:
            continue
    assert versions_of(from_item(to_item(row_of(versions)))) == versions


def test_row_of_before_versions_were_kept_is_read():
    assert serving(versions_of({"run_id": "r1", "published_at_ms": 5}), "fam", NOW_MS).version == (
        "r1",
        5,
        0,
        None,
    )
    assert versions_of({}) == Versions()
