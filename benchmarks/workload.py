"""Events to measure with: seeded, like a family app's, and the same for both sides of a row."""

import itertools
import random
from collections.abc import Iterator

import msgspec

from kinstream.chunks import Chunk, encode_chunk
from kinstream.events import CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED, Event, format_time_ms
from kinstream.queues import Message

APP = "bench"
CONTENTS = 1_000
START_MS = 1_780_000_000_000
DESCRIPTION = (
    f"70 % views, 8 % likes, 2 % unlikes of {CONTENTS:,} contents (zipf 1.0), 20 % screen views; "
    "a customer's 10 events lie within 10 minutes, its next ones hours later"
)

_TYPES = (CONTENT_VIEWED, CONTENT_LIKED, CONTENT_UNLIKED, "screen.viewed")
_SHARES = (70, 78, 80, 100)
_ZIPF = list(itertools.accumulate(1 / rank for rank in range(1, CONTENTS + 1)))


def batches(customers: int, rounds: int, size: int = 10, seed: int = 7) -> Iterator[list[Event]]:
    """`rounds` batches of each customer, of `size` events each, customers in random order within a round."""
    draw = random.Random(seed)
    order = list(range(customers))
    for number in range(rounds):
        draw.shuffle(order)
        for customer in order:
            start_ms = START_MS + number * 3 * 3_600_000 + draw.randrange(3_600_000)
            yield [_event(draw, customer, start_ms + place * 60_000) for place in range(size)]


def messages(found: Iterator[list[Event]]) -> list[Message]:
    """Each batch as a message that SQS delivered."""
    return [
        Message(f"m{number}", encode_chunk(Chunk(app=APP, events=events)), f"r{number}", 1)
        for number, events in enumerate(found)
    ]


def in_groups(received: list[Message], size: int = 10) -> list[list[Message]]:
    """As many messages as one receive brings."""
    return [received[start : start + size] for start in range(0, len(received), size)]


def _event(draw: random.Random, customer: int, time_ms: int) -> Event:
    time_ms += draw.randrange(60_000)
    (kind,) = draw.choices(_TYPES, cum_weights=_SHARES)
    data: dict[str, object] = {"activity": draw.choice(("reading", "drawing", "music")), "screen": "home"}
    if kind != "screen.viewed":
        (rank,) = draw.choices(range(CONTENTS), cum_weights=_ZIPF)
        data["content_id"] = f"story-{rank}"
    return Event(
        id=f"{draw.getrandbits(128):032x}",
        type=kind,
        customer_id=f"fam-{customer}",
        device_id=f"ipad-{customer}",
        person_id=f"kid-{customer}",
        occurred_at=format_time_ms(time_ms),
        occurred_at_ms=time_ms,
        received_at_ms=time_ms + 400,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )
