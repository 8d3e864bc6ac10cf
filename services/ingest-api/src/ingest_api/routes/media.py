"""Uploads: declare one and get a presigned POST for it; see how far it is and fetch what was made of it."""

from typing import Annotated, Any, Protocol
from uuid import uuid4

from fastapi import APIRouter, Query, Request

from ingest_api.auth import Authenticator, Caller
from ingest_api.catalog_calls import available
from ingest_api.composition import decode_media_cursor, encode_cursor
from ingest_api.errors import ApiError, not_found
from ingest_api.manifest import Manifests
from ingest_api.media_answers import MediaAnswer, MediaDeclaration, MediaDeclared, MediaPage, Upload
from ingest_api.routes.access import Access, QueriedCustomerId
from ingest_api.routes.parameters import Cursor
from kinstream.catalog import MediaRepository, NewItem
from kinstream.catalog.keys import original_key
from kinstream.catalog.limits import MediaSettings
from kinstream.events import format_time_ms
from kinstream.resources import BUCKET_UPLOADS

_MAX_PAGE = 100


class Presigner(Protocol):
    """What this needs of boto3's S3 client; signing makes no call."""

    def generate_presigned_post(self, **options: Any) -> dict[str, Any]:
        """A URL and form fields."""


def media_router(
    catalog: MediaRepository,
    s3: Presigner,
    manifests: Manifests,
    settings: MediaSettings,
    authenticator: Authenticator,
) -> APIRouter:
    """Routes under `/v1/media`. They block on the catalog, so FastAPI runs them in its threads."""
    router = APIRouter(prefix="/v1/media", tags=["media"])
    access = Access(authenticator)

    @router.post("", status_code=201, summary="Declare an upload")
    def declare(body: MediaDeclaration, caller: Annotated[Caller, access.declarer]) -> MediaDeclared:
        """Answers a presigned POST that takes one file of this type, no larger than declared."""
        caller.require_customer(body.customer_id)
        kind = body.kind or body.content_type.partition("/")[0]
        most = settings.media_max_bytes(kind)
        if body.bytes > most:
            raise ApiError(413, "too_large", f"bytes: a file of kind {kind} may have at most {most:,}")
        media_id = uuid4().hex
        new = NewItem(caller.app, media_id, body.customer_id, kind, body.content_type, body.bytes)
        available(catalog.declare, new)
        item = available(catalog.get, caller.app, media_id)
        assert item is not None
        post = _presigned_post(s3, settings, caller.app, media_id, body)
        expires_at_ms = item.created_at_ms + settings.media_upload_expiry_seconds * 1000
        return MediaDeclared(
            media_id=media_id,
            upload=Upload(url=post["url"], fields=post["fields"]),
            expires_at=format_time_ms(expires_at_ms),
        )

    @router.get("/{media_id}", summary="State and renditions of an upload")
    def read(request: Request, media_id: str, caller: Annotated[Caller, access.reader]) -> MediaAnswer:
        """`state` is declared, uploaded, processing, ready or failed."""
        item = available(catalog.get, caller.app, media_id)
        if item is None:
            raise not_found("this media item")
        caller.require_customer(item.customer_id, "this media item")
        return manifests.of(item, request)

    @router.get("", summary="Uploads of a customer")
    def page(
        request: Request,
        caller: Annotated[Caller, access.queried_customer],
        customer_id: QueriedCustomerId,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
        cursor: Cursor = None,
    ) -> MediaPage:
        """Newest first. `next` leads to the next page and is null on the last one."""
        before = decode_media_cursor(cursor) if cursor else None
        items = available(catalog.of_customer, caller.app, customer_id, limit + 1, before)
        shown = items[:limit]
        more = encode_cursor(shown[-1].created_at_ms, shown[-1].media_id) if len(items) > limit else None
        return MediaPage(media=[manifests.of(item, request) for item in shown], next=more)

    return router


def _presigned_post(
    s3: Presigner, settings: MediaSettings, app: str, media_id: str, body: MediaDeclaration
) -> dict[str, Any]:
    # The key and the type are bound to these values, the length to at most what was declared.
    return s3.generate_presigned_post(
        Bucket=settings.names.of(BUCKET_UPLOADS),
        Key=original_key(app, media_id),
        Fields={"Content-Type": body.content_type},
        Conditions=[{"Content-Type": body.content_type}, ["content-length-range", 1, body.bytes]],
        ExpiresIn=settings.media_upload_expiry_seconds,
    )
