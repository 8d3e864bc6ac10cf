"""What is served, rolled back and tried on some: the pointer's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.dynamo import from_item, to_item
from kinstream.errors import PermanentError
from kinstream.versions import (
    LIST_TTL_MS,
    TRENDING,
    Arm,
    Experiment,
    Versions,
    row_of,
    serving,
    versions_of,
)


def _of(*runs: str) -> Versions:
    versions = Versions()
    for number, run in enumerate(runs, 1):
        versions = versions.published(run, number * 1000, number * 1000 - 500)
    return versions


def test_newest_run_is_served_and_older_ones_stand_in():
    served = serving(_of("r1", "r2", "r3"), "fam")
    assert served.version is not None
    assert (served.version.run_id, served.version.as_of_ms, served.stand_ins) == ("r3", 2500, ("r2", "r1"))


def test_rollback_serves_the_version_before_and_the_bad_one_stands_in_for_nothing():
    versions = _of("r1", "r2", "r3").rolled_back(4000)
    assert versions.run_id == "r2"
    assert serving(versions.published("r4", 5000, 5000), "fam").stand_ins == ("r2", "r1")


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
    assert serving(versions, "fam").version is None
    assert serving(versions.published("r2", 3000, 3000), "fam").stand_ins == ()


def test_version_whose_lists_have_run_out_is_not_gone_back_to():
    with pytest.raises(PermanentError, match="lists are kept"):
        _of("r1", "r2").rolled_back(1000 + LIST_TTL_MS)


def test_unknown_version_is_refused_with_those_there_are():
    with pytest.raises(PermanentError, match="r2, r1"):
        _of("r1", "r2").rolled_back(3000, "r7")
    with pytest.raises(PermanentError, match="r2, r1"):
        _of("r1", "r2").split("try", [Arm("r7", 0.5)])


@pytest.mark.parametrize(
    "arms", [[Arm(TRENDING, 0)], [Arm(TRENDING, 0.6), Arm("r1", 0.6)], [Arm("r1", 0.1), Arm("r1", 0.1)]]
)
def test_arms_that_make_no_experiment_are_refused(arms: list[Arm]):
    with pytest.raises(PermanentError):
        _of("r1").split("try", arms)


def test_customers_are_split_by_their_shares_and_each_keeps_its_arm():
    experiment = Experiment("try", (Arm(TRENDING, 0.1), Arm("r1", 0.3)))
    arms = [experiment.arm_of(f"fam-{number}") for number in range(4000)]
    assert 320 < sum(arm == Arm(TRENDING, 0.1) for arm in arms) < 480
    assert 1080 < sum(arm == Arm("r1", 0.3) for arm in arms) < 1320
    assert arms == [experiment.arm_of(f"fam-{number}") for number in range(4000)]
    other = Experiment("again", experiment.arms)
    assert any(arm != other.arm_of(f"fam-{number}") for number, arm in enumerate(arms[:50]))


def test_arm_decides_what_a_customer_is_served():
    everybody_else = _of("r1", "r2").split("try", [Arm("r1", 0.5)])
    seen = {serving(everybody_else, f"fam-{number}").variant for number in range(50)}
    assert seen == {"r1", "r2"}
    control = _of("r1").split("try", [Arm(TRENDING, 1)])
    assert (serving(control, "fam").version, serving(control, "fam").variant) == (None, TRENDING)
    assert serving(control.split("", []), "fam").variant is None


@given(
    runs=st.lists(st.integers(1, 30), max_size=8, unique=True).map(sorted),
    steps=st.lists(st.sampled_from(["back", "split", "trending"]), max_size=3),
)
def test_row_holds_all_of_it(runs: list[int], steps: list[str]):
    versions = _of(*(f"r{run:02}" for run in runs))
    for step in steps:
        try:
            if step == "split":
                versions = versions.split("try", [Arm(TRENDING, 0.25)])
            else:
                versions = versions.rolled_back(9000, TRENDING if step == "trending" else None)
        except PermanentError:
            continue
    assert versions_of(from_item(to_item(row_of(versions)))) == versions


def test_row_of_before_versions_were_kept_is_read():
    assert serving(versions_of({"run_id": "r1", "published_at_ms": 5}), "fam").version == ("r1", 5, 0, None)
    assert versions_of({}) == Versions()
