"""What an operator has laid down for one app: its privacy switches, its event schemas, its rate.

The registry table holds them in one row an app, and one row a schema. The first names the version of each
schema, so that a reader who knows a version need not read or compile it again; both rows of a schema are
written in one transaction. An app without rules has no rows.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec

from kinstream.errors import PermanentError

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMAS = 200
"""Of one app."""
MAX_DENIED = 200

DeniedName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Privacy(msgspec.Struct, frozen=True):
    """What of an event is not kept, from before it is stored anywhere.

    `ip`: `truncate` cuts the last octet of an IPv4 address and keeps the first 48 bits of an IPv6 one.
    `deny`: fields to drop, by bare name at any depth or by the end of their dotted path, in any case.
    """

    ip: Literal["keep", "truncate", "drop"] = "keep"
    user_agent: Literal["keep", "drop"] = "keep"
    deny: Annotated[tuple[DeniedName, ...], msgspec.Meta(max_length=MAX_DENIED)] = ()


class AppRules(msgspec.Struct, frozen=True):
    """The row of an app. Reading it again gives the same until somebody changes it."""

    privacy: Privacy = Privacy()
    schemas: dict[str, str] = {}
    """Version of the JSON Schema of each event type that has one; see `schema_version`."""
    events_per_second: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """In place of the deployment's own limit."""

    def to_row(self) -> dict[str, Any]:
        """The row's values, without its key."""
        row: dict[str, Any] = msgspec.to_builtins(self)
        return row


def rules_of_row(row: Mapping[str, Any]) -> AppRules:
    """The rules in a row; PermanentError where a later version, or somebody by hand, wrote another form."""
    try:
        return msgspec.convert(row, AppRules)
    except msgspec.ValidationError as error:
        raise PermanentError(f"the rules in the registry are in a form that is not known: {error}") from error


def schema_version(text: str) -> str:
    """The version of a schema: the same text has the same one."""
    return sha256(text.encode()).hexdigest()[:32]
