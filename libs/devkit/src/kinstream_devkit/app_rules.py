"""Writes and reads the rules of apps in the registry: what `kinstream privacy` and `schemas` do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from ingest_api.rules import Rules
from ingest_api.schemas import compile_schema
from kinstream import keys
from kinstream.app_rules import MAX_SCHEMAS, AppRules, Privacy, rules_of_row, schema_version
from kinstream.dynamo import attribute, from_item, to_item, to_key
from kinstream.errors import PermanentError, RetryableError
from kinstream.events import EventType
from kinstream.resources import TABLE_REGISTRY, Names


@dataclass(frozen=True, slots=True)
class SchemaRow:
    """A schema as the registry holds it."""

    event_type: str
    version: str
    text: str


class RuleBook:
    """The registry's rules. Every call may be repeated; each change is one step for a reader."""

    def __init__(self, dynamodb: Any, names: Names) -> None:
        self._dynamodb = dynamodb
        self._table = names.of(TABLE_REGISTRY)

    def rules_of(self, app: str) -> AppRules:
        """The app's rules; all of them are off where nothing was laid down."""
        row = self._get(keys.app_rules(app))
        return rules_of_row(row) if row else AppRules()

    def compiled(self, app: str) -> Rules:
        """The same as ingest-api applies them."""
        stored = self.rules_of(app)
        return Rules(stored, {name: compile_schema(self.schema(app, name).text) for name in stored.schemas})

    def set_privacy(self, app: str, privacy: Privacy) -> None:
        """Replace the privacy switches; PermanentError where a name cannot be one."""
        privacy = _checked(privacy)
        self._update(app, "privacy", ":value", msgspec.to_builtins(privacy))

    def set_rate(self, app: str, events_per_second: int | None) -> None:
        """Replace the app's own limit; None takes it back."""
        self._update(app, "events_per_second", ":value", events_per_second)

    def schema(self, app: str, event_type: str) -> SchemaRow:
        """The schema of a type; PermanentError where it has none."""
        row = self._get(keys.event_schema(app, event_type))
        if row is None:
            raise PermanentError(
                f"app {app} has no schema for {event_type}; `kinstream schemas list --app {app}` shows them"
            )
        return SchemaRow(row["type"], row["version"], row["schema"])

    def put_schema(self, app: str, event_type: str, text: str) -> str:
        """Lay down the schema of a type and return its version; PermanentError where it is none."""
        _check_type(event_type)
        compile_schema(text)
        version = schema_version(text)
        # The map must be there before something can be put into it.
        self._update(app, "schemas", "if_not_exists(#name, :value)", {})
        pointer = self._pointer(app, event_type, "SET #schemas.#type = :version")
        pointer["ExpressionAttributeValues"] = {":version": {"S": version}, ":most": {"N": str(MAX_SCHEMAS)}}
        pointer["ConditionExpression"] = "attribute_exists(#schemas.#type) OR size(#schemas) < :most"
        row = {"type": event_type, "version": version, "schema": text}
        put = {"TableName": self._table, "Item": to_key(keys.event_schema(app, event_type)) | to_item(row)}
        with _answering():
            try:
                self._dynamodb.transact_write_items(TransactItems=[{"Update": pointer}, {"Put": put}])
            except self._dynamodb.exceptions.TransactionCanceledException as error:
                codes = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
                if "ConditionalCheckFailed" not in codes:
                    raise
                raise PermanentError(
                    f"app {app} has {MAX_SCHEMAS} schemas, which is the limit; delete one first"
                ) from error
        return version

    def delete_schema(self, app: str, event_type: str) -> None:
        """Take back the schema of a type; PermanentError where it has none."""
        self.schema(app, event_type)
        pointer = self._pointer(app, event_type, "REMOVE #schemas.#type")
        row = {"TableName": self._table, "Key": to_key(keys.event_schema(app, event_type))}
        with _answering():
            self._dynamodb.transact_write_items(TransactItems=[{"Update": pointer}, {"Delete": row}])

    def _pointer(self, app: str, event_type: str, expression: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": to_key(keys.app_rules(app)),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {"#schemas": "schemas", "#type": event_type},
        }

    def _update(self, app: str, name: str, expression: str, value: Any) -> None:
        with _answering():
            self._dynamodb.update_item(
                TableName=self._table,
                Key=to_key(keys.app_rules(app)),
                UpdateExpression=f"SET #name = {expression}",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": attribute(value)},
            )

    def _get(self, key: keys.Key) -> dict[str, Any] | None:
        with _answering():
            answer = self._dynamodb.get_item(TableName=self._table, Key=to_key(key), ConsistentRead=True)
        return from_item(answer["Item"]) if "Item" in answer else None


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise RetryableError(f"the registry does not answer; does the stack still run? ({error})") from error


def _checked(privacy: Privacy) -> Privacy:
    names = sorted({name for spelled in privacy.deny if (name := spelled.strip(" .").casefold())})
    try:
        return msgspec.convert(
            msgspec.to_builtins(msgspec.structs.replace(privacy, deny=tuple(names))), Privacy
        )
    except msgspec.ValidationError as error:
        raise PermanentError(f"these privacy switches cannot be: {error}") from error


def _check_type(event_type: str) -> None:
    try:
        msgspec.convert(event_type, EventType)
    except msgspec.ValidationError as error:
        raise PermanentError(
            f"{event_type} is no event type: one looks like noun.past_verb in lower case, say content.viewed"
        ) from error
