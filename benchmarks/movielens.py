"""MovieLens-100k as views of contents, two splits of it, and how good lists are. Pure but for reading it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SPLIT_SECONDS = 889_237_269
TOP = 10
_DAY_SECONDS = 86_400

Lists = Mapping[str, Sequence[str]]


class View(NamedTuple):
    """One rating, taken as a view."""

    user: str
    item: str
    at_seconds: int


def read_views(folder: Path) -> list[View]:
    """The data out of the unpacked wheel of recbole."""
    path = folder / "recbole" / "dataset_example" / "ml-100k" / "ml-100k.inter"
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    return [View(user, item, int(float(at))) for user, item, _, at in rows]


def ndcg(lists: Lists, wanted: Mapping[str, set[str]]) -> float:
    """Mean NDCG@10, nothing for a customer without a list."""
    total = 0.0
    for user, items in wanted.items():
        gains = (1 / math.log2(n + 2) for n, item in enumerate(lists.get(user, ())[:TOP]) if item in items)
        total += sum(gains) / sum(1 / math.log2(n + 2) for n in range(min(TOP, len(items))))
    return total / max(1, len(wanted))


def wanted_after(views: Iterable[View]) -> dict[str, set[str]]:
    """What customers known before the split turned to afterwards, of what was known before."""
    seen: dict[str, set[str]] = defaultdict(set)
    later: list[View] = []
    items: set[str] = set()
    for view in views:
        if view.at_seconds > SPLIT_SECONDS:
            later.append(view)
        else:
            seen[view.user].add(view.item)
            items.add(view.item)
    wanted: dict[str, set[str]] = defaultdict(set)
    for view in later:
        if view.user in seen and view.item in items - seen[view.user]:
            wanted[view.user].add(view.item)
    return dict(wanted)


def without_last(views: Sequence[View], *, hard: bool = True) -> tuple[list[View], dict[str, set[str]]]:
    """(all but everybody's last view, that one).

    Many views have the same second as another. Of those the one with the greatest number is taken, which is
    the rarest content and the hardest to find; unless `hard`, the last one in the data.
    """
    last: dict[str, int] = {}

    def place(number: int) -> tuple[int, int]:
        view = views[number]
        return view.at_seconds, int(view.item) if hard else number

    for number, view in enumerate(views):
        if view.user not in last or place(number) >= place(last[view.user]):
            last[view.user] = number
    out = set(last.values())
    known = [view for number, view in enumerate(views) if number not in out]
    return known, {user: {views[number].item} for user, number in last.items()}


def coverage(lists: Iterable[Sequence[str]], known: Iterable[View]) -> float:
    """Share of the contents that are in somebody's first ten."""
    shown = {item for items in lists for item in items[:TOP]}
    return len(shown) / len({view.item for view in known})


def ranked_for_all(known: Sequence[View], half_life_days: float) -> Lists:
    """The same ranking for everybody, without what each has seen; an infinite half-life is popularity."""
    scores: dict[str, float] = defaultdict(float)
    seen: dict[str, set[str]] = defaultdict(set)
    for view in known:
        age_days = (SPLIT_SECONDS - view.at_seconds) / _DAY_SECONDS
        scores[view.item] += 2 ** (-age_days / half_life_days)
        seen[view.user].add(view.item)
    best = sorted(scores, key=lambda item: (-scores[item], item))
    return {user: [item for item in best if item not in items][:TOP] for user, items in seen.items()}
