"""How a ranking becomes a list. Needs numpy and pyspark, no Java."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

model = pytest.importorskip("recommender_trigger.job.model", reason="pyspark is not installed")

SIZE = 40
RNG = np.random.default_rng(5)
FACTORS = RNG.normal(size=(SIZE, 4))
TREND = RNG.random(SIZE)


def _ranker(own: float = 0.0, new: float = 0.0, fresh=(), known=None, seed: int = 1):
    is_new = np.zeros(SIZE, dtype=bool)
    is_new[list(fresh)] = True
    everything = np.ones(SIZE, dtype=bool) if known is None else known
    rules = model.Rules(own, 0.0, new, seed)
    return model.Ranker(FACTORS, everything, model.Contents(TREND, TREND, is_new), rules)


def _plain(scores, allowed, most):
    numbers = [i for i in range(len(scores)) if allowed[i]]
    return sorted(numbers, key=lambda i: (-scores[i], i))[:most]


@given(
    scores=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    most=st.integers(1, 35),
    barred=st.sets(st.integers(0, 29)),
)
def test_best_is_a_plain_sort_ties_by_number(scores, most, barred):
    allowed = np.array([i not in barred for i in range(len(scores))])
    assert model.best(np.array(scores, dtype=float), allowed, most) == _plain(scores, allowed, most)


@given(
    seen=st.sets(st.integers(0, SIZE - 1)),
    fresh=st.sets(st.integers(0, SIZE - 1)),
    own=st.floats(0, 1),
    new=st.floats(0, 1),
    most=st.integers(1, SIZE),
)
def test_list_has_nothing_seen_nothing_twice_and_is_as_long_as_can_be(seen, fresh, own, new, most):
    ranker = _ranker(own, new, fresh)
    listed = ranker.listed(3, FACTORS[0], model.blend(6.0, ruled=True), sorted(seen), most)
    assert len(set(listed)) == len(listed) == min(most, SIZE - len(seen))
    assert not seen & set(listed)


def test_new_contents_have_their_share_of_places_and_each_customer_other_ones():
    fresh = range(20, 40)
    lists = [
        _ranker(new=0.1, fresh=fresh).listed(u, FACTORS[0], model.blend(6.0, ruled=True), [], 20)
        for u in range(100)
    ]
    assert all(listed[9] in fresh and listed[19] in fresh for listed in lists)
    assert set(fresh) <= set().union(*lists), "the lot falls on all of them in the end"
    assert len({listed[19] for listed in lists}) > 5


def test_without_new_contents_and_shares_a_list_is_the_ranking():
    plain = _ranker().listed(3, FACTORS[0], model.blend(6.0), [], 12)
    assert _ranker(new=0.5).listed(3, FACTORS[0], model.blend(6.0, ruled=True), [], 12) == plain


def test_places_of_the_own_taste_show_what_the_trend_would_not():
    trend = model.blend(50.0)
    ruled = _ranker(own=0.2).listed(3, FACTORS[0], trend._replace(ruled=True), [], 10)
    plain = _ranker().listed(3, FACTORS[0], trend, [], 10)
    own = _ranker().listed(3, FACTORS[0], model.Recipe(taste=1.0), [], 10)
    assert ruled[:4] == plain[:4]
    assert ruled[4] == next(i for i in own if i not in plain[:4])


def test_reasons_are_what_is_most_alike_and_liked_things_come_first_among_equals():
    ranker = _ranker()
    ranker.directions[:3] = ranker.directions[7]
    assert ranker.because(7, [(0, False), (1, True), (2, False)]) == [1, 0, 2]
    ranker.directions[0] = -ranker.directions[7]
    assert ranker.because(7, [(0, True)]) == [], "what is unlike is no reason"
    assert ranker.because(7, []) == []


@pytest.mark.parametrize(
    ("share", "places"), [(0.0, []), (0.05, [20]), (0.1, [10, 20]), (0.25, [4, 8, 12, 16, 20])]
)
def test_share_of_places_is_spread_evenly(share: float, places: list[int]):
    kinds = model.Rules(0.0, 0.0, share, 1).kinds(20)
    assert [number for number, kind in enumerate(kinds, 1) if kind == "new"] == places
