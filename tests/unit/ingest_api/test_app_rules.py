"""How rules are remembered: one read at a time, the last good ones when the registry is away."""

import asyncio

import pytest

from ingest_api.app_rules import MISSING, RulesProvider, RulesTable
from ingest_api.errors import ApiError
from ingest_api.rules import Rules
from kinstream.app_rules import AppRules, schema_version
from kinstream.dynamo import to_item
from kinstream.errors import RetryableError
from kinstream.resources import Names

SECONDS = 10.0


class Registry:
    """Answers from memory, counts how often it is asked, and may be away."""

    def __init__(self):
        self.now = 0.0
        self.asked = []
        self.away = False
        self.rules = {"strict": Rules(AppRules(events_per_second=5), {})}

    async def read(self, app, last):
        self.asked.append((app, last))
        await asyncio.sleep(0)
        if self.away:
            raise RetryableError("the registry does not answer")
        return self.rules.get(app)

    def provider(self):
        return RulesProvider(self.read, SECONDS, lambda: self.now)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_app_without_rules_is_read_once_and_then_known():
    registry = Registry()
    provider = registry.provider()
    assert provider.known("plain") is MISSING
    assert await provider.of("plain") is None
    assert provider.known("plain") is None
    assert await provider.of("plain") is None
    assert registry.asked == [("plain", None)]


async def test_callers_who_wait_at_the_same_time_share_one_read():
    registry = Registry()
    provider = registry.provider()
    asking = [asyncio.create_task(provider.of("strict")) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [registry.rules["strict"]] * 19
    assert len(registry.asked) == 1


async def test_a_change_counts_within_the_seconds_of_the_cache_and_a_busy_app_does_not_wait_for_it():
    registry = Registry()
    provider = registry.provider()
    first = await provider.of("strict")
    registry.rules["strict"] = second = Rules(AppRules(events_per_second=9), {})
    registry.now = 0.6 * SECONDS
    assert provider.known("strict") is first
    await settle()
    assert provider.known("strict") is second
    # What it had is handed down, so that it need not be compiled again.
    assert registry.asked == [("strict", None), ("strict", first)]
    registry.now += SECONDS
    assert provider.known("strict") is MISSING


async def test_the_last_rules_stay_while_the_registry_is_away():
    registry = Registry()
    provider = registry.provider()
    strict = await provider.of("strict")
    await provider.of("plain")
    registry.away, registry.now = True, 5 * SECONDS
    assert await provider.of("strict") is strict
    assert await provider.of("plain") is None
    # And not every request asks.
    assert provider.known("strict") is strict
    with pytest.raises(ApiError) as refused:
        await provider.of("never read")
    assert refused.value.status == 503
    assert "Retry-After" in refused.value.headers
    registry.away = False
    assert await provider.of("never read") is None


async def test_what_is_under_way_ends_with_the_provider():
    registry = Registry()
    provider = registry.provider()
    waiting = asyncio.create_task(provider.of("strict"))
    await asyncio.sleep(0)
    await provider.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


class Table:
    """DynamoDB as far as RulesTable asks it: one row of rules, and rows of schemas."""

    def __init__(self, rules, *schemas):
        self.rules, self.schemas = rules, schemas

    async def get_item(self, **_):
        return {"Item": to_item(self.rules)}

    async def batch_get_item(self, RequestItems):  # noqa: N803 - so the client calls it
        (name,) = RequestItems
        return {"Responses": {name: [to_item(row) for row in self.schemas]}}


GOOD_ROW = {"type": "a.b", "schema": "{}"}
POINTER = {"schemas": {"a.b": schema_version("{}")}}
CHANGED = {"schemas": {"a.b": "another version"}}


@pytest.mark.parametrize(
    "table",
    [
        Table(CHANGED, {"schema": "{}"}),
        Table(CHANGED, {"type": "a.b"}),
        Table(CHANGED, {"type": "a.b", "schema": 7}),
        Table(CHANGED, {"type": {"a.b"}, "schema": "{}"}),
        Table(CHANGED, {"type": "a.b", "schema": "nope"}),
        Table({"schemas": ["a.b"]}, GOOD_ROW),
        Table({"privacy": 7}),
    ],
)
async def test_rows_that_cannot_be_read_are_said_and_the_last_rules_stay(table, caplog):
    now = 0.0
    registry = RulesTable(Table(POINTER, GOOD_ROW), Names("t"))
    provider = RulesProvider(registry.read, SECONDS, lambda: now)
    last = await provider.of("a")
    assert list(last.schemas) == ["a.b"]
    registry._dynamodb, now = table, 2 * SECONDS
    assert await provider.of("a") is last
    assert "the rules of an app cannot be read" in caplog.text
    assert "the registry" in caplog.text
    with pytest.raises(ApiError) as refused:
        await provider.of("never read")
    assert refused.value.status == 503


async def test_whatever_fails_in_reading_an_apps_rules_is_no_fault_of_its_requests(caplog):
    registry = Registry()
    provider = registry.provider()
    strict = await provider.of("strict")

    async def broken(app, last):
        raise ZeroDivisionError("kw_secret")

    provider._read, registry.now = broken, 5 * SECONDS
    assert await provider.of("strict") is strict
    with pytest.raises(ApiError) as refused:
        await provider.of("never read")
    assert refused.value.status == 503
    assert "ZeroDivisionError" in caplog.text
