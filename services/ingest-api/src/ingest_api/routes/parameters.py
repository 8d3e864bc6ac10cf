"""Parameters that several routes share."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import Path, Query
from pydantic import BeforeValidator


def _decode_segment(segment: str) -> str:
    return unquote(segment, errors="strict")


# The router sees paths as they came, still percent-encoded, so that an id may hold a slash.
_Id = BeforeValidator(_decode_segment)

CustomerId = Annotated[str, _Id, Path(min_length=1, max_length=128)]
AlertId = Annotated[str, _Id, Path(min_length=1, max_length=128)]
PlaceId = Annotated[str, _Id, Path(min_length=1, max_length=128)]
PersonId = Annotated[str, _Id, Path(min_length=1, max_length=128)]
ContentId = Annotated[str, _Id, Path(min_length=1, max_length=128)]

Limit = Annotated[int, Query(ge=1, le=1_000)]
Cursor = Annotated[str | None, Query(max_length=2_048, description="`next` of the page before")]
