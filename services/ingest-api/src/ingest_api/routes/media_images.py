"""Pictures of any size, made when they are first asked for: by signed URLs, so that nobody orders at will."""

from collections.abc import AsyncGenerator
from hashlib import blake2b
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ingest_api.auth import Authenticator, Caller
from ingest_api.catalog_calls import from_catalog
from ingest_api.derived_files import DerivedFiles
from ingest_api.errors import ApiError, not_found
from ingest_api.routes.access import Access
from ingest_api.routes.links import LifeSeconds, Links, signed_by
from ingest_api.url_signing import Signed
from ingest_api.variants import Variants, Wanted
from kinstream.catalog import MediaRepository, Rendition
from kinstream.catalog.variants import (
    DEFAULT_FIT,
    DEFAULT_FORMAT,
    DEFAULT_QUALITY,
    MAX_SIDE,
    Fit,
    ImageFormat,
    VariantSpec,
)
from kinstream.errors import PermanentError
from kinstream.events import format_time_ms

_FOR_EVER = "public, max-age=31536000, immutable"
"""A variant is what its address says, and never becomes another."""
_MOST_URLS = 100


class ImageSpec(BaseModel):
    """A picture in a box of `w` by `h` pixels, one of which may be left open; never larger than the photo."""

    w: int | None = Field(None, ge=1, le=MAX_SIDE, description="Pixels")
    h: int | None = Field(None, ge=1, le=MAX_SIDE, description="Pixels")
    fit: Fit = Field(DEFAULT_FIT, description="`cover` crops, `contain` adds a margin, to fill the box")
    format: ImageFormat = DEFAULT_FORMAT
    q: int = Field(DEFAULT_QUALITY, ge=1, le=100, description="Quality")

    @property
    def spec(self) -> VariantSpec:
        """The variant; ApiError 422 where it is none."""
        try:
            return VariantSpec(self.w, self.h, self.fit, self.format, self.q)
        except PermanentError as error:
            raise ApiError(422, "invalid_request", str(error), [{"field": "w"}]) from error


class _Wish(ImageSpec):
    model_config = ConfigDict(extra="forbid")


class ImageUrlsBody(BaseModel):
    """The pictures that URLs are wanted for."""

    model_config = ConfigDict(extra="forbid")

    images: list[_Wish] = Field(min_length=1, max_length=_MOST_URLS)
    expires_in_seconds: LifeSeconds | None = None


class ImageUrl(BaseModel):
    """One of them, under the name that its file has."""

    name: str
    url: str


class ImageUrls(BaseModel):
    """In the order in which they were asked for."""

    images: list[ImageUrl]
    expires_at: str


def media_images_router(
    catalog: MediaRepository,
    variants: Variants,
    files: DerivedFiles,
    links: Links,
    authenticator: Authenticator,
) -> APIRouter:
    """The routes of pictures on demand."""
    router = APIRouter(prefix="/v1/media/{media_id}", tags=["media"])
    access = Access(authenticator)

    async def image(
        request: Request,
        media_id: str,
        url: Annotated[Signed, signed_by(links.signer)],
        wish: Annotated[ImageSpec, Query()],
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Made at the first request, which may take seconds, and kept. 503 with `Retry-After` where it takes
        longer: it goes on being made. Sign the URL by yourself, or get it from `POST .../image-urls`."""
        made = await variants.get(Wanted(url.app, media_id, wish.spec))
        headers = {
            "Cache-Control": _FOR_EVER,
            "ETag": _etag(media_id, made),
            "X-Content-Type-Options": "nosniff",
        }
        if if_none_match is not None and _names(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            headers["Content-Length"] = str(made.size_bytes)
            return Response(headers=headers, media_type=made.content_type)
        size_bytes, pieces = await files.open(made.object_key)
        headers["Content-Length"] = str(size_bytes)
        return _File(pieces, headers, made.content_type)

    router.add_api_route(
        "/image",
        image,
        methods=["GET"],
        summary="A picture of any size",
        response_class=Response,
        responses={
            200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
            304: {"description": "What If-None-Match names is still right"},
        },
    )
    router.add_api_route("/image", image, methods=["HEAD"], include_in_schema=False)

    @router.post("/image-urls", summary="Signed URLs of pictures of any size")
    async def image_urls(
        request: Request, media_id: str, body: ImageUrlsBody, caller: Annotated[Caller, access.reader]
    ) -> ImageUrls:
        """Nothing is made before somebody fetches it."""
        item = await from_catalog(catalog.get, caller.app, media_id)
        if item is None:
            raise not_found("this media item")
        caller.require_customer(item.customer_id, "this media item")
        expires = links.expiry(body.expires_in_seconds)
        path = f"/v1/media/{media_id}/image"
        return ImageUrls(
            images=[
                ImageUrl(name=spec.name, url=links.make(request, caller.app, path, expires, **_query(spec)))
                for spec in (wish.spec for wish in body.images)
            ],
            expires_at=format_time_ms(expires * 1000),
        )

    return router


class _File(StreamingResponse):
    """A file in pieces, closed however the sending ends."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], headers: dict[str, str], media_type: str) -> None:
        super().__init__(pieces, headers=headers, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()


def _query(spec: VariantSpec) -> dict[str, object]:
    sides = {name: side for name, side in (("w", spec.width), ("h", spec.height)) if side is not None}
    return {**sides, "fit": spec.fit, "format": spec.format, "q": spec.quality}


def _etag(media_id: str, made: Rendition) -> str:
    identity = f"{media_id}/{made.name}/{made.size_bytes}"
    return f'"{blake2b(identity.encode(), digest_size=12).hexdigest()}"'


def _names(if_none_match: str, etag: str) -> bool:
    told = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return etag in told or "*" in told
