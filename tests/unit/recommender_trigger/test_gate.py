"""The gate between a model and those who would be served by it. Needs numpy and pyspark, no Java."""

import json

import pytest

train = pytest.importorskip("recommender_trigger.job.train", reason="pyspark is not installed")
judging = pytest.importorskip("recommender_trigger.job.judging")

ARGUMENTS = ("--archive", "file:///a", "--output", "file:///b", "--run-id", "r", "--as-of-ms", "1")


def _gate(warm_users: int, ndcg: float, ndcg_trending: float, *more: str, **metrics: float):
    figures = {"warm_users": warm_users, "ndcg": ndcg, "ndcg_trending": ndcg_trending, "coverage": 0.2}
    return judging.gate(figures | metrics, train.arguments([*ARGUMENTS, *more]))


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


def test_model_that_falls_behind_the_recipe_that_is_served_is_not_published():
    assert _gate(50, 0.197, 0.1, ndcg_incumbent=0.2)[0]
    published, reason = _gate(50, 0.195, 0.1, ndcg_incumbent=0.2)
    assert not published
    assert "0.2000" in reason


def test_model_that_shows_everybody_the_same_few_contents_is_not_published():
    published, reason = _gate(50, 0.2, 0.1, coverage=0.009)
    assert not published
    assert "0.9%" in reason


def test_share_beyond_one_is_refused_with_what_is_wrong(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        train.arguments([*ARGUMENTS, "--new-share", "1.5"])
    assert "between 0 and 1" in capsys.readouterr().err


def test_ndcg_is_one_for_the_perfect_order_and_less_for_a_late_hit():
    assert judging.ndcg([1, 2, 3], {1, 2}) == pytest.approx(1)
    assert judging.ndcg([3, 1], {1}) == pytest.approx(0.6309, abs=1e-4)
    assert judging.ndcg([3, 4], {1}) == 0


def _sweep(figures: list[list[float]]) -> dict[float, list[float]]:
    return {beta: [of_customer[n] for of_customer in figures] for n, beta in enumerate(judging.BETAS)}


def test_beta_stays_the_default_unless_another_is_clearly_better():
    lucky = [[0.0] * 7 for _ in range(40)]
    lucky[0][0] = 1.0
    assert judging.chosen_beta(_sweep(lucky)) == judging.DEFAULT_BETA
    clear = [[0.5 + number % 3 / 10, *[0.1] * 6] for number in range(40)]
    assert judging.chosen_beta(_sweep(clear)) == judging.BETAS[0]


def test_beta_is_the_default_where_few_customers_can_be_judged():
    few = [[1.0, *[0.0] * 6]] * (judging.FEWEST_USERS_FOR_A_SWEEP - 1)
    assert judging.chosen_beta(_sweep(few)) == judging.DEFAULT_BETA


def test_recipe_is_read_as_it_was_written_and_an_unknown_name_is_passed_over():
    args = train.arguments([*ARGUMENTS, "--alpha", "7.5", "--rank", "16"])
    text = judging.recipe_text(args, 4.0)
    assert not set(text) & set(" \"'{}")
    found = train.arguments([*ARGUMENTS, "--incumbent", f"{text},later=1"]).incumbent
    assert found == {name: getattr(args, name) for name in judging.RECIPE} | {"beta": 4.0}


def test_manifest_of_arguments_is_json():
    assert json.loads(json.dumps(vars(train.arguments(ARGUMENTS))))["as_of_ms"] == 1


def test_coverage_is_of_what_so_many_lists_could_show():
    assert judging.most_shown(320, 50) == 320
    assert judging.most_shown(1_000_000, 50) == 500, "made-up names do not make a model look narrow"
    assert judging.most_shown(0, 0) == 1
