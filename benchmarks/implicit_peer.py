"""`python implicit_peer.py DATA`: ALS of the package `implicit` with several settings, as JSON lists.

Runs with the peer's own packages and none of Kinstream's.
"""

import itertools
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from implicit.als import AlternatingLeastSquares  # type: ignore[import-not-found]
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

TOP = 10
DAY_SECONDS = 86_400


def main() -> None:
    """Fit each setting and print what it recommends to the customers in question."""
    data = json.loads(Path(sys.argv[1]).read_text())
    known, wanted = data["known"], data["wanted"]
    users = {user: n for n, user in enumerate(sorted({user for user, _, _ in known}))}
    items = {item: n for n, item in enumerate(sorted({item for _, item, _ in known}))}
    names = list(items)
    rows = [users[user] for user, _, _ in known]
    columns = [items[item] for _, item, _ in known]
    weights = {"every view 1": np.ones(len(known)), "recency": recency(known, data["now"])}
    asked = [user for user in wanted if user in users]
    found = []
    for (weighing, weight), factors, regularization, alpha in itertools.product(
        weights.items(), (16, 32, 64), (0.03, 1.0), (5.0, 20.0)
    ):
        matrix = csr_matrix((weight, (rows, columns)), shape=(len(users), len(items)), dtype=np.float32)
        model = AlternatingLeastSquares(
            factors=factors, regularization=regularization, alpha=alpha, iterations=10, random_state=1
        )
        model.fit(matrix, show_progress=False)
        numbers = np.array([users[user] for user in asked])
        best, _ = model.recommend(numbers, matrix[numbers], N=TOP, filter_already_liked_items=True)
        lists = {user: [names[n] for n in row] for user, row in zip(asked, best, strict=True)}
        settings = f"{weighing}, {factors} factors, regularization {regularization}, alpha {alpha:.0f}"
        found.append({"settings": settings, "lists": lists})
    print(json.dumps(found))


def recency(known: list[tuple[str, str, int]], now: int) -> np.ndarray:
    """The weights that Kinstream's job gives: by age and by place from the customer's end."""
    times = defaultdict(list)
    for number, (user, _, at) in enumerate(known):
        times[user].append((-at, number))
    weights = np.zeros(len(known))
    for mine in times.values():
        for place, (at, number) in enumerate(sorted(mine)):
            weights[number] = max(1e-3, 2 ** (-(now + at) / DAY_SECONDS / 60 - place / 5))
    return weights


if __name__ == "__main__":
    main()
