"""Uploads: declare one and get a presigned POST for it; see how far it is and fetch what was made of it."""

from typing import Annotated, Any, Protocol
from uuid import uuid4

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ingest_api.auth import Authenticator, Caller
from ingest_api.composition import decode_media_cursor, encode_cursor
from ingest_api.errors import ApiError, not_found, unavailable
from ingest_api.routes.access import NO_NUL, Access, QueriedCustomerId
from ingest_api.routes.parameters import Cursor
from kinstream.catalog import Item, MediaRepository, NewItem
from kinstream.catalog.keys import original_key
from kinstream.catalog.limits import MediaKind, MediaSettings
from kinstream.errors import RetryableError
from kinstream.events import format_time_ms
from kinstream.resources import BUCKET_DERIVED, BUCKET_UPLOADS

_MAX_PAGE = 100


class MediaDeclaration(BaseModel):
    """A file that is about to be uploaded."""

    model_config = ConfigDict(extra="forbid")

    customer_id: str = Field(min_length=1, max_length=128, pattern=NO_NUL)
    content_type: str = Field(
        pattern=r"^(video|image|audio)/[A-Za-z0-9][A-Za-z0-9.+_-]{0,99}$", examples=["video/3gpp"]
    )
    bytes: int = Field(ge=1, description="Size of the file; the upload may be smaller, not larger.")
    kind: MediaKind | None = Field(None, description="Taken from the content type when left out.")


class Upload(BaseModel):
    """A presigned POST: send `fields` as form fields, then the file as the last one, named `file`."""

    url: str
    fields: dict[str, str]


class MediaDeclared(BaseModel):
    """Where to send the file, and until when."""

    media_id: str
    upload: Upload
    expires_at: str


class RenditionAnswer(BaseModel):
    """A file made from the upload. `url` works without a key, for a limited time."""

    name: str
    kind: str
    url: str
    content_type: str
    width: int | None
    height: int | None
    duration_seconds: float | None
    bytes: int


class MediaAnswer(BaseModel):
    """An upload, how far it is in percent, and what was made of it. `reason` tells why it failed."""

    media_id: str
    customer_id: str
    state: str
    progress: int
    reason: str | None
    created_at: str
    renditions: list[RenditionAnswer]


class MediaPage(BaseModel):
    """Uploads of a customer, newest first."""

    media: list[MediaAnswer]
    next: str | None


class S3Client(Protocol):
    """What this needs of boto3's S3 client; signing makes no call."""

    def generate_presigned_post(self, **options: Any) -> dict[str, Any]:
        """A URL and form fields."""

    def generate_presigned_url(self, method: str, **options: Any) -> str:
        """A URL."""


def media_router(
    catalog: MediaRepository, s3: S3Client, settings: MediaSettings, authenticator: Authenticator
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
        _available(catalog.declare, new)
        item = _available(catalog.get, caller.app, media_id)
        post = _presigned_post(s3, settings, caller.app, media_id, body)
        expires_at_ms = item.created_at_ms + settings.media_upload_expiry_seconds * 1000
        return MediaDeclared(
            media_id=media_id,
            upload=Upload(url=post["url"], fields=post["fields"]),
            expires_at=format_time_ms(expires_at_ms),
        )

    @router.get("/{media_id}", summary="State and renditions of an upload")
    def read(media_id: str, caller: Annotated[Caller, access.reader]) -> MediaAnswer:
        """`state` is declared, uploaded, processing, ready or failed."""
        item = _available(catalog.get, caller.app, media_id)
        if item is None:
            raise not_found("this media item")
        caller.require_customer(item.customer_id, "this media item")
        return _answer(item, s3, settings)

    @router.get("", summary="Uploads of a customer")
    def page(
        caller: Annotated[Caller, access.queried_customer],
        customer_id: QueriedCustomerId,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
        cursor: Cursor = None,
    ) -> MediaPage:
        """Newest first. `next` leads to the next page and is null on the last one."""
        before = decode_media_cursor(cursor) if cursor else None
        items = _available(catalog.of_customer, caller.app, customer_id, limit + 1, before)
        shown = items[:limit]
        more = encode_cursor(shown[-1].created_at_ms, shown[-1].media_id) if len(items) > limit else None
        return MediaPage(media=[_answer(item, s3, settings) for item in shown], next=more)

    return router


def _presigned_post(
    s3: S3Client, settings: MediaSettings, app: str, media_id: str, body: MediaDeclaration
) -> dict[str, Any]:
    # The key and the type are bound to these values, the length to at most what was declared.
    return s3.generate_presigned_post(
        Bucket=settings.names.of(BUCKET_UPLOADS),
        Key=original_key(app, media_id),
        Fields={"Content-Type": body.content_type},
        Conditions=[{"Content-Type": body.content_type}, ["content-length-range", 1, body.bytes]],
        ExpiresIn=settings.media_upload_expiry_seconds,
    )


def _answer(item: Item, s3: S3Client, settings: MediaSettings) -> MediaAnswer:
    return MediaAnswer(
        media_id=item.media_id,
        customer_id=item.customer_id,
        state=item.state,
        progress=item.progress,
        reason=item.reason,
        created_at=format_time_ms(item.created_at_ms),
        renditions=[
            RenditionAnswer(
                name=made.name,
                kind=made.kind,
                url=s3.generate_presigned_url(
                    "get_object",
                    Params={"Bucket": settings.names.of(BUCKET_DERIVED), "Key": made.object_key},
                    ExpiresIn=settings.media_url_expiry_seconds,
                ),
                content_type=made.content_type,
                width=made.width,
                height=made.height,
                duration_seconds=made.duration_seconds,
                bytes=made.size_bytes,
            )
            for made in item.renditions
        ],
    )


def _available(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except RetryableError as error:
        raise unavailable("the catalog of media cannot be reached now") from error
