"""What the media endpoints take and answer."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ingest_api.routes.access import NO_NUL
from kinstream.catalog.limits import MediaKind


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


class SourceAnswer(BaseModel):
    """What the upload was found to be. Sizes are as it is shown, right way up."""

    format: str
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    codecs: list[str] = []


class MissingAnswer(BaseModel):
    """An extra that could not be made; the item is ready all the same."""

    name: str
    reason: str


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
    codecs: str | None = Field(description="As in RFC 6381, such as avc1.64001f,mp4a.40.2")
    detail: dict[str, Any] = Field(description="What else there is to know, such as a focal point")


class MediaAnswer(BaseModel):
    """An upload, how far it is in percent, and what was made of it. `reason` tells why it failed."""

    media_id: str
    customer_id: str
    state: str
    progress: int
    reason: str | None
    created_at: str
    source: SourceAnswer | None = Field(description="Null until it was looked at")
    placeholder: str | None = Field(description="ThumbHash in base64: what to show until a picture is there")
    missing: list[MissingAnswer]
    renditions: list[RenditionAnswer]


class MediaPage(BaseModel):
    """Uploads of a customer, newest first."""

    media: list[MediaAnswer]
    next: str | None
