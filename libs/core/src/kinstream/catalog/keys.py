"""Where the files of media items lie in their buckets. Every key begins with the app."""

from urllib.parse import quote, unquote

_ORIGINAL = "original"
_KEY_PARTS = 3


def original_key(app: str, media_id: str) -> str:
    """Key of an upload, in the bucket of uploads."""
    return f"{quote(app, safe='')}/{media_id}/{_ORIGINAL}"


def derived_key(app: str, media_id: str, step: str, attempt: int, file_name: str) -> str:
    """Key of a rendition, in the bucket of derived files: no other attempt at the step writes there."""
    return f"{quote(app, safe='')}/{media_id}/{step}-{attempt}/{file_name}"


def parse_original_key(key: str) -> tuple[str, str] | None:
    """(app, media id) of an upload's key; None for any other key."""
    parts = key.split("/")
    if len(parts) != _KEY_PARTS or parts[2] != _ORIGINAL or not parts[0] or not parts[1]:
        return None
    return unquote(parts[0]), parts[1]
