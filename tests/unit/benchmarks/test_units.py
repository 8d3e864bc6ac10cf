"""Write units by AWS's rules: sizes of items, what a transaction costs, what an index adds."""

import pytest

from benchmarks.units import index_units, item_bytes, number_bytes, write_units
from kinstream.dynamo import to_item
from kinstream.resources import Index

TREND = Index("trend", "trend_shard", "trend", "N")


def test_an_item_is_as_large_as_its_names_and_values():
    assert item_bytes(to_item({"pk": "abc", "raw": b"12345", "on": True, "none": None})) == 5 + 8 + 3 + 5


def test_lists_and_maps_cost_three_bytes_and_one_for_each_element():
    assert item_bytes(to_item({"l": ["ab", "c"]})) == 1 + 3 + (1 + 2) + (1 + 1)
    assert item_bytes(to_item({"m": {"k": "v"}})) == 1 + 3 + (1 + 1 + 1)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 1), ("7", 2), ("100", 2), ("12345", 4), ("-12", 2), ("0.0012", 2), ("1.5e+20", 2)],
)
def test_a_number_takes_a_byte_for_two_significant_digits_and_one_more(text, size):
    assert number_bytes(text) == size


def test_each_started_kilobyte_is_a_unit_and_a_transaction_doubles_it():
    small, full, large = (to_item({"b": bytes(size)}) for size in (10, 1023, 1024))
    assert write_units(None, small, in_transaction=False) == 1
    assert write_units(None, full, in_transaction=False) == 1
    assert write_units(None, large, in_transaction=False) == 2
    assert write_units(None, large, in_transaction=True) == 4


def test_the_larger_of_before_and_after_is_charged():
    assert write_units(to_item({"b": bytes(3000)}), to_item({"b": b""}), in_transaction=False) == 3


def test_an_index_is_charged_for_what_enters_moves_changes_and_leaves_it():
    absent = to_item({"pk": "a", "views": 1})
    low = to_item({"pk": "a", "views": 1, "trend_shard": "s", "trend": 1})
    other = to_item({"pk": "a", "views": 2, "trend_shard": "s", "trend": 1})
    high = to_item({"pk": "a", "views": 2, "trend_shard": "s", "trend": 2})
    assert index_units(None, absent, [TREND]) == 0
    assert index_units(absent, low, [TREND]) == 1
    assert index_units(low, low, [TREND]) == 0
    assert index_units(low, other, [TREND]) == 1
    assert index_units(low, high, [TREND]) == 2
    assert index_units(low, absent, [TREND]) == 1


def test_index_of_keys_alone_costs_nothing_where_other_attributes_change():
    index = Index("due", "due_shard", "due_at_ms", "N", keys_only=True)
    item = to_item({"pk": "a", "sk": "b", "due_shard": "s", "due_at_ms": 1, "entries": b"x" * 5_000})
    assert index_units(None, item, [index]) == 1
    assert index_units(item, item | to_item({"entries": b"y" * 6_000}), [index]) == 0
    assert index_units(item, item | to_item({"due_at_ms": 2}), [index]) == 2
