"""Who lives in the generated world: stories by theme, families with tastes, devices and people."""

import random
import re
from dataclasses import dataclass

_NOUNS = {
    "forest": ("fox", "bear", "hedgehog", "owl", "squirrel"),
    "ocean": ("whale", "octopus", "seahorse", "turtle", "crab"),
    "space": ("comet", "rocket", "moon", "robot", "star"),
    "farm": ("pony", "hen", "lamb", "tractor", "goat"),
    "legend": ("dragon", "giant", "wizard", "knight", "mermaid"),
    "town": ("baker", "tram", "lighthouse", "postman", "fire-engine"),
}
_ADJECTIVES = ("sleepy", "brave", "tiny", "curious", "merry")
_SURNAMES = (
    "adeyemi", "bianchi", "castro", "dubois", "eriksen", "fischer", "garcia", "haddad", "ivanov", "jansen",
    "kowalski", "lindqvist", "moreau", "nakamura", "okafor", "petrov", "quinn", "rossi", "silva", "tanaka",
    "ueda", "varga", "weber", "xu", "yilmaz",
)  # fmt: skip
_KIDS = ("Mia", "Leo", "Nora", "Elias", "Yuki", "Amara", "Theo", "Lina")
_GUARDIANS = ("Alex", "Robin", "Sam", "Kim", "Jo", "Chris")
_DEVICES = ("ipad", "phone", "desktop")

_TAG = re.compile(r"-\d{12}$")
"""What `renamed` in generate.py puts at the end of a name."""

THEMES = tuple(_NOUNS)
FAVOURITE_SHARE = 0.85
"""Of a family's new stories so many are of its two favourite themes: what a model can learn."""


@dataclass(frozen=True, slots=True)
class Person:
    """A member of a family."""

    customer_id: str
    person_id: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Family:
    """A customer: devices, people, and the themes that it likes best."""

    customer_id: str
    devices: tuple[str, ...]
    guardian: Person
    children: tuple[Person, ...]
    favourites: tuple[str, str]


def stories_by_theme() -> dict[str, list[str]]:
    """All 150 stories, popular ones first in each theme."""
    return {
        theme: [f"story-the-{adjective}-{noun}" for adjective in _ADJECTIVES for noun in nouns]
        for theme, nouns in _NOUNS.items()
    }


def title_of(content_id: str) -> str:
    """`The sleepy fox` of `story-the-sleepy-fox`; other ids as they are."""
    if not content_id.startswith("story-"):
        return content_id
    return _TAG.sub("", content_id).removeprefix("story-").replace("-", " ").capitalize()


def make_families(rng: random.Random, count: int) -> list[Family]:
    """So many families, each with 1 to 3 devices, a guardian and 1 to 3 children."""
    return [_family(rng, number) for number in range(count)]


def _family(rng: random.Random, number: int) -> Family:
    surname = _SURNAMES[number % len(_SURNAMES)]
    customer_id = f"fam-{surname}-{number:03d}"
    first, second = rng.sample(THEMES, 2)
    kids = rng.sample(_KIDS, rng.randint(1, 3))
    return Family(
        customer_id=customer_id,
        devices=tuple(f"{device}-{number:03d}" for device in _DEVICES[: rng.randint(1, 3)]),
        guardian=Person(customer_id, "guardian-1", rng.choice(_GUARDIANS), "guardian"),
        children=tuple(
            Person(customer_id, f"kid-{index}", name, "child") for index, name in enumerate(kids, 1)
        ),
        favourites=(first, second),
    )
