"""How recommendation lists are judged: by hand on a world of three contents."""

import math

import pytest

from benchmarks.movielens import (
    SPLIT_SECONDS,
    View,
    coverage,
    ndcg,
    ranked_for_all,
    wanted_after,
    without_last,
)

DAY_SECONDS = 86_400


def _view(user, item, days_after):
    return View(user, item, SPLIT_SECONDS + days_after * DAY_SECONDS)


def test_a_perfect_list_scores_one_and_a_missing_list_nothing():
    wanted = {"a": {"x", "y"}, "b": {"z"}}
    assert ndcg({"a": ["x", "y", "z"], "b": ["z"]}, wanted) == pytest.approx(1)
    assert ndcg({"a": ["y", "x"]}, wanted) == pytest.approx(0.5)


def test_a_hit_further_down_is_worth_less():
    assert ndcg({"a": ["n", "x"]}, {"a": {"x"}}) == pytest.approx(1 / math.log2(3))


def test_only_known_customers_and_known_contents_that_are_new_to_them_are_judged():
    views = [
        *(_view("a", "x", -2), _view("b", "y", -1)),
        *(_view("a", "y", 1), _view("a", "x", 1), _view("a", "new", 1), _view("stranger", "x", 1)),
    ]
    assert wanted_after(views) == {"a": {"y"}}


def test_recency_puts_what_is_new_before_what_was_once_popular():
    old = [_view(user, "old", -60) for user in "abc"]
    known = [*old, _view("d", "hot", 0)]
    assert ranked_for_all(known, math.inf)["d"] == ["old"]
    assert ranked_for_all([*known, _view("e", "else", -1)], 7.0)["e"] == ["hot", "old"]
    assert ranked_for_all([*known, _view("e", "else", -1)], math.inf)["e"] == ["old", "hot"]


def test_everybodys_last_view_is_left_out_and_wanted_whatever_the_order_of_the_data():
    views = [_view("a", "1", 5), _view("a", "2", -5), _view("b", "3", 0)]
    assert without_last(views) == ([views[1]], {"a": {"1"}, "b": {"3"}})


def test_of_views_of_one_second_the_rarest_content_is_the_last_or_the_one_that_comes_last():
    views = [_view("a", "9", 0), _view("a", "10", 0), _view("a", "2", 0)]
    assert without_last(views)[1] == {"a": {"10"}}
    assert without_last(views, hard=False)[1] == {"a": {"2"}}


def test_coverage_is_what_first_tens_show_of_all_that_is_known():
    known = [_view("a", str(number), 0) for number in range(40)]
    assert coverage([[str(n) for n in range(20)], ["0", "39"]], known) == 11 / 40
