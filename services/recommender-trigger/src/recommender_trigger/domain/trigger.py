"""Whether to launch a run now. Pure: it is told everything, the time included."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf


class Decision(StrEnum):
    """What to do; all but the first two are reasons to wait. The texts are for people and logs."""

    LAUNCH = "launch"
    COUNT_ARCHIVE = "count the archive, then ask again"
    LEASED = "a run is under way"
    SWITCHED_OFF = "training is switched off"
    NOBODY_DUE = "no customer is due, or none long enough for the archive to hold the events"
    TOO_FEW_DUE = "too few customers are due, and none has waited long"
    TOO_SOON = "the last run is too recent"
    BACKING_OFF = "the last run failed; the next waits longer"
    TOO_FEW_EVENTS = "the archive holds too few events"
    TOO_FEW_CUSTOMERS = "the archive holds too few customers with two or more events"


@dataclass(frozen=True, slots=True)
class Policy:
    """When a run is worth it. Durations in milliseconds."""

    min_due_customers: int
    max_wait_ms: int
    settle_ms: int
    min_interval_ms: int
    backoff_ms: int
    max_backoff_ms: int
    min_archived_events: int
    min_archived_customers: int
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """What the archive holds of an app, counted only as far as the policy asks."""

    events: int
    customers: int
    """Those with two or more events."""


@dataclass(frozen=True, slots=True)
class History:
    """The runs of an app so far. Times in milliseconds since 1970."""

    launched_at_ms: int | None = None
    """When the last run was launched."""
    ended_at_ms: int | None = None
    """When the last run ended."""
    failures: int = 0
    """How many of the newest runs in a row have failed."""
    needs_person: bool = False
    """Whether the last of them failed of what only a person can mend."""


@dataclass(frozen=True, slots=True)
class Situation:
    """An app as it stands."""

    due_at_ms: Sequence[int]
    lease_until_ms: int | None = None
    history: History = History()
    archive: ArchiveCounts | None = None
    """None while nobody has counted, since counting costs more than everything else."""
    is_requested: bool = False
    """Whether an operator has asked for a run."""


def backoff_ms(failures: int, policy: Policy) -> int:
    """How long after the end of the last of so many failures in a row the next run may begin."""
    if failures <= 0:
        return 0
    return int(min(policy.max_backoff_ms, policy.backoff_ms * 2 ** min(failures - 1, 30)))


def is_settled(due_at_ms: int, policy: Policy, now_ms: int) -> bool:
    """Whether the archive has had time to take in what made a customer due."""
    return now_ms - due_at_ms >= policy.settle_ms


def in_turn(
    apps: Iterable[str], requested_at_ms: Mapping[str, int], oldest_due_ms: Mapping[str, int]
) -> list[str]:
    """Apps in the order in which they get machines: those that were asked for, then by who waits longest.

    A run leaves its app only customers who are due since it began, so a busy app does not starve another.
    """
    return sorted(apps, key=lambda app: (requested_at_ms.get(app, inf), oldest_due_ms.get(app, inf), app))


def decide(situation: Situation, policy: Policy, now_ms: int) -> Decision:
    """Launch, count the archive first, or the reason to wait.

    What an operator asks for waits for nothing but a run under way, and for training to be switched on.
    """
    if situation.lease_until_ms is not None and situation.lease_until_ms > now_ms:
        return Decision.LEASED
    if not policy.is_enabled:
        return Decision.SWITCHED_OFF
    if situation.is_requested:
        return Decision.LAUNCH
    settled = [due for due in situation.due_at_ms if is_settled(due, policy, now_ms)]
    if not settled:
        return Decision.NOBODY_DUE
    if len(settled) < policy.min_due_customers and now_ms - min(settled) < policy.max_wait_ms:
        return Decision.TOO_FEW_DUE
    return _too_early(situation.history, policy, now_ms) or _about_archive(situation.archive, policy)


def _too_early(history: History, policy: Policy, now_ms: int) -> Decision | None:
    if history.failures:
        # A failed run has taught nothing: the next waits for its backoff alone.
        wait_ms = policy.max_backoff_ms if history.needs_person else backoff_ms(history.failures, policy)
        since_ms, reason = history.ended_at_ms, Decision.BACKING_OFF
    else:
        wait_ms, since_ms, reason = policy.min_interval_ms, history.launched_at_ms, Decision.TOO_SOON
    return reason if since_ms is not None and now_ms - since_ms < wait_ms else None


def _about_archive(archive: ArchiveCounts | None, policy: Policy) -> Decision:
    if archive is None:
        return Decision.COUNT_ARCHIVE
    if archive.events < policy.min_archived_events:
        return Decision.TOO_FEW_EVENTS
    if archive.customers < policy.min_archived_customers:
        return Decision.TOO_FEW_CUSTOMERS
    return Decision.LAUNCH
