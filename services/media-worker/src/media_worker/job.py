"""Work on one step of a media item, from the uploaded file to its renditions.

Guarantee: any number of deliveries of a step's task, at once or one after another, killed at any point,
leave one set of renditions, those of one attempt and just as the catalog tells of them. Each attempt stores
under keys of its own, and the catalog lets only the newest claim count. An attempt removes files of the same
names that those before it left behind; one that fails or has lost its claim removes what it stored itself.
All is made of one version of the upload: what comes later under its name changes nothing.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kinstream.catalog import Claim, Hold, Missing, Rendition, Role, WorkRepository
from kinstream.errors import PermanentError, RetryableError
from kinstream.live import LivePublisher
from media_worker import making
from media_worker.domain import policy
from media_worker.domain.containment import SandboxLimits
from media_worker.domain.plan import is_small, source_of
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.making import Order
from media_worker.orders import part_order, parts, planned
from media_worker.rendition import Rendition as Renditions
from media_worker.sandbox import Sandbox
from media_worker.settings import MediaWorkerSettings
from media_worker.storage import OriginalGoneError, Storage, made_of

log = logging.getLogger(__name__)


_FETCHED_PERCENT, _MADE_PERCENT = 5, 90
_LEAST_STEP_PERCENT = 5
_FIRST_GO_SHARE = 1 / 3
"""Of the time that a file may take, for all of its steps at once: the rest is for each by itself."""
_VERSION = "version"
"""Of the upload, among the facts that the catalog keeps of it."""
_ORIGINAL = "original"
"""Name of the file that is worked on, in its folder."""
_VARIANT_SOURCES = ("poster", "image-1280")
"""What a variant is made of where the original is no photo, or is not kept."""


class ClaimLostError(RetryableError):
    """Another worker has the step now: nothing more to do, nothing to record."""


class MediaJob:
    """What one child process needs to work on steps, one at a time."""

    def __init__(
        self,
        settings: MediaWorkerSettings,
        *,
        storage: Storage,
        catalog: WorkRepository,
        sandbox: Sandbox,
        renditions: Mapping[str, Renditions],
        live: LivePublisher,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._catalog = catalog
        self._sandbox = sandbox
        self._renditions = renditions
        self._live = live

    def run(self, claim: Claim, folder: Path) -> None:
        """Carry the step out and record it; PermanentError with the reason where that is impossible.

        `folder` is empty scratch space, which the caller removes.
        """
        report = _Progress(self._catalog, claim, self._live)
        match claim.role:
            case Role.MAIN:
                self._main(claim, folder, report)
            case Role.PART:
                self._part(claim, folder, report)
            case Role.VARIANT:
                self._variant(claim, folder, report)
            case Role.FINALIZE:
                self._finalize(claim)

    def clear(self, hold: Hold) -> None:
        """Remove what was stored of an item that has failed for good; of any other, nothing."""
        self._storage.discard(self._catalog.forget_failed(hold))

    def _main(self, claim: Claim, folder: Path, report: "_Progress") -> None:
        source, version = self._fetch_original(claim, folder)
        facts = self._sandbox.run(making.inspect, source, claim.kind, self._settings.limits, folder=folder)
        report.at(_FETCHED_PERCENT)
        told = source_of(facts) | {_VERSION: version}
        steps = planned(self._renditions, facts, self._settings.options)
        bound_seconds = self._settings.media_small_cost_seconds
        if not is_small(steps, bound_seconds):
            _held(self._catalog.plan(claim, told, parts(facts, steps, bound_seconds, version)))
            return
        made, missing = self._make(facts, steps, source, folder, report)
        stored = self._store(claim, made, folder, report)
        self._counted(self._catalog.complete(claim, stored, missing=missing, facts=told), stored)

    def _part(self, claim: Claim, folder: Path, report: "_Progress") -> None:
        order = part_order(claim.order)
        source = folder / _ORIGINAL
        self._storage.fetch_original(claim, source)
        # Afterwards, so that it is this version that was fetched. Its size is what the first step looked at.
        if self._storage.original(claim).version != order.version:
            raise PermanentError("another file was uploaded while this one was worked on")
        report.at(_FETCHED_PERCENT)
        made, _ = self._make(order.facts, [order.step], source, folder, report)
        stored = self._store(claim, made, folder, report)
        self._counted(self._catalog.complete(claim, stored), stored)

    def _variant(self, claim: Claim, folder: Path, report: "_Progress") -> None:
        known = self._catalog.made_so_far(claim)
        source = self._variant_source(claim, known, folder)
        step = Step(claim.step, "variant", 1.0, arguments=claim.order | _focal_point(known))
        made = self._make_at_once(None, [step], source, folder, report)
        stored = self._store(claim, made, folder, report)
        self._counted(self._catalog.complete(claim, stored), stored)

    def _finalize(self, claim: Claim) -> None:
        made = [made_of(rendition) for rendition in self._catalog.made_so_far(claim)]
        assembled = [one for rendition in self._renditions.values() for one in rendition.assemble(made)]
        stored = [self._storage.store_text(claim, one, content) for one, content in assembled]
        self._storage.discard_earlier(claim, stored)
        if not self._settings.media_keep_originals:
            self._storage.delete_original(claim)
        self._counted(self._catalog.finish(claim, stored), stored)

    def _fetch_original(self, claim: Claim, folder: Path) -> tuple[Path, str]:
        """The file and its version; RetryableError where another one was uploaded meanwhile."""
        original = self._storage.original(claim)
        policy.check_bytes(original.size_bytes, self._settings.media_max_bytes(claim.kind))
        source = folder / _ORIGINAL
        self._storage.fetch_original(claim, source)
        if self._storage.original(claim) != original:
            raise RetryableError("another file was uploaded while this one was fetched")
        return source, original.version

    def _variant_source(self, claim: Claim, known: Sequence[Rendition], folder: Path) -> Path:
        if claim.kind == "image" and self._settings.media_keep_originals:
            with suppress(OriginalGoneError):
                source, version = self._fetch_original(claim, folder)
                # An upload form is good for more than one file, and only the first was looked at.
                if version == (claim.facts or {}).get(_VERSION):
                    return source
            log.info("a variant is made of a rendition", extra={"media_id": claim.media_id})
        by_name = {made.name: made for made in known}
        made = next((by_name[name] for name in _VARIANT_SOURCES if name in by_name), None)
        if made is None:
            raise PermanentError("this item has no picture")
        source = folder / _ORIGINAL
        self._storage.fetch(made, source)
        return source

    def _make(
        self, facts: Facts, steps: list[Step], source: Path, folder: Path, report: "_Progress"
    ) -> tuple[list[Made], list[Missing]]:
        """What was made, and which extras could not be."""
        if len(steps) == 1:
            return self._make_at_once(facts, steps, source, folder, report), []
        limits = self._settings.sandbox_limits
        first_go = replace(limits, wall_seconds=limits.wall_seconds * _FIRST_GO_SHARE)
        with suppress(PermanentError):
            return self._make_at_once(facts, steps, source, folder, report, limits=first_go), []
        # One of them failed, or took the decoder down with it: each by itself shows which.
        made: list[Made] = []
        missing: list[Missing] = []
        for step in steps:
            try:
                made += self._make_at_once(facts, [step], source, folder, report)
            except PermanentError as error:
                if step.essential:
                    raise
                missing.append(Missing(step.name, str(error)))
        return made, missing

    def _make_at_once(
        self,
        facts: Facts | None,
        steps: list[Step],
        source: Path,
        folder: Path,
        report: "_Progress",
        *,
        limits: SandboxLimits | None = None,
    ) -> list[Made]:
        order = Order(facts, steps, self._settings.limits, self._settings.options)
        return self._sandbox.run(
            making.make, source, folder, order, progress=report.while_making, folder=folder, limits=limits
        )

    def _store(
        self, claim: Claim, made: Sequence[Made], folder: Path, report: "_Progress"
    ) -> list[Rendition]:
        report.at(_MADE_PERCENT)
        stored = list[Rendition]()
        try:
            for one in made:
                stored.append(self._storage.store(claim, one, folder))
        except Exception:
            self._storage.discard(stored)
            raise
        self._storage.discard_earlier(claim, stored)
        return stored

    def _counted(self, is_counted: bool, stored: Sequence[Rendition]) -> None:
        if not is_counted:
            self._storage.discard(stored)
        _held(is_counted)


def _focal_point(known: Sequence[Rendition]) -> dict[str, object]:
    points = (made.detail.get("focal_point") for made in known)
    return {"focal_point": point} if (point := next(filter(None, points), None)) else {}


def _held(is_held: bool) -> None:
    if not is_held:
        raise ClaimLostError("another worker has taken the step over")


class _Progress:
    """Tells the catalog how far the work is, in steps worth a write, and stops it once the claim is lost."""

    def __init__(
        self,
        catalog: WorkRepository,
        claim: Claim,
        live: LivePublisher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._claim = claim
        self._live = live
        self._clock = clock
        self._told_percent = 0
        self._told_at_seconds = clock()

    def at(self, percent: int) -> None:
        self._told_percent = percent
        self._told_at_seconds = self._clock()
        claim = self._claim
        try:
            of_item = self._catalog.report_progress(claim, percent)
        except RetryableError as error:
            # No reason to throw away what has been made: the end of the step checks the claim anyway.
            log.warning("progress not told", extra={"error": str(error)})
            return
        _held(of_item is not None)
        if claim.role != Role.VARIANT:
            body = {"media_id": claim.media_id, "progress": of_item}
            self._live.publish(claim.app, claim.customer_id, "media.progress", body)

    def while_making(self, fraction: float) -> None:
        percent = _FETCHED_PERCENT + round((_MADE_PERCENT - _FETCHED_PERCENT) * fraction)
        due = self._clock() - self._told_at_seconds >= 1
        if due and percent >= self._told_percent + _LEAST_STEP_PERCENT:
            self.at(percent)
