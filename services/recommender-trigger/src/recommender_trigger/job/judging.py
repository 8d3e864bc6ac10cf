"""Whether a model is good enough to be served, from windows of time that it has not seen.

The events are split twice by time. A model of what came before the inner window chooses beta there; a
model of what came before the outer window, the newest events, is judged there with that beta, once. So the
figure that is reported is of a choice that the window had no part in.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender_trigger.job.events import LIKED, VIEWED
from recommender_trigger.job.model import Model, Recipe, blend, fit, spread

TOP = 10
BETAS = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 9.0)
DEFAULT_BETA = 6.0
FEWEST_USERS_FOR_A_SWEEP = 10
SLICE = 0.2
"""Share of what customers did, the newest, on which a model is judged."""
INCUMBENT_SHARE = 0.98
"""Of the NDCG of the recipe that is served now: less is a step back."""
HOUR_MS = 3_600_000
RECIPE = ("rank", "iterations", "reg_param", "alpha", "half_life_days", "half_life_events")
"""Arguments that a model's factors depend on."""
WHOLE = ("rank", "iterations")
_HASHES = 1_000_000


class Judgement(NamedTuple):
    """Figures of rankings, by name, over the same customers."""

    warm_users: int
    ndcg: dict[str, float]
    coverage: dict[str, float]
    by_customer: dict[str, list[float]]
    """NDCG of each customer, in the same order."""


class Window(NamedTuple):
    """A time to judge by, and a share of the customers: many thousands say no more than some."""

    begins_ms: float
    ends_ms: float
    share: float

    def holds(self) -> Column:
        """Whether an event is in it. By a hash, so that every judgement is by the same customers."""
        in_time = (F.col("t") >= self.begins_ms) & (F.col("t") < self.ends_ms)
        if self.share >= 1:
            return in_time
        return in_time & (F.pmod(F.xxhash64("u"), F.lit(_HASHES)) < self.share * _HASHES)


def ndcg(ranked: Sequence[int], wanted: set[int]) -> float:
    """NDCG@10 of a ranking with binary relevance."""
    gains = [1 / np.log2(place + 2) for place, number in enumerate(ranked[:TOP]) if number in wanted]
    return float(sum(gains) / sum(1 / np.log2(place + 2) for place in range(min(TOP, len(wanted)))))


def most_shown(known: int, customers: int) -> int:
    """How many contents the tops of so many customers could show, at least one.

    Coverage is a share of these: names made up by a few, however many, must not make every model look narrow.
    """
    return max(1, min(known, TOP * customers))


def judge(model: Model, events: DataFrame, window: Window, recipes: Mapping[str, Recipe]) -> Judgement:
    """Figures of a model that knows what came before a window, on what came in it.

    Warm customers only: known before, and with something new afterwards that was known before.
    """
    ranker, users, pairs = model
    wanted = (
        events.where(window.holds() & F.col("type").isin(VIEWED, LIKED))
        .groupBy("u")
        .agg(F.collect_set("i").alias("wanted"))
    )
    seen = pairs.groupBy("u").agg(F.collect_list("i").alias("seen"))
    names = list(recipes)

    def of_customers(rows: Iterable[Any]) -> Iterator[tuple[int, list[float], list[list[int]]]]:
        for row in rows:
            new = {i for i in row["wanted"] if ranker.known[i]} - set(row["seen"])
            if new:
                user = np.array(row["features"])
                tops = [ranker.listed(row["u"], user, recipes[name], row["seen"], TOP) for name in names]
                yield row["u"], [ndcg(top, new) for top in tops], tops

    # Sorted, so that sums of floats come out the same in every run.
    known = spread(users.join(wanted, "u").join(seen, "u"))
    found = sorted(known.rdd.mapPartitions(of_customers).collect())
    count, could_show = max(1, len(found)), most_shown(int(ranker.known.sum()), len(found))
    by_customer = {name: [figures[n] for _, figures, _ in found] for n, name in enumerate(names)}
    return Judgement(
        len(found),
        {name: sum(figures) / count for name, figures in by_customer.items()},
        {name: len({i for *_, tops in found for i in tops[n]}) / could_show for n, name in enumerate(names)},
        by_customer,
    )


def chosen_beta(by_beta: Mapping[float, Sequence[float]]) -> float:
    """The beta that an inner window speaks for, from its NDCG by customer.

    The default stands unless another beats it by two standard errors of the customers' differences: on a
    narrow window the best of seven is often luck.
    """
    usual = np.array(by_beta[DEFAULT_BETA])
    if len(usual) < FEWEST_USERS_FOR_A_SWEEP:
        return DEFAULT_BETA
    favourite = max(by_beta, key=lambda beta: float(np.mean(by_beta[beta])))
    lead = np.array(by_beta[favourite]) - usual
    error = lead.std(ddof=1) / np.sqrt(len(lead))
    return favourite if lead.mean() > 2 * error else DEFAULT_BETA


def windows(events: DataFrame) -> tuple[int, int]:
    """(start of the inner window, of the outer one), whole hours.

    By how many customers did anything in each hour: nobody who does a thousand things in the last hour, or
    has made up a thousand names, draws the windows together to that hour.
    """
    by_hour = events.groupBy(F.floor(F.col("t") / HOUR_MS).alias("hour"))
    hours = by_hour.agg(F.countDistinct("u").alias("customers")).orderBy("hour").collect()
    total, so_far = sum(hour["customers"] for hour in hours), 0
    starts: list[int] = []
    for hour in hours:
        while len(starts) < 2 and so_far >= (1 - SLICE) ** (2 - len(starts)) * total:
            starts.append(hour["hour"] * HOUR_MS)
        so_far += hour["customers"]
    starts += [(hours[-1]["hour"] + 1) * HOUR_MS] * (2 - len(starts))
    return starts[0], starts[1]


def evaluate(events: DataFrame, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """The figures by which `gate` decides, and those that tell a reader why."""
    inner_ms, outer_ms = windows(events)
    customers = events.agg(F.max("u")).collect()[0][0] + 1
    share = args.max_judged / customers
    inner, outer_window = Window(inner_ms, outer_ms, share), Window(outer_ms, args.as_of_ms, share)
    sweep = None if args.beta is not None else _sweep(events, inner, size, args)
    beta = args.beta
    if sweep:
        beta = chosen_beta({float(name): figures for name, figures in sweep.by_customer.items()})
    recipes = {
        "model": blend(beta, ruled=True),
        "blend": blend(beta),
        "als_alone": Recipe(taste=1.0),
        "trending": Recipe(trend=1.0),
        "popularity": Recipe(popular=1.0),
    }
    model = fit(events, outer_ms, size, args)
    outer = judge(model, events, outer_window, recipes)
    figures = {"trending": outer.ndcg["trending"]}
    if args.incumbent:
        figures["incumbent"] = _incumbent(model, events, outer_window, size, args)
    model.pairs.unpersist()
    return {
        "warm_users": outer.warm_users,
        "beta": beta,
        "ndcg": outer.ndcg["model"],
        **{f"ndcg_{name}": figure for name, figure in outer.ndcg.items() if name != "model"},
        **{f"ndcg_{name}": figure for name, figure in figures.items()},
        "coverage": outer.coverage["model"],
        "coverage_blend": outer.coverage["blend"],
        "sweep": [[float(name), figure] for name, figure in sweep.ndcg.items()] if sweep else [],
        "sweep_users": sweep.warm_users if sweep else 0,
        "windows_ms": [inner_ms, outer_ms, args.as_of_ms],
    }


def _sweep(events: DataFrame, window: Window, size: int, args: argparse.Namespace) -> Judgement:
    """Every beta on the inner window."""
    model = fit(events, window.begins_ms, size, args)
    judgement = judge(model, events, window, {str(beta): blend(beta) for beta in BETAS})
    model.pairs.unpersist()
    return judgement


def _incumbent(model: Model, events: DataFrame, window: Window, size: int, args: argparse.Namespace) -> float:
    """NDCG of the recipe that is served now, learnt from what this model learnt from."""
    theirs = argparse.Namespace(**(vars(args) | args.incumbent))
    if any(getattr(theirs, name) != getattr(args, name) for name in RECIPE):
        model = fit(events, window.begins_ms, size, theirs)
    return judge(model, events, window, {"it": blend(theirs.beta, ruled=True)}).ndcg["it"]


def recipe_text(args: argparse.Namespace, beta: float) -> str:
    """What a later run needs to learn as this one did; no spaces or quotes, for it is an argument."""
    values = {name: getattr(args, name) for name in RECIPE} | {"beta": beta}
    return ",".join(f"{name}={value}" for name, value in values.items())


def parse_recipe(text: str) -> dict[str, float]:
    """The recipe that `recipe_text` wrote; names that this release does not know are left out."""
    values = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name in (*RECIPE, "beta"):
            values[name] = int(value) if name in WHOLE else float(value)
    if "beta" not in values:
        raise argparse.ArgumentTypeError(f"{text} is no recipe: it names no beta")
    return values


def gate(metrics: Mapping[str, Any], args: argparse.Namespace) -> tuple[bool, str]:
    """(whether to publish, why) from the figures of the judgement."""
    if metrics["warm_users"] < args.min_warm_users:
        return False, f"only {metrics['warm_users']} warm users to judge by, {args.min_warm_users} are needed"
    figures = f"NDCG@10 {metrics['ndcg']:.4f}, trending {metrics['ndcg_trending']:.4f}"
    if metrics["ndcg"] <= metrics["ndcg_trending"]:
        return False, f"no better than trending: {figures}"
    incumbent = metrics.get("ndcg_incumbent")
    if incumbent is not None and metrics["ndcg"] < INCUMBENT_SHARE * incumbent:
        return False, f"worse than the recipe that is served: {figures}, that recipe {incumbent:.4f}"
    if metrics["coverage"] < args.min_coverage:
        return (
            False,
            f"its lists show {metrics['coverage']:.1%} of the contents that they could, too few: {figures}",
        )
    return True, figures
