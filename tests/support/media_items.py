"""Media items as a worker leaves them: rows of the catalog and objects, without a worker."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from kinstream.catalog import FINALIZE, MAIN, MediaRepository, NewItem, Rendition, WorkRepository
from kinstream.catalog.keys import derived_key
from kinstream.resources import BUCKET_DERIVED
from tests.support.ingest import Service

_LEASE_SECONDS = 60


class WorkersDouble:
    """Does to the catalog and the bucket what a worker does, and no work."""

    def __init__(self, service: Service, catalog: MediaRepository, work: WorkRepository) -> None:
        self.catalog = catalog
        self.work = work
        self._s3 = service.aws("s3")
        self._bucket = service.settings.names.of(BUCKET_DERIVED)

    def declare(self, app: str, customer_id: str, kind: str = "image") -> str:
        """A new item's id."""
        media_id = uuid.uuid4().hex
        self.catalog.declare(NewItem(app, media_id, customer_id, kind, f"{kind}/any", 1_000))
        return media_id

    def ready(
        self,
        app: str,
        customer_id: str,
        kind: str = "image",
        facts: dict[str, object] | None = None,
        made: Sequence[tuple[Rendition, bytes]] = (),
    ) -> str:
        """An item that is ready, with these renditions. Their keys are set here, from their file names."""
        media_id = self.declare(app, customer_id, kind)
        self.work.mark_uploaded(app, media_id, 1_000)
        claim = self.work.claim(app, media_id, MAIN, "d1", _LEASE_SECONDS)
        assert claim
        stored = [self.store(app, media_id, one, content) for one, content in made]
        assert self.work.complete(claim, stored, facts=facts)
        last = self.work.claim(app, media_id, FINALIZE, "d2", _LEASE_SECONDS)
        assert last
        assert self.work.finish(last, [])
        return media_id

    def make_variant(self, app: str, media_id: str, step: str, content: bytes) -> None:
        """Carry an order out."""
        claim = self.work.claim(app, media_id, step, uuid.uuid4().hex, _LEASE_SECONDS)
        assert claim
        made = Rendition(step, "image", f"{step}.webp", "image/webp", len(content), 640, 480)
        assert self.work.complete(claim, [self.store(app, media_id, made, content)])

    def fail_variant(self, app: str, media_id: str, step: str, reason: str) -> None:
        """Find out that an order cannot be carried out."""
        claim = self.work.claim(app, media_id, step, uuid.uuid4().hex, _LEASE_SECONDS)
        assert claim
        assert self.work.fail(claim, reason)

    def store(self, app: str, media_id: str, made: Rendition, content: bytes) -> Rendition:
        """The object of a rendition; its `object_key` was the bare file name."""
        key = derived_key(app, media_id, "main", 1, made.object_key)
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=made.content_type)
        return replace(made, object_key=key, size_bytes=len(content))
