"""What kind of file something is, as a content type: by its first bytes, then by its name."""

import mimetypes
from pathlib import Path

_HEAD_BYTES = 64

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"\x1aE\xdf\xa3", "video/x-matroska"),
    (b"#!AMR-WB", "audio/amr-wb"),
    (b"#!AMR", "audio/amr"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
)
_RIFF = {b"AVI ": "video/x-msvideo", b"WAVE": "audio/wav", b"WEBP": "image/webp"}
_BRANDS = (
    (b"3gp", "video/3gpp"),
    (b"3g2", "video/3gpp2"),
    (b"qt", "video/quicktime"),
    (b"M4A", "audio/mp4"),
    (b"M4B", "audio/mp4"),
    (b"avi", "image/avif"),
    (b"hei", "image/heic"),
    (b"hev", "image/heic"),
    (b"mif1", "image/heif"),
    (b"msf1", "image/heif"),
)
_SUFFIXES = {
    # What Python's table lacks, or has only where the system has a table of its own.
    ".3gp": "video/3gpp",
    ".3gpp": "video/3gpp",
    ".3g2": "video/3gpp2",
    ".amr": "audio/amr",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".ts": "video/mp2t",
    ".webm": "video/webm",
    ".webp": "image/webp",
}
_CONTAINERS_OF_BOTH = {"video/mp4", "video/x-matroska", "audio/ogg", "video/3gpp", "video/3gpp2"}
"""Their first bytes do not tell sound from video; a name that tells more of the same is believed."""
_MEDIA = ("video", "image", "audio")


def content_type_of(path: Path) -> str | None:
    """Content type of a video, photo or sound recording; None for what looks like none of them.

    The first bytes win over the name: a photo that is called .mp4 is a photo. A name alone is believed where
    the bytes say nothing.
    """
    with path.open("rb") as file:
        seen = content_type_in(file.read(_HEAD_BYTES))
    named = _from_name(path)
    if seen is None or (seen in _CONTAINERS_OF_BOTH and named and not named.startswith("image/")):
        return named
    return seen


def content_type_in(head: bytes) -> str | None:
    """What a file's first bytes tell; None where they tell nothing."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return next((kind for start, kind in _BRANDS if brand.startswith(start)), "video/mp4")
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def _from_name(path: Path) -> str | None:
    suffix = path.suffix.lower()
    found = _SUFFIXES.get(suffix) or mimetypes.guess_type(f"x{suffix}")[0]
    return found if found and found.partition("/")[0] in _MEDIA else None
