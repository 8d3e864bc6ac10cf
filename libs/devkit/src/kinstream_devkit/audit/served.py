"""What the API answers, which is what everybody sees: asked with a secret key of the app."""

from collections.abc import Callable, Iterable
from typing import Any

from kinstream.events import format_time_ms
from kinstream.generations import space
from kinstream.ledger_format import split_key
from kinstream.resources import TABLE_COUNTERS, Names
from kinstream_devkit.counters import read_generations
from kinstream_devkit.demo.client import DemoClient, content_path, customer_path, each

_PAGE = 1_000

Answer = dict[str, Any]


class Served:
    """Reads results, many at a time. `client` holds the app's key."""

    def __init__(self, client: DemoClient) -> None:
        self._client = client

    async def sessions(self, customers: Iterable[str], from_ms: int, to_ms: int) -> dict[str, list[Answer]]:
        """Sessions by customer that began in that time, `to_ms` itself left out."""
        span = {"from": format_time_ms(from_ms), "to": format_time_ms(to_ms - 1)}

        async def read(customer: str) -> list[Answer]:
            path = customer_path(customer, "sessions")
            pages = self._client.pages(path, "sessions", limit=_PAGE, **span)
            # The API answers sessions that overlap the time, also those that began before it.
            return [answer async for answer in pages if answer["started_at"] >= span["from"]]

        return await each(customers, read)

    async def customers(self, customers: Iterable[str]) -> dict[str, Answer]:
        """Counters by customer."""
        return await each(customers, lambda name: self._client.get(customer_path(name, "counters")))

    async def contents(self, contents: Iterable[str]) -> dict[str, Answer]:
        """Counters by content."""
        return await each(contents, lambda name: self._client.get(content_path(name)))


def counted_for(
    dynamodb: Any, names: Names, app: str, progress: Callable[[int], None] = lambda rows: None
) -> tuple[set[str], set[str]]:
    """(customers, contents) of an app that have counters, which tells of those the archive knows nothing of.

    The API lists neither; this reads the keys of the whole table.
    """
    found: dict[str, set[str]] = {"customer": set(), "content": set()}
    contents = space(app, read_generations(dynamodb, names, "content").served)
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=names.of(TABLE_COUNTERS), ProjectionExpression="pk", ConsistentRead=True
    )
    rows = 0
    for page in pages:
        for item in page["Items"]:
            match split_key(item["pk"]["S"]):
                case [of_app, "customer", name, *_] if of_app == app:
                    found["customer"].add(name)
                case [of_app, "content", name, *_] if of_app == contents:
                    found["content"].add(name)
        rows += len(page["Items"])
        progress(rows)
    return found["customer"], found["content"]
