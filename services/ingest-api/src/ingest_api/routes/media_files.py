"""Text files that name other files, HLS playlists and WebVTT: each name made a URL that works by itself."""

import asyncio
import math
from functools import cache
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from ingest_api.catalog_calls import from_catalog
from ingest_api.derived_files import DerivedFiles
from ingest_api.errors import not_found
from ingest_api.media_references import TEXT_TYPES, rewritten
from ingest_api.routes.links import signed_by
from ingest_api.url_signing import Signed, UrlSigner
from kinstream.catalog import Item, MediaRepository, Rendition

_FRESH_SECONDS = 60
"""For so long a player may take what it has: the URLs within live longer."""


def media_files_router(
    catalog: MediaRepository, files: DerivedFiles, signer: UrlSigner, url_life_seconds: int
) -> APIRouter:
    """The route, for whoever has a signed URL: players send no headers."""
    router = APIRouter(tags=["media"])

    @router.get(
        "/v1/media/{media_id}/files/{file_name}",
        summary="A playlist, or the cues of a storyboard",
        response_class=Response,
        responses={200: {"content": {kind: {"schema": {"type": "string"}} for kind in TEXT_TYPES.values()}}},
    )
    async def text_file(
        media_id: str,
        file_name: Annotated[str, Path(max_length=128)],
        url: Annotated[Signed, signed_by(signer)],
    ) -> Response:
        """By a URL of `GET /v1/media/{media_id}`. What it names lives as long as URLs do and the item's own
        length beside: a player comes for another size in the middle of the film."""
        item = await from_catalog(catalog.get, url.app, media_id)
        made = _by_file_name(item) if item else {}
        ending = file_name[file_name.rfind(".") :]
        if file_name not in made or ending not in TEXT_TYPES:
            raise not_found("this file")
        text = await files.text(made[file_name].object_key)
        life_seconds = url_life_seconds + math.ceil(max(one.duration_seconds or 0.0 for one in made.values()))
        expires_at_seconds = max(url.expires_at_seconds, signer.expiry(life_seconds))

        # A playlist names one file again and again.
        @cache
        def link(name: str) -> str | None:
            if name not in made:
                return None
            if name.endswith(tuple(TEXT_TYPES)):
                path = f"/v1/media/{media_id}/files/{name}"
                # Beside this one, whatever lies before both.
                return signer.sign(url.app, path, {}, expires_at_seconds).rpartition("/")[2]
            return files.url(made[name].object_key, life_seconds)

        headers = {"Cache-Control": f"private, max-age={_FRESH_SECONDS}"}
        # Of a long film it is large, and events must not wait for it.
        body = await asyncio.to_thread(rewritten, file_name, text, link)
        return Response(body, headers=headers, media_type=TEXT_TYPES[ending])

    return router


def _by_file_name(item: Item) -> dict[str, Rendition]:
    return {made.file_name: made for made in item.renditions}
