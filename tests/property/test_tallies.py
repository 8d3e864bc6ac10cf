"""Types beyond as many as a customer's counter tells apart: summed, and none of them in two places."""

from collections import Counter
from random import Random

from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.memory_dynamodb import MemoryDynamoDb
from kinstream.dynamo import from_item
from kinstream.events import OTHER
from session_worker.effects import Increment, Tally, Threshold
from session_worker.engine.transaction import Remembered, TableNames, Transaction

TABLES = TableNames("ledger", "counters", "records", "outbox")
KEY = ("demo#customer#fam", "total")
groups = st.lists(
    st.dictionaries(st.sampled_from([f"game.played_{n}" for n in range(9)]), st.integers(1, 5), min_size=1),
    max_size=30,
)


def transaction_of(types: dict[str, int], most: int, at: int = 20) -> Transaction:
    transaction = Transaction(TABLES, slot=0, now_ms=1)
    threshold = Threshold("events", at)
    for kind, by in types.items():
        tally = Tally("type", {kind: by}, most)
        transaction.add(
            "demo", [Increment(("customer", "fam"), {"events": by}, threshold=threshold, tally=tally)]
        )
    return transaction


def add(dynamodb: MemoryDynamoDb, types: dict[str, int], most: int, remembered: Remembered) -> Remembered:
    """What a worker does that remembers something of the counter, right or not: it is refused and learns."""
    for _ in range(4):
        transaction = transaction_of(types, most)
        requests, _ = transaction.requests({}, lambda _, known=remembered: known)
        try:
            dynamodb.handle("TransactWriteItems", {"TransactItems": requests})
        except ClientError as error:
            (reason,) = error.response["CancellationReasons"]
            remembered = transaction.learned(KEY, reason.get("Item"))
        else:
            return remembered
    raise AssertionError("refused again and again")


@given(groups, st.integers(1, 10), st.randoms(use_true_random=False))
def test_every_type_has_its_own_count_or_is_summed_and_never_both(groups, most: int, random: Random):
    dynamodb = MemoryDynamoDb()
    workers = [Remembered()] * 3
    for types in groups:
        number = random.randrange(3)
        workers[number] = add(dynamodb, types, most, workers[number])
        if random.random() < 0.1:
            workers[number] = Remembered()
    (item,) = map(from_item, dynamodb.items("counters")) if groups else ({},)
    true = sum(map(Counter, groups), Counter())
    own = {kind: count for kind, count in true.items() if f"type:{kind}" in item}
    assert {f"type:{kind}": count for kind, count in own.items()} == {
        name: count for name, count in item.items() if name.startswith("type:") and OTHER not in name
    }
    assert len(own) == min(most, len(true))
    assert item.get(f"type:{OTHER}", 0) == true.total() - sum(own.values())
    assert ("due_at_ms" in item) == (true.total() >= 20)


@given(st.lists(st.sampled_from([f"screen.viewed_{n}" for n in range(5)]), max_size=30))
def test_an_app_with_few_types_is_never_refused_for_their_sake(kinds):
    dynamodb = MemoryDynamoDb()
    for kind in kinds:
        requests, _ = transaction_of({kind: 1}, most=200, at=100).requests({}, lambda _: Remembered())
        dynamodb.handle("TransactWriteItems", {"TransactItems": requests})
