"""Writes pictures as renditions."""

from pathlib import Path
from typing import Any

from media_worker.codecs.images import Picture
from media_worker.domain.photos import QUALITIES, SavedFormat
from media_worker.domain.recipes import Made

_ENDINGS: dict[SavedFormat, str] = {"jpeg": "jpg", "webp": "webp", "avif": "avif", "png": "png"}


def save(
    picture: Picture,
    folder: Path,
    name: str,
    form: SavedFormat,
    *,
    quality: int | None = None,
    detail: dict[str, Any] | None = None,
) -> Made:
    """The rendition of this name, as a file of the same name."""
    file_name = f"{name}.{_ENDINGS[form]}"
    picture.save(folder / file_name, form, quality or QUALITIES[form])
    return Made(name, "image", file_name, f"image/{form}", picture.width, picture.height, detail=detail or {})
