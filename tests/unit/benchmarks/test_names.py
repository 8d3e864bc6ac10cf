"""Names on the command line: every row can be measured, groups stand for their rows."""

from importlib import util

import pytest

from benchmarks.__main__ import MODULES, named
from benchmarks.targets import DEFAULT, GROUPS, TARGETS


def test_every_row_has_its_module():
    assert set(MODULES) == set(TARGETS)
    assert all(util.find_spec(f"benchmarks.{module}") for module in MODULES.values())


@pytest.mark.parametrize("rows", [DEFAULT, *GROUPS.values()])
def test_groups_and_the_default_name_rows_that_there_are(rows):
    assert set(rows) <= set(TARGETS)


def test_a_group_stands_for_its_rows_and_no_row_comes_twice():
    assert named(["ingest-1", "ingest", "cost"]) == [
        "ingest-1",
        *(row for row in GROUPS["ingest"] if row != "ingest-1"),
        "cost",
    ]


def test_nothing_named_is_nothing():
    assert named([]) == []
