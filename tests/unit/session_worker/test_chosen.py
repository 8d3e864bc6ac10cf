"""Which processors a worker runs: `KINSTREAM_PROCESSORS`."""

import pytest

from session_worker.main import chosen
from session_worker.processor import discover


def names(asked: str) -> list[str]:
    return [processor.name for processor in chosen(discover(), asked)]


ALL = [processor.name for processor in discover()]


def test_all_are_run_unless_some_are_named():
    assert names("all") == ALL
    assert names("safety, activity") == ["activity", "safety"]


def test_those_with_a_minus_are_left_out_and_whatever_is_new_is_run():
    assert names("-archive,-safety") == [name for name in ALL if name not in {"archive", "safety"}]


@pytest.mark.parametrize(
    "asked", ["", "nobody", "-nobody", "activity,nobody", "activity,-safety", "all,-safety"]
)
def test_what_names_nobody_or_says_both_is_refused_with_what_there_is(asked):
    with pytest.raises(SystemExit, match=rf"KINSTREAM_PROCESSORS is '{asked}'; .*activity, archive"):
        names(asked)
