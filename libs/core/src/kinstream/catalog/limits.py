"""Limits of an upload: the API holds clients to them, the worker holds files to them."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from kinstream.catalog.preparing import parsed
from kinstream.errors import PermanentError
from kinstream.settings import CoreSettings

MediaKind = Literal["video", "image", "audio"]


class MediaSettings(CoreSettings):
    """Settings of whoever takes uploads or works on them."""

    media_max_video_bytes: int = Field(2 * 1024**3, gt=0)
    media_max_image_bytes: int = Field(64 * 1024**2, gt=0)
    media_max_audio_bytes: int = Field(512 * 1024**2, gt=0)
    media_upload_expiry_seconds: int = Field(900, ge=60, le=86_400)
    """For how long a presigned upload is taken."""
    media_url_expiry_seconds: int = Field(3_600, ge=60, le=604_800)
    """For how long the URL of a rendition works."""

    @field_validator("catalog_url")
    @classmethod
    def _names_a_database(cls, url: SecretStr) -> SecretStr:
        try:
            if url.get_secret_value():
                parsed(url.get_secret_value())
        except PermanentError as error:
            raise ValueError(str(error)) from None
        return url

    def media_max_bytes(self, kind: str) -> int:
        """The largest file of a kind of media."""
        return {
            "video": self.media_max_video_bytes,
            "image": self.media_max_image_bytes,
            "audio": self.media_max_audio_bytes,
        }[kind]
