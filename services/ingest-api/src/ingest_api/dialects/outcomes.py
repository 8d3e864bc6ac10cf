"""What dialects say alike of items that were not taken. Pure."""

from typing import Any

import msgspec

from ingest_api.admission import Refused, Rejection
from ingest_api.dialects import parts
from ingest_api.dialects.base import Outcome, Reading


def counted(reading: Reading, outcome: Outcome, id_field: str) -> dict[str, Any]:
    """The answer that counts what was taken and names what was not; `id_field` holds the client's id."""
    rejected = [_named(reading, rejection, id_field) for rejection in outcome.rejected]
    return {"accepted": outcome.accepted, "rejected": rejected}


def _named(reading: Reading, rejection: Rejection, id_field: str) -> Rejection:
    item = reading.items[rejection.index]
    if rejection.id is not None or not isinstance(item, Refused):
        return rejection
    return msgspec.structs.replace(rejection, id=parts.text_in(item.original, id_field))
