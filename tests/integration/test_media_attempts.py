"""What lies in S3 when two attempts at one step overlap, and what the catalog tells of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kinstream.aws import blocking_client
from kinstream.catalog import (
    FINALIZE,
    MAIN,
    Claim,
    Hold,
    NewItem,
    Rendition,
    migrate,
    open_catalog,
    open_work,
)
from kinstream.catalog.keys import original_key
from kinstream.catalog.variants import VariantSpec
from kinstream.errors import PermanentError
from kinstream.live import open_publisher
from kinstream.resources import BUCKET_DERIVED, BUCKET_UPLOADS
from kinstream_devkit.generate.media import write_photo
from kinstream_devkit.provision import provision
from media_worker.domain.recipes import Made
from media_worker.job import ClaimLostError, MediaJob
from media_worker.rendition import discover
from media_worker.sandbox import Sandbox
from media_worker.settings import MediaWorkerSettings
from media_worker.storage import Storage

ITEM = ("demo", "m1")


class SlowStorage(Storage):
    """Much happens after this one has stored its first file."""

    def __init__(self, s3: Any, settings: MediaWorkerSettings, meanwhile: Callable[[], None]) -> None:
        super().__init__(s3, settings.names)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def store(self, item: Hold, made: Made, folder: Path) -> Rendition:
        stored = super().store(item, made, folder)
        if self._meanwhile:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return stored


class Bench:
    """An upload, and attempts at it in this process."""

    def __init__(self, settings: MediaWorkerSettings, folder: Path) -> None:
        self.settings = settings
        self._folder = folder
        url = settings.catalog_url.get_secret_value()
        migrate(url)
        provision(settings, [])
        self.api, self.work = open_catalog(url), open_work(url)
        self.s3 = blocking_client("s3", settings)
        self._sandbox = Sandbox(settings.sandbox_limits)
        self._live = open_publisher(settings)
        self.api.declare(NewItem(*ITEM, "fam-1", "image", "image/jpeg", 9))
        self.upload(320, 200)
        self.work.mark_uploaded(*ITEM, 9)

    def upload(self, width: int, height: int) -> None:
        photo = self._folder / "photo.jpg"
        write_photo(photo, width, height, orientation=1)
        self.s3.upload_file(str(photo), self.settings.names.of(BUCKET_UPLOADS), original_key(*ITEM))

    def claim(self, step: str = MAIN) -> Claim:
        claim = self.work.claim(*ITEM, step, "message", 60)
        assert claim
        return claim

    def attempt(self, claim: Claim, storage: Storage | None = None) -> None:
        folder = self._folder / f"{claim.step}-{claim.attempt}"
        folder.mkdir()
        self._job(storage or Storage(self.s3, self.settings.names)).run(claim, folder)

    def clear(self, hold: Hold) -> None:
        self._job(Storage(self.s3, self.settings.names)).clear(hold)

    def _job(self, storage: Storage) -> MediaJob:
        return MediaJob(
            self.settings,
            storage=storage,
            catalog=self.work,
            sandbox=self._sandbox,
            renditions=discover(),
            live=self._live,
        )

    def stored(self) -> dict[str, int]:
        """Sizes of all objects there are, by key."""
        found = self.s3.list_objects_v2(Bucket=self.settings.names.of(BUCKET_DERIVED))
        return {one["Key"]: one["Size"] for one in found.get("Contents", [])}

    def told(self) -> dict[str, int]:
        """The same, as the catalog tells of the item once it is ready."""
        self.attempt(self.claim(FINALIZE))
        item = self.api.get(*ITEM)
        assert item
        return {made.object_key: made.size_bytes for made in item.renditions}

    def close(self) -> None:
        self._sandbox.close()
        self._live.close()
        self.api.close()
        self.work.close()
        self.s3.close()


@pytest.fixture
def bench(tmp_path: Path, endpoint: str, name_prefix: str) -> Iterator[Bench]:
    settings = MediaWorkerSettings(
        name_prefix=name_prefix,
        aws_endpoint_url=endpoint,
        catalog_url=f"sqlite:///{tmp_path}/catalog.sqlite3",
    )
    made = Bench(settings, tmp_path)
    yield made
    made.close()


def test_attempt_that_has_lost_its_step_changes_nothing_of_what_the_winner_stored(bench: Bench) -> None:
    def another_takes_over() -> None:
        # Another file, so that what both make differs.
        bench.upload(200, 320)
        bench.attempt(bench.claim())

    lost = bench.claim()
    with pytest.raises(ClaimLostError):
        bench.attempt(lost, SlowStorage(bench.s3, bench.settings, another_takes_over))

    told = bench.told()
    assert len(told) > 2
    assert bench.stored() == told


def test_variant_whose_sources_are_gone_is_refused_for_good(bench: Bench) -> None:
    bench.attempt(bench.claim())
    keys = [*bench.told(), original_key(*ITEM)]
    for bucket in (BUCKET_UPLOADS, BUCKET_DERIVED):
        objects = [{"Key": key} for key in keys]
        bench.s3.delete_objects(Bucket=bench.settings.names.of(bucket), Delete={"Objects": objects})
    spec = VariantSpec(width=64)
    assert bench.api.order_variant(*ITEM, spec.name, spec.arguments, most=9)

    with pytest.raises(PermanentError, match="that this one is made of is gone"):
        bench.attempt(bench.claim(spec.name))


def test_attempt_removes_what_one_before_it_left_when_it_was_killed(bench: Bench) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.attempt(bench.claim(), SlowStorage(bench.s3, bench.settings, killed))
    assert len(bench.stored()) == 1
    bench.attempt(bench.claim())

    assert bench.stored() == bench.told()


def test_file_that_is_uploaded_later_by_the_same_form_changes_no_picture(bench: Bench) -> None:
    bench.attempt(bench.claim())
    bench.told()
    bench.upload(200, 320)
    spec = VariantSpec(width=100)
    assert bench.api.order_variant(*ITEM, spec.name, spec.arguments, most=9)
    bench.attempt(bench.claim(spec.name))

    variant = bench.api.variant(*ITEM, spec.name)
    assert variant.rendition
    assert variant.rendition.width == 100
    assert variant.rendition.height in (62, 63)


def test_item_that_fails_for_good_leaves_nothing_in_the_bucket(bench: Bench) -> None:
    bench.attempt(bench.claim())
    last = bench.claim(FINALIZE)
    bench.clear(last)
    assert bench.stored()
    assert bench.work.fail(last, "broken")
    bench.clear(last)
    assert bench.stored() == {}
    item = bench.api.get(*ITEM)
    assert item
    assert item.renditions == ()
