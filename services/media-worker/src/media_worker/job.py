"""Work on one media item, from the uploaded file to its renditions.

Guarantee: any number of deliveries of an item's task, at once or one after another, killed at any
step, leave one set of renditions. Their keys depend on the item alone and the same file gives the same
renditions, so a second try writes over the first; the catalog lets only the newest claim finish.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from kinstream.catalog import Claim, MediaRepository, Rendition
from kinstream.catalog.keys import derived_key, original_key
from kinstream.errors import PermanentError, RetryableError
from kinstream.resources import BUCKET_DERIVED, BUCKET_UPLOADS
from media_worker.codecs import images, video
from media_worker.domain import policy
from media_worker.domain.recordings import recording_recipe
from media_worker.settings import MediaWorkerSettings

log = logging.getLogger(__name__)

_FETCHED_PERCENT, _MADE_PERCENT, _STORED_PERCENT = 5, 90, 99
_LEAST_STEP_PERCENT = 5
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True, slots=True)
class Made:
    """A rendition as a file, not stored yet."""

    path: Path
    name: str
    kind: str
    content_type: str
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None


class MediaJob:
    """What one child process needs to work on items, one at a time."""

    def __init__(self, settings: MediaWorkerSettings, s3: Any, catalog: MediaRepository) -> None:
        self._settings = settings
        self._s3 = s3
        self._catalog = catalog
        self._uploads = settings.names.of(BUCKET_UPLOADS)
        self._derived = settings.names.of(BUCKET_DERIVED)

    def run(self, claim: Claim, folder: Path) -> None:
        """Make, store and record the renditions; PermanentError with the reason where that is impossible.

        `folder` is empty scratch space, which the caller removes.
        """
        report = _Progress(self._catalog, claim)
        original = folder / "original"
        self._fetch(claim, original)
        report.at(_FETCHED_PERCENT)
        with original.open("rb") as file:
            found = policy.recognize(file.read(policy.HEAD_BYTES))
        known = policy.check_format(found, claim.kind)
        if known.family == "image":
            made = self._photo(original, known.name, folder)
        else:
            made = self._recording(original, known.name, folder, report)
        report.at(_MADE_PERCENT)
        renditions = [self._store(claim, one) for one in made]
        report.at(_STORED_PERCENT)
        if not self._catalog.finish(claim, renditions):
            raise ClaimLostError("another worker has taken the item over")

    def _fetch(self, claim: Claim, target: Path) -> None:
        key = original_key(claim.app, claim.media_id)
        try:
            head = self._s3.head_object(Bucket=self._uploads, Key=key)
            policy.check_bytes(head["ContentLength"], self._settings.media_max_bytes(claim.kind))
            self._s3.download_file(self._uploads, key, str(target))
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise PermanentError("the uploaded file is gone: upload it again") from error
            raise

    def _photo(self, original: Path, format_name: str, folder: Path) -> list[Made]:
        return [
            Made(
                path=made.path,
                name=made.scale.name,
                kind="image",
                content_type="image/jpeg",
                width=made.scale.width,
                height=made.scale.height,
            )
            for made in images.write_thumbnails(original, format_name, folder, self._settings.limits)
        ]

    def _recording(self, original: Path, container: str, folder: Path, report: "_Progress") -> list[Made]:
        limits = self._settings.limits
        found = video.probe(original, container, limits)
        recipe = recording_recipe(found)
        picture = recipe.video
        target = folder / ("video.mp4" if picture else "audio.m4a")
        duration_seconds = video.convert(
            original, found, recipe, target, limits=limits, progress=report.while_making
        )
        main = Made(
            path=target,
            name="video" if picture else "audio",
            kind="video" if picture else "audio",
            content_type="video/mp4" if picture else "audio/mp4",
            width=picture.width if picture else None,
            height=picture.height if picture else None,
            duration_seconds=duration_seconds,
        )
        if not recipe.poster:
            return [main]
        scale, poster = recipe.poster, folder / "poster.jpg"
        video.write_poster(original, found, scale, poster, limits)
        return [main, Made(poster, scale.name, "image", "image/jpeg", scale.width, scale.height)]

    def _store(self, claim: Claim, made: Made) -> Rendition:
        key = derived_key(claim.app, claim.media_id, made.path.name)
        self._s3.upload_file(
            str(made.path),
            self._derived,
            key,
            ExtraArgs={"ContentType": made.content_type, "CacheControl": "private, max-age=86400"},
        )
        return Rendition(
            name=made.name,
            kind=made.kind,
            object_key=key,
            content_type=made.content_type,
            size_bytes=made.path.stat().st_size,
            width=made.width,
            height=made.height,
            duration_seconds=made.duration_seconds,
        )


class ClaimLostError(RetryableError):
    """Another worker has the item now: nothing more to do, nothing to record."""


class _Progress:
    """Tells the catalog how far the work is, in steps worth a write, and stops it once the claim is lost."""

    def __init__(
        self, catalog: MediaRepository, claim: Claim, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog = catalog
        self._claim = claim
        self._clock = clock
        self._told_percent = 0
        self._told_at_seconds = clock()

    def at(self, percent: int) -> None:
        self._told_percent = percent
        self._told_at_seconds = self._clock()
        if not self._catalog.report_progress(self._claim, percent):
            raise ClaimLostError("another worker has taken the item over")

    def while_making(self, fraction: float) -> None:
        percent = _FETCHED_PERCENT + round((_MADE_PERCENT - _FETCHED_PERCENT) * fraction)
        due = self._clock() - self._told_at_seconds >= 1
        if due and percent >= self._told_percent + _LEAST_STEP_PERCENT:
            self.at(percent)
