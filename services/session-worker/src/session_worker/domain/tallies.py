"""Which names of a tally have an amount of their own. Pure.

A counter keeps the set of such names. It only grows, and once it is full no name joins it: so a name is
summed under `OTHER` from its first event on, or never, whatever order events come in and whoever counts them.
"""

from typing import NamedTuple

from kinstream.events import OTHER
from session_worker.effects import Tally


class Shares(NamedTuple):
    """What a tally adds to a counter."""

    amounts: dict[str, int]
    """By the name of the attribute."""
    names: frozenset[str]
    """What joins the set of names, or is in it already."""
    most_before: int | None
    """The set may have so many names at most before, so that all that are new have room; None: any number."""
    is_exact: bool
    """Whether it must have just so many, because some of the names are taken to have no room."""


def share_out(tally: Tally, known: frozenset[str]) -> Shares:
    """How to add a tally to a counter of which `known` names are known to be in the set.

    It holds as long as the set is as `most_before` says, which the write must make its condition.
    """
    new = sorted(tally.amounts.keys() - known)
    room = tally.most - len(known)
    if len(new) <= room or not new:
        most_before = tally.most - len(new) if new else None
        return Shares(_attributes(tally), frozenset(tally.amounts), most_before, is_exact=False)
    own = frozenset(name for name in tally.amounts if name in known).union(new[: max(room, 0)])
    return Shares(_attributes(tally, own), own, len(known), is_exact=True)


def _attributes(tally: Tally, own: frozenset[str] | None = None) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for name, by in tally.amounts.items():
        attribute = f"{tally.kind}:{name if own is None or name in own else OTHER}"
        amounts[attribute] = amounts.get(attribute, 0) + by
    return amounts
