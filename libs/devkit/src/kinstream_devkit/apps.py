"""Apps and their API keys in the registry table: what `kinstream keys` does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.clock import now_ms
from kinstream.dynamo import from_item, to_item
from kinstream.errors import PermanentError
from kinstream.registry import ApiKey, KeyKind, create_key, parse_key
from kinstream.resources import TABLE_REGISTRY, Names
from kinstream_devkit.embedded.datadir import DataDir

FIRST_APP = "demo"
KINDS: tuple[KeyKind, ...] = ("write", "secret")

KeyStatus = Literal["absent", "live", "revoked"]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What the registry tells of a key; never its text."""

    app: str
    kind: KeyKind
    hash: str
    created_at_ms: int
    revoked_at_ms: int | None


class Apps:
    """The registry's apps and keys. Every call may be repeated."""

    def __init__(self, dynamodb: Any, names: Names) -> None:
        self._dynamodb = dynamodb
        self._table = names.of(TABLE_REGISTRY)

    def create_app(self, app: str) -> None:
        """Make the app known, if it is not."""
        values = {"app": app, "created_at_ms": now_ms()}
        self._put_if_absent(keys.app(app), values)

    def app_names(self) -> list[str]:
        """Every app."""
        partition, _ = keys.app("")
        return sorted(item["app"] for item in self._query(partition))

    def create(self, app: str, kind: KeyKind) -> str:
        """The text of a new key of the app. It cannot be shown again."""
        text, _ = create_key(app, kind)
        self.register(text)
        return text

    def register(self, text: str) -> None:
        """Make a key known by its text; what is known of it already stays."""
        key = parse_key(text)
        self.create_app(key.app)
        values = {"kind": key.kind, "hash": key.hash, "label": key.label}
        values |= {"created_at_ms": now_ms(), "revoked_at_ms": None}  # type: ignore[dict-item]
        self._put_if_absent(keys.api_key(key.app, key.hash), values)

    def status(self, key: ApiKey) -> KeyStatus:
        """What the registry says of a key."""
        found = [record for record in self.keys_of(key.app) if record.hash == key.hash]
        if not found:
            return "absent"
        return "revoked" if found[0].revoked_at_ms else "live"

    def keys_of(self, app: str) -> list[KeyRecord]:
        """Keys of an app, the oldest first."""
        partition, _ = keys.api_key(app, "")
        records = [
            KeyRecord(app, item["kind"], item["hash"], item["created_at_ms"], item["revoked_at_ms"])
            for item in self._query(partition)
        ]
        return sorted(records, key=lambda record: (record.created_at_ms, record.hash))

    def revoke(self, app: str, hash_prefix: str) -> KeyRecord:
        """Revoke the one live key whose hash begins so; PermanentError where that is not one key."""
        live = [record for record in self.keys_of(app) if not record.revoked_at_ms]
        found = [record for record in live if record.hash.startswith(hash_prefix)]
        if len(found) != 1:
            raise PermanentError(
                f"{len(found)} live keys of app {app} begin with {hash_prefix}; "
                "`kinstream keys list` shows them"
            )
        partition, sort = keys.api_key(app, found[0].hash)
        self._dynamodb.update_item(
            TableName=self._table,
            Key=to_item({"pk": partition, "sk": sort}),
            UpdateExpression="SET revoked_at_ms = :now",
            ExpressionAttributeValues=to_item({":now": now_ms()}),
        )
        return found[0]

    def _put_if_absent(self, key: keys.Key, values: dict[str, Any]) -> None:
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=to_item({"pk": key[0], "sk": key[1], **values}),
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def _query(self, partition: str) -> Iterator[dict[str, Any]]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": partition}),
            ConsistentRead=True,
        )
        for page in pages:
            yield from map(from_item, page["Items"])


def ensure_first_app(apps: Apps, data: DataDir) -> dict[str, str]:
    """`app`, `write_key` and `secret_key` of the first app, the same at every start.

    A registry that has lost them is told again; a key that was revoked is replaced by a new one.
    """
    kept = {"app": FIRST_APP} | data.read_credentials()
    before = dict(kept)
    for kind in KINDS:
        name = f"{kind}_key"
        text = kept.get(name)
        if text and apps.status(parse_key(text)) != "revoked":
            apps.register(text)
        else:
            text, _ = create_key(kept["app"], kind)
            # Kept before it is registered: a start that is cut short in between wastes no key.
            kept[name] = text
            data.write_credentials(kept)
            apps.register(text)
    if kept != before:
        data.write_credentials(kept)
    return kept


def key_kind(text: str) -> KeyKind:
    """The kind that a user named."""
    for kind in KINDS:
        if kind == text:
            return kind
    raise PermanentError(f"{text} is no kind of key; it is one of {', '.join(KINDS)}")
