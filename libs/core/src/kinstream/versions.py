"""Which run's lists an app serves, and to whom. Pure: what the pointer's row says, and what may become of it.

The trigger publishes, an operator rolls back or begins an experiment, the API reads. Each change is made of
the row that was read and written only if its `revision` is still the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

from kinstream.errors import PermanentError

TRENDING = "trending"
"""Stands for a run where no model's lists are served."""
SERVED = "served"
"""The variant of those who are in no arm: what everybody is served, whichever run that is by now."""
LIST_TTL_MS = 14 * 24 * 60 * 60 * 1000
"""How long a run's lists are kept."""
MANIFEST, REPORT = "manifest.json", "report.html"
"""Names of two of a run's files: what the job says of it, and that for people."""
MOST_KEPT = 20
BUCKETS = 10_000


class Version(NamedTuple):
    """A run whose lists were served, or still are."""

    run_id: str
    published_at_ms: int
    as_of_ms: int
    """What happened before it is in the lists."""
    recipe: str | None = None
    """How it was learnt, in the job's own words, so that the next model can be judged against it."""

    @property
    def kept_until_ms(self) -> int:
        """When its lists run out."""
        return self.published_at_ms + LIST_TTL_MS


class Arm(NamedTuple):
    """A share of the customers who are served something else than the rest."""

    serves: str
    """A run's id, or TRENDING."""
    share: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """Customers split by a hash of the experiment's name and theirs, so that each always has the same arm."""

    name: str
    arms: tuple[Arm, ...]

    def arm_of(self, customer_id: str) -> Arm | None:
        """The customer's arm; None for the rest, who are served what everybody is."""
        digest = blake2b(f"{self.name}\0{customer_id}".encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "big") % BUCKETS
        for arm in self.arms:
            place -= round(arm.share * BUCKETS)
            if place < 0:
                return arm
        return None


@dataclass(frozen=True, slots=True)
class Versions:
    """The pointer: what is served now, and what can be gone back to."""

    run_id: str | None = None
    """None: what is trending."""
    good: tuple[Version, ...] = ()
    """Newest first, what is served included. Their lists stand in for those that a newer run lacks."""
    withdrawn: tuple[str, ...] = ()
    """Runs that were rolled back; they are not published again."""
    experiment: Experiment | None = None
    revision: int = 0

    def version(self, run_id: str | None) -> Version | None:
        """A good version by its run."""
        return next((version for version in self.good if version.run_id == run_id), None)

    def published(self, run_id: str, now_ms: int, as_of_ms: int, recipe: str | None = None) -> "Versions":
        """A run's lists are served from now on. PermanentError where it was rolled back or a newer one is.

        Run ids sort by time: whatever happens, an older run never replaces a newer one.
        """
        if run_id in self.withdrawn:
            raise PermanentError("the run was rolled back")
        if self.run_id is not None and self.run_id > run_id:
            raise PermanentError("a newer run is served already")
        version = Version(run_id, now_ms, as_of_ms, recipe)
        good = (version, *(one for one in self.good if one.run_id != run_id))
        # What an arm serves is not forgotten while the experiment runs.
        tried = tuple(one for one in good[MOST_KEPT:] if one.run_id in self._tried)
        return replace(self, run_id=run_id, good=good[:MOST_KEPT] + tried, revision=self.revision + 1)

    def rolled_back(self, now_ms: int, to: str | None = None) -> "Versions":
        """The version before is served, or the one that is named. PermanentError where there is none.

        An experiment with an arm that is taken back has ended with it.
        """
        kept = [one for one in self.good if now_ms < one.kept_until_ms]
        if to != TRENDING and to not in (None, *(one.run_id for one in kept)):
            known = ", ".join(one.run_id for one in kept) or "none"
            raise PermanentError(f"there is no version {to} to go back to; there are {known}, and {TRENDING}")
        if self.run_id is None or to == self.run_id:
            raise PermanentError(f"{self.run_id or TRENDING} is what is served now")
        older = [one.run_id for one in kept if one.run_id < self.run_id]
        if to is None and not older:
            raise PermanentError(
                f"there is no version before {self.run_id} whose lists are kept; --to {TRENDING} goes without"
            )
        target = None if to == TRENDING else to or older[0]
        # Whatever is newer than what one goes back to was no better: it must not stand in for anything.
        gone = [one.run_id for one in self.good if target is None or one.run_id > target]
        return replace(
            self,
            run_id=target,
            good=tuple(one for one in self.good if one.run_id not in gone),
            withdrawn=tuple(dict.fromkeys((*gone, *self.withdrawn)))[:MOST_KEPT],
            experiment=None if self._tried.intersection(gone) else self.experiment,
            revision=self.revision + 1,
        )

    @property
    def _tried(self) -> frozenset[str]:
        """What the experiment's arms serve."""
        return frozenset(arm.serves for arm in self.experiment.arms) if self.experiment else frozenset()

    def split(self, name: str, arms: Sequence[Arm], now_ms: int) -> "Versions":
        """Begin an experiment in place of any other; without arms, none. PermanentError where it is none."""
        kept = [one.run_id for one in self.good if now_ms < one.kept_until_ms]
        for arm in arms:
            if arm.serves not in (TRENDING, *kept):
                known = ", ".join(kept) or "none"
                raise PermanentError(
                    f"there is no version {arm.serves} whose lists are kept; "
                    f"there are {known}, and {TRENDING}"
                )
            if not 0 < arm.share <= 1:
                raise PermanentError(f"the share of {arm.serves} must lie between 0 and 1")
        if sum(arm.share for arm in arms) > 1:
            raise PermanentError("the shares are more than all customers")
        if len({arm.serves for arm in arms}) < len(arms):
            raise PermanentError("each arm must serve something else")
        experiment = Experiment(name, tuple(arms)) if arms else None
        return replace(self, experiment=experiment, revision=self.revision + 1)


def run_folder(app: str, run_id: str) -> str:
    """Where a run's files lie in the training bucket; ends with a slash."""
    return f"runs/app={app}/{run_id}/"


@dataclass(frozen=True, slots=True)
class Serving:
    """What one customer is served."""

    version: Version | None
    """None: what is trending."""
    stand_ins: tuple[str, ...] = field(default=())
    """Earlier runs whose list is served where the version has none, best first."""
    variant: str | None = None
    """What the experiment calls it: a run's id, TRENDING, or SERVED for those in no arm.

    None where there is no experiment, or the customer's arm has nothing left to serve.
    """


def serving(versions: Versions, customer_id: str, now_ms: int) -> Serving:
    """What a customer is served under the pointer."""
    run_id, variant = versions.run_id, None
    if versions.experiment:
        arm = versions.experiment.arm_of(customer_id)
        if arm is None:
            variant = SERVED
        elif arm.serves == TRENDING or _is_kept(versions.version(arm.serves), now_ms):
            run_id = variant = arm.serves
    version = versions.version(run_id)
    if version is None:
        return Serving(None, (), variant)
    older = tuple(one.run_id for one in versions.good if one.run_id < version.run_id)
    return Serving(version, older, variant)


def _is_kept(version: Version | None, now_ms: int) -> bool:
    return version is not None and now_ms < version.kept_until_ms


def versions_of(row: Mapping[str, Any]) -> Versions:
    """From the pointer's row, empty where there is none."""
    run_id = row.get("run_id")
    good = tuple(Version(*values) for values in row.get("good", ()))
    if run_id is not None and run_id not in [version.run_id for version in good]:
        # Written before versions were kept.
        good = (Version(run_id, row.get("published_at_ms", 0), 0), *good)
    experiment = row.get("experiment")
    return Versions(
        run_id,
        good,
        tuple(row.get("withdrawn", ())),
        Experiment(experiment["name"], tuple(Arm(*arm) for arm in experiment["arms"]))
        if experiment
        else None,
        row.get("revision", 0),
    )


def row_of(versions: Versions) -> dict[str, Any]:
    """The attributes of the pointer's row."""
    experiment = versions.experiment
    served = versions.version(versions.run_id)
    return {
        "run_id": versions.run_id,
        "published_at_ms": served.published_at_ms if served else None,
        "good": list(map(list, versions.good)),
        "withdrawn": versions.withdrawn,
        "experiment": experiment
        and {"name": experiment.name, "arms": [list(arm) for arm in experiment.arms]},
        "revision": versions.revision,
    }


def guard(seen: Versions) -> dict[str, Any]:
    """Parts of a write that make it fail where the row is not what was read; values are typed."""
    if seen.revision == 0:
        # Rows of revision 0 were written without it.
        return {"ConditionExpression": "attribute_not_exists(revision)"}
    return {
        "ConditionExpression": "revision = :revision",
        "ExpressionAttributeValues": {":revision": {"N": str(seen.revision)}},
    }
