"""The API key of a request, and keeping keys out of what is stored. Pure."""

import base64
import binascii
from collections.abc import Iterable, Mapping

import msgspec

from ingest_api.admission import Item, Refused
from ingest_api.judgement import UNDECODABLE

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def of_header(headers: Mapping[bytes, bytes]) -> str | None:
    """The key of a Bearer, or the user name of Basic; goes before any key within the body."""
    scheme, _, rest = headers.get(b"authorization", b"").strip().partition(b" ")
    try:
        if scheme.lower() == b"basic":
            rest, _, _ = base64.b64decode(rest.strip(), validate=True).partition(b":")
        return rest.strip().decode() or None
    except (UnicodeDecodeError, binascii.Error):
        return None


def kept_out(items: Iterable[Item], used: str | None, *names: str) -> list[Item]:
    """`items`, the refused among them without the fields `names` and without the key that was used."""
    return [_without(item, used, names) if isinstance(item, Refused) else item for item in items]


def _without(item: Refused, used: str | None, names: Iterable[str]) -> Refused:
    original = item.original
    try:
        fields = _decode_fields(original)
        if not fields.keys().isdisjoint(names):
            original = msgspec.json.encode({k: raw for k, raw in fields.items() if k not in names})
    except UNDECODABLE:
        # It is kept as it came, though nobody can tell its fields.
        pass
    if used:
        original = original.replace(b'"%b"' % used.encode(), b'""')
    return item._replace(original=original)
