"""The rules of apps, as the registry holds them, remembered for a few seconds.

Most apps have none, and ask one read each time that is forgotten. A change counts within the seconds of
the cache; when DynamoDB is away, what was read last goes on counting.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from ingest_api.errors import unavailable
from ingest_api.rules import Rules
from ingest_api.schemas import EventSchema, compile_schema
from kinstream import keys
from kinstream.app_rules import AppRules, rules_of_row
from kinstream.dynamo import from_item, to_key
from kinstream.errors import KinstreamError, PermanentError, RetryableError
from kinstream.resources import TABLE_REGISTRY, Names

log = logging.getLogger(__name__)

_MAX_REMEMBERED = 10_000
_KEYS_A_READ = 100
"""What DynamoDB takes; as many schemas of 64 KiB stay below its 16 MB."""
_READS = 3
_RENEW_FROM = 0.5
"""Of the time in the cache: a busy app's rules are read again before they are forgotten."""


class Missing(Enum):
    """Says that something has to be read first; None says that there is none."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

ReadRules = Callable[[str, Rules | None], Awaitable[Rules | None]]
"""(app, its rules as they were last read) to its rules now; KinstreamError where they cannot be read."""


class _SchemaRow(msgspec.Struct):
    type: str
    schema: str


class RulesProvider:
    """Rules by app: `known` answers at once, `of` waits where it must. Used from one event loop."""

    def __init__(
        self, read: ReadRules, cache_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._seconds = cache_seconds
        self._clock = clock
        self._entries: dict[str, tuple[float, Rules | None]] = {}
        self._reading: dict[str, asyncio.Task[Rules | None]] = {}

    def known(self, app: str) -> Rules | Missing | None:
        """The app's rules, None where it has none, MISSING where `of` has to be asked."""
        entry = self._entries.get(app)
        if entry is None:
            return MISSING
        age = self._clock() - entry[0]
        if age >= self._seconds:
            return MISSING
        if age >= self._seconds * _RENEW_FROM:
            self._begin(app)
        return entry[1]

    async def of(self, app: str) -> Rules | None:
        """The app's rules, None where it has none. ApiError 503 where they were never read and cannot be."""
        found = self.known(app)
        if found is not MISSING:
            return found
        # One caller that gives up must not fail the others that wait for the same answer.
        return await asyncio.shield(self._begin(app))

    async def close(self) -> None:
        """End what is under way."""
        for task in list(self._reading.values()):
            task.cancel()
        await asyncio.gather(*self._reading.values(), return_exceptions=True)

    def _begin(self, app: str) -> asyncio.Task[Rules | None]:
        task = self._reading.get(app)
        if task is None:
            task = self._reading[app] = asyncio.create_task(self._renew(app))
            task.add_done_callback(lambda done: self._ended(app, done))
        return task

    def _ended(self, app: str, task: asyncio.Task[Rules | None]) -> None:
        del self._reading[app]
        if not task.cancelled():
            # Whoever waits has it as well; where nobody does, it must not be reported as forgotten.
            task.exception()

    async def _renew(self, app: str) -> Rules | None:
        entry = self._entries.get(app)
        last = entry[1] if entry else None
        try:
            rules = await self._read(app, last)
        except Exception as error:
            # Whatever it is, it is no fault of the app's requests. Unforeseen errors may quote a row.
            reason = str(error) if isinstance(error, KinstreamError) else type(error).__name__
            log.warning("the rules of an app cannot be read (%s)", reason)
            if entry is None:
                raise unavailable("the app's rules cannot be read now; send the request again") from error
            rules = last
        self._remember(app, rules)
        return rules

    def _remember(self, app: str, rules: Rules | None) -> None:
        self._entries.pop(app, None)
        if len(self._entries) >= _MAX_REMEMBERED:
            del self._entries[next(iter(self._entries))]
        self._entries[app] = (self._clock(), rules)


class RulesTable:
    """Reads rules from the registry. What has not changed is not read or compiled again."""

    def __init__(self, dynamodb: Any, names: Names) -> None:
        self._dynamodb = dynamodb
        self._table = names.of(TABLE_REGISTRY)

    async def read(self, app: str, last: Rules | None = None) -> Rules | None:
        """The app's rules, None where it has none; KinstreamError where they cannot be read."""
        try:
            for _ in range(_READS):
                stored = await self._stored(app)
                if stored == AppRules():
                    return None
                schemas = _unchanged(stored, last)
                texts = await self._texts(app, stored.schemas.keys() - schemas.keys())
                # To compile takes a while that other requests need not wait for.
                schemas |= await asyncio.to_thread(_compiled, texts)
                if {name: schema.version for name, schema in schemas.items()} == stored.schemas:
                    return Rules(stored, schemas)
        except (BotoCoreError, ClientError, OSError) as error:
            raise RetryableError(f"the registry does not answer: {type(error).__name__}") from error
        raise RetryableError("the schemas in the registry are being changed")

    async def _stored(self, app: str) -> AppRules:
        answer = await self._dynamodb.get_item(
            TableName=self._table, Key=to_key(keys.app_rules(app)), ConsistentRead=True
        )
        return rules_of_row(from_item(answer["Item"])) if "Item" in answer else AppRules()

    async def _texts(self, app: str, types: Iterable[str]) -> dict[str, str]:
        wanted = [to_key(keys.event_schema(app, name)) for name in sorted(types)]
        texts: dict[str, str] = {}
        while wanted:
            asked: Any = {self._table: {"Keys": wanted[:_KEYS_A_READ], "ConsistentRead": True}}
            answer = await self._dynamodb.batch_get_item(RequestItems=asked)
            for item in answer["Responses"].get(self._table, []):
                row = _schema_of_row(from_item(item))
                texts[row.type] = row.schema
            left = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            wanted = left + wanted[_KEYS_A_READ:]
        return texts


def _schema_of_row(row: Mapping[str, Any]) -> _SchemaRow:
    try:
        return msgspec.convert(row, _SchemaRow)
    except msgspec.ValidationError as error:
        raise PermanentError(f"a schema in the registry is in a form that is not known: {error}") from error


def _unchanged(stored: AppRules, last: Rules | None) -> dict[str, EventSchema]:
    known = last.schemas if last else {}
    return {name: known[name] for name, version in stored.schemas.items() if _is_of(known, name, version)}


def _is_of(known: Mapping[str, EventSchema], name: str, version: str) -> bool:
    return name in known and known[name].version == version


def _compiled(texts: Mapping[str, str]) -> dict[str, EventSchema]:
    schemas = {}
    for name, text in texts.items():
        try:
            schemas[name] = compile_schema(text)
        except PermanentError as error:
            raise PermanentError(f"the registry's schema for {name} cannot be used: {error}") from error
    return schemas
