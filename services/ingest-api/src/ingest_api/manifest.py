"""An item as the API tells it: what it is, how far it is, and a URL for everything made of it."""

from collections.abc import Iterable

from fastapi import Request

from ingest_api.derived_files import DerivedFiles
from ingest_api.media_answers import MediaAnswer, MissingAnswer, RenditionAnswer, SourceAnswer
from ingest_api.routes.links import Links
from kinstream.catalog import Item, Rendition
from kinstream.events import format_time_ms

_INNER_KINDS = frozenset({"hls-playlist", "hls-media", "storyboard-sprite"})
"""Of files that other files of the item lead to, and that are of no use without those."""
_LEADING_KINDS = frozenset({"hls", "storyboard"})
"""Of files that name others: this API serves them, with URLs for the names."""


class Manifests:
    """Answers about items. Links in them live for as long as the settings say."""

    def __init__(self, files: DerivedFiles, links: Links, url_life_seconds: int) -> None:
        self._files = files
        self._links = links
        self._url_life_seconds = url_life_seconds

    def of(self, item: Item, request: Request) -> MediaAnswer:
        """The item, as the client that sends this request can fetch its files."""
        expires = self._links.expiry()
        return MediaAnswer(
            media_id=item.media_id,
            customer_id=item.customer_id,
            state=item.state,
            progress=item.progress,
            reason=item.reason,
            created_at=format_time_ms(item.created_at_ms),
            source=None if item.facts is None else SourceAnswer.model_validate(item.facts),
            placeholder=_placeholder(item.renditions),
            missing=[MissingAnswer(name=one.name, reason=one.reason) for one in item.missing],
            renditions=[self._rendition(item, made, request, expires) for made in _shown(item.renditions)],
        )

    def _rendition(self, item: Item, made: Rendition, request: Request, expires: int) -> RenditionAnswer:
        if made.kind in _LEADING_KINDS:
            path = f"/v1/media/{item.media_id}/files/{made.file_name}"
            url = self._links.make(request, item.app, path, expires)
        else:
            url = self._files.url(made.object_key, self._url_life_seconds)
        return RenditionAnswer(
            name=made.name,
            kind=made.kind,
            url=url,
            content_type=made.content_type,
            width=made.width,
            height=made.height,
            duration_seconds=made.duration_seconds,
            bytes=made.size_bytes,
            codecs=made.codecs,
            detail=made.detail,
        )


def _shown(renditions: Iterable[Rendition]) -> list[Rendition]:
    return [made for made in renditions if made.kind not in _INNER_KINDS]


def _placeholder(renditions: Iterable[Rendition]) -> str | None:
    return next((made.detail["thumbhash"] for made in renditions if "thumbhash" in made.detail), None)
