"""The gate between a model and those who would be served by it. Needs numpy and pyspark, no Java."""

import pytest

train = pytest.importorskip("recommender_trigger.job.train", reason="pyspark is not installed")

ARGUMENTS = ("--archive", "file:///a", "--output", "file:///b", "--run-id", "r", "--as-of-ms", "1")


def _gate(warm_users: int, ndcg: float, ndcg_trending: float, *more: str) -> tuple[bool, str]:
    metrics = {"warm_users": warm_users, "ndcg": ndcg, "ndcg_trending": ndcg_trending}
    return train.gate(metrics, train.arguments([*ARGUMENTS, *more]))


def test_model_better_than_trending_is_published():
    assert _gate(50, 0.2, 0.1)[0]


def test_model_that_only_equals_trending_is_not_published():
    assert not _gate(50, 0.1, 0.1)[0]


def test_model_worse_than_trending_is_not_published_and_the_reason_names_both_figures():
    published, reason = _gate(50, 0.099, 0.1)
    assert not published
    assert "0.0990" in reason
    assert "0.1000" in reason


def test_model_that_is_right_about_nothing_is_not_published_even_where_trending_is_not_either():
    assert not _gate(50, 0.0, 0.0)[0]


def test_too_few_warm_users_decide_nothing():
    published, reason = _gate(49, 0.9, 0.1)
    assert not published
    assert "49" in reason
    assert "50" in reason


def test_the_least_number_of_warm_users_can_be_lowered():
    assert _gate(10, 0.9, 0.1, "--min-warm-users", "10")[0]


def test_ndcg_is_one_for_the_perfect_order_and_less_for_a_late_hit():
    assert train.ndcg([1, 2, 3], {1, 2}) == pytest.approx(1)
    assert train.ndcg([3, 1], {1}) == pytest.approx(0.6309, abs=1e-4)
    assert train.ndcg([3, 4], {1}) == 0


def test_beta_stays_the_default_unless_another_is_clearly_better():
    lucky = [[0.0] * 7 for _ in range(40)]
    lucky[0][0] = 1.0
    assert train.chosen_beta(lucky) == train.DEFAULT_BETA
    clear = [[0.5 + number % 3 / 10, *[0.1] * 6] for number in range(40)]
    assert train.chosen_beta(clear) == train.BETAS[0]


def test_beta_is_the_default_where_few_customers_can_be_judged():
    assert train.chosen_beta([[1.0, *[0.0] * 6]] * (train.FEWEST_USERS_FOR_A_SWEEP - 1)) == train.DEFAULT_BETA
