"""A file through the API: declared, sent to storage, waited for."""

import asyncio
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kinstream.errors import PermanentError
from kinstream_devkit.demo.client import DemoClient
from kinstream_devkit.media_types import content_type_of

FINAL_STATES = frozenset({"ready", "failed"})

_POLL_SECONDS = 0.4

Heard = Callable[[dict[str, Any]], None]
"""Hears what the API says of an item, each time that it is asked."""


def path_of(media_id: str) -> str:
    """Path of an item, whatever somebody typed for its id."""
    return f"/v1/media/{quote(media_id, safe='')}"


async def send_file(
    client: DemoClient,
    path: Path,
    customer_id: str,
    *,
    content_type: str | None = None,
    on_sent: Callable[[int], None] = lambda sent_bytes: None,
) -> str:
    """Declare a file and send it; its media id. `on_sent` hears how many bytes have gone.

    PermanentError, in words, for what is no media file, for an empty file and for one that is refused.
    """
    declared = _declaration(path, customer_id, content_type)
    answer = await client.post("/v1/media", declared)
    upload = answer["upload"]
    with _Counted(path, on_sent) as file:
        await client.upload(upload["url"], upload["fields"], path.name, file, declared["content_type"])
    return str(answer["media_id"])


async def wait_until_final(
    client: DemoClient, media_id: str, within_seconds: float, heard: Heard = lambda item: None
) -> dict[str, Any]:
    """The item once it is ready or failed, or as it is when the time is up."""
    deadline = time.monotonic() + within_seconds
    while True:
        item = await client.get(path_of(media_id))
        heard(item)
        if item["state"] in FINAL_STATES or time.monotonic() > deadline:
            return item
        await asyncio.sleep(_POLL_SECONDS)


def _declaration(path: Path, customer_id: str, content_type: str | None) -> dict[str, Any]:
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise PermanentError("it is empty")
    kind = content_type or content_type_of(path)
    if kind is None:
        raise PermanentError(
            "neither its content nor its name tells a video, a photo or a sound recording; "
            "name its content type if it is one"
        )
    return {"customer_id": customer_id, "content_type": kind, "bytes": size_bytes}


class _Counted(io.FileIO):
    """A file that tells how far it has been read: begun anew after a break, it tells that too."""

    def __init__(self, path: Path, on_read: Callable[[int], None]) -> None:
        super().__init__(path)
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._on_read(self.tell())
        return data or b""
