"""The engine as a state machine: whatever happens in whatever order, what comes out is the plain reference.

Hypothesis sends events, delivers messages in any order and again, decides the fate of every single call to
DynamoDB, SQS and SNS, kills workers between any two of them, and then looks. The same decisions give the
same run. `KINSTREAM_MODEL_RUNS=500` makes it the long form.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import Enum, auto
from random import Random
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kinstream import keys
from kinstream.events import Event, format_time_ms
from kinstream_devkit.generate.walks import Place
from tests.support.interleaving import Fate
from tests.support.model import START_MS, World, fates_of, model_settings
from tests.support.model_truth import compare, compare_announcements, compare_closings

USUAL_RUNS = 60
RUNS = int(os.environ.get("KINSTREAM_MODEL_RUNS", USUAL_RUNS))
WORKERS = 3
APPS = ("demo", "other")
CUSTOMERS = ("fam-1", "fam-2", "fam-3")
DEVICES = ("", "ipad#1@%")
HOUR_MS = 3_600_000
MOST_GARBAGE = 2
TOIL = 120

# A family with a place to be away from, one with two, one that has named none.
PLACES = [
    Place("fam-1", "home", "Home", 52.52, 13.4, 150.0),
    Place("fam-2", "home", "Home", 52.52, 13.4, 150.0),
    Place("fam-2", "school", "School", 52.53, 13.4, 100.0),
]

times = st.one_of(
    st.sampled_from(
        [
            edge + by
            for edge in (0, 600_000, HOUR_MS // 2, HOUR_MS, HOUR_MS + HOUR_MS // 2, 24 * HOUR_MS)
            for by in (-1, 0, 1)
        ]
    ),
    st.integers(0, 40).map(lambda minutes: minutes * 60_000),
    st.integers(-26 * HOUR_MS, 26 * HOUR_MS),
)
contents = st.sampled_from(["story-1", "story-2", "story-3"])
of_content = st.builds(
    lambda kind, content_id, activity: (kind, {"content_id": content_id, "activity": activity}),
    st.sampled_from(["content.viewed", "content.liked", "content.unliked", "screen.viewed"]),
    contents,
    st.sampled_from(["reading", "", None]),
)
fixes = st.builds(
    lambda person_id, latitude, accuracy_m: (
        "location.updated",
        {"person_id": person_id, "latitude": latitude, "longitude": 13.4, "accuracy_m": accuracy_m},
    ),
    st.sampled_from(["kid", "teen"]),
    st.sampled_from([52.52, 52.53, 52.54, 52.55]),
    st.sampled_from([10.0, 10.0, 10.0, 900.0]),
)
walks = st.sampled_from([52.52, 52.54, 52.54, 52.54]).map(
    lambda latitude: (
        "location.updated",
        {"person_id": "kid", "latitude": latitude, "longitude": 13.4, "accuracy_m": 10.0},
    )
)
words = st.sampled_from(["content.liked", "content.unliked"]).map(
    lambda kind: (kind, {"content_id": "story-1"})
)
unreadable = st.sampled_from([("content.viewed", {"content_id": 7}), ("location.updated", {"latitude": 1})])


class Happening(Enum):
    """What befalls the workers and their customers beside the calls themselves."""

    LATE_CALLS = auto()
    CRASH = auto()
    CRASH_AFTER_A_CALL = auto()
    UPKEEP = auto()
    WRONG_CLOCK = auto()
    TRAINING = auto()
    HOURS = auto()
    COARSE_CLOCKS = auto()


class Drawn(NamedTuple):
    """An event to be."""

    app: str
    customer_id: str
    device_id: str
    id: str
    occurred_at_ms: int
    what: tuple[str, dict[str, Any]]
    """(type, data)."""
    counted: bool

    @property
    def identity(self) -> tuple[str, ...]:
        """By which it is known as the same again."""
        return self.app, self.customer_id, self.device_id, format_time_ms(self.occurred_at_ms), self.id

    @property
    def claim(self) -> tuple[str, ...]:
        """What at most one event may say: of two fixes of a person, or of two words on a content with one
        id, at one time, nobody could tell the later."""
        kind, values = self.what
        said = (self.app, self.customer_id, str(self.occurred_at_ms))
        match kind:
            case "location.updated":
                return *said, str(values.get("person_id"))
            case "content.liked" | "content.unliked":
                return *said, values["content_id"], self.id
        return self.identity


def event_of(**some: st.SearchStrategy[Any]) -> st.SearchStrategy[Drawn]:
    return st.builds(
        Drawn,
        **{
            "app": st.sampled_from(APPS[:1] * 3 + APPS[1:]),
            "customer_id": st.sampled_from(CUSTOMERS),
            "device_id": st.sampled_from(DEVICES),
            "id": st.sampled_from(["e0", "e1", "e2", "e3"]),
            "occurred_at_ms": times.map(lambda offset_ms: START_MS + offset_ms),
            "what": st.one_of(of_content, of_content, fixes, unreadable),
            "counted": st.sampled_from([True] * 9 + [False]),
        }
        | some,
    )


def all_of(app: str, customer_id: str, minutes: int, what: st.SearchStrategy[Any]) -> Any:
    """Events that meddle with one another: of one family, within so many minutes."""
    when = st.integers(0, minutes).map(lambda minute: START_MS + minute * 60_000)
    together = event_of(
        app=st.just(app),
        customer_id=st.just(customer_id),
        occurred_at_ms=when,
        what=what,
        counted=st.just(True),
    )
    return st.lists(together, min_size=3, max_size=12)


batches = st.one_of(
    st.lists(event_of(), min_size=1, max_size=8),
    # A child that comes and goes, a change of mind, and a busy hour.
    all_of("demo", "fam-1", 40, st.one_of(walks, walks, fixes)),
    all_of("demo", "fam-2", 4, st.one_of(of_content, words)),
    all_of("demo", "fam-1", 90, of_content),
)
numbers = st.integers(0, 11)
deliveries = st.tuples(
    numbers,
    st.sampled_from(["activity", "content", "safety"]),
    st.integers(0, 1),
    st.lists(st.integers(0, 30), max_size=10),
)
fortunes = st.integers(0, 23)
"""How a call fares: beyond the fates of its kind, it is just done."""


class EngineModel(RuleBasedStateMachine):
    """Three workers of the session-worker, with all their processors that count."""

    def __init__(self) -> None:
        super().__init__()
        self._accepted: dict[tuple[str, ...], Drawn] = {}
        self._claimed: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._sent: list[tuple[str, list[Event]]] = []
        self._garbage = 0

    @initialize(
        threshold=st.integers(1, 8),
        cached_items=st.sampled_from([1, 3, 5_000]),
        most_types=st.sampled_from([1, 2, 3, 200]),
        luck=st.integers(0, 2**16),
    )
    def begin(self, threshold: int, cached_items: int, most_types: int, luck: int) -> None:
        self._luck = Random(luck)
        self.world = World(WORKERS, threshold, cached_items, most_types)
        for app in APPS:
            for place in PLACES:
                self.world.put_place(app, place.customer_id, asdict(place))

    @rule(events=batches, pieces=st.integers(1, 4))
    def send(self, events: list[Drawn], pieces: int) -> None:
        chunks: dict[str, list[Event]] = {app: [] for app in APPS}
        for one in events:
            if event := self._accept(one):
                chunks[one.app].append(event)
        for app, chunk in chunks.items():
            for part in (chunk[start::pieces] for start in range(pieces)):
                if part:
                    self._sent.append((app, part))
                    self.world.publish(app, part)

    @precondition(lambda self: self._sent)
    @rule(which=st.lists(st.integers(0, 50), min_size=1, max_size=3))
    def send_again(self, which: list[int]) -> None:
        """A client that did not hear of its success, or SNS, which delivers at least once."""
        chunks = [self._sent[number % len(self._sent)] for number in which]
        for app in dict.fromkeys(app for app, _ in chunks):
            self.world.publish(app, [event for of, chunk in chunks if of == app for event in chunk])

    @precondition(lambda self: self._garbage < MOST_GARBAGE)
    @rule()
    def send_garbage(self) -> None:
        self._garbage += 1
        self.world.publish_garbage(f"{{not a chunk {self._garbage}")

    @rule(several=st.lists(deliveries, min_size=1, max_size=4))
    def deliver(self, several: list[tuple[int, str, int, list[int]]]) -> None:
        for worker, processor, lane, picks in several:
            self.world.receive(worker, processor, lane, picks)

    @precondition(lambda self: self.world.gate.calls)
    @rule(choices=st.lists(st.tuples(numbers, fortunes), min_size=4, max_size=40))
    def go_on(self, choices: list[tuple[int, int]]) -> None:
        """One call after the other goes its way, most of them well."""
        for choice, fortune in choices:
            self._decide(choice, lambda fates, n=fortune: fates[n] if n < len(fates) else Fate.DONE)

    @precondition(lambda self: self.world.gate.calls)
    @rule(choices=st.lists(st.tuples(numbers, fortunes), min_size=4, max_size=20), lane=numbers)
    def storm(self, choices: list[tuple[int, int]], lane: int) -> None:
        """Nothing goes well for a while: half of it for one call and what follows from it."""
        for number, (choice, fortune) in enumerate(choices):
            self._decide(lane if number % 2 else choice, lambda fates, n=fortune: fates[n % len(fates)])

    @rule(what=st.sampled_from(list(Happening)), number=numbers)
    def happen(self, what: Happening, number: int) -> None:
        calls = self.world.gate.calls
        match what:
            case Happening.LATE_CALLS:
                self.world.gate.let_late_ones_arrive(1 + number % 3)
            case Happening.CRASH:
                self.world.crash(number)
            case Happening.CRASH_AFTER_A_CALL if calls:
                self.world.crash_after(calls[number % len(calls)])
            case Happening.UPKEEP:
                self.world.upkeep(number)
            case Happening.WRONG_CLOCK:
                self.world.skew(number, (number - 6) * 3_000)
            case Happening.COARSE_CLOCKS:
                self.world.tick_ms = 1 - self.world.tick_ms
            case Happening.HOURS:
                self.world.let_time_pass((1 + number) * HOUR_MS // 2)
            case Happening.TRAINING:
                self.world.train(keys.customer_counters("demo", CUSTOMERS[number % len(CUSTOMERS)]))

    @invariant()
    def buckets_and_counters_agree(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.toil(self._luck, TOIL)
            self.world.come_to_rest()
            self.world.check()
            for app in APPS:
                compare(self.world, app, self._counted(app), PLACES, self.world.most_types)
                compare_closings(self.world, app, self._counted(app))
            compare_announcements(self.world)
            self._compare_what_was_put_aside()
        finally:
            self.world.close()

    def _decide(self, choice: int, fate_of: Callable[[Sequence[Fate]], Fate]) -> None:
        if calls := self.world.gate.calls:
            call = calls[choice % len(calls)]
            self.world.decide(call, fate_of(fates_of(call)))

    def _accept(self, drawn: Drawn) -> Event | None:
        """An event that has not been before, or the very same one again: its identity tells."""
        if drawn.identity not in self._accepted:
            if self._claimed.setdefault(drawn.claim, drawn.identity) != drawn.identity:
                return None
            self._accepted[drawn.identity] = drawn
        drawn = self._accepted[drawn.identity]
        kind, values = drawn.what
        return Event(
            id=drawn.id,
            type=kind,
            customer_id=drawn.customer_id,
            device_id=drawn.device_id,
            occurred_at=format_time_ms(drawn.occurred_at_ms),
            occurred_at_ms=drawn.occurred_at_ms,
            received_at_ms=self.world.now_ms,
            data=msgspec.Raw(msgspec.json.encode(values)),
            counted=drawn.counted,
        )

    def _counted(self, app: str) -> list[dict[str, Any]]:
        return [
            {
                "id": event.id,
                "type": event.what[0],
                "customer_id": event.customer_id,
                "device_id": event.device_id,
                "occurred_at": format_time_ms(event.occurred_at_ms),
                "data": event.what[1],
            }
            for event in self._accepted.values()
            if event.app == app and event.counted
        ]

    def _compare_what_was_put_aside(self) -> None:
        for processor in ("activity", "content", "safety"):
            bodies = self.world.put_aside(processor)
            assert {body for body in bodies if body.startswith("{")} == {
                f"{{not a chunk {number + 1}" for number in range(self._garbage)
            }


TestEngineModel = EngineModel.TestCase
TestEngineModel.settings = model_settings(RUNS, usual=USUAL_RUNS)
