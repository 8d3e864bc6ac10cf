"""Waiting until the queues are empty, as an outsider sees it: until the counters say so."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from kinstream_devkit.demo.client import DemoClient, content_path, customer_path, each
from kinstream_devkit.reference.alerts import Alert
from kinstream_devkit.reference.events import Truth

_POLL_SECONDS = 1.0
_LEAST_AT_ONCE, _MOST_AT_ONCE = 8, 128
PATIENCE_SECONDS = 180.0
"""So long nothing may change before the demo stops waiting and compares what is there."""

_K = TypeVar("_K")


async def settle(
    expected: Mapping[_K, int],
    read: Callable[[_K], Awaitable[int]],
    on_progress: Callable[[int], None] = lambda found: None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> bool:
    """Poll until every key shows at least what is expected; False when nothing moved for too long.

    A few keys a second are asked for while the work is under way, so that asking does not slow it; more
    as soon as they turn out to be complete.
    """
    found = dict.fromkeys(expected, 0)
    lacking = [key for key, count in expected.items() if count > 0]
    at_once = _LEAST_AT_ONCE
    moved_at = time.monotonic()
    while lacking:
        before = sum(found.values())
        asked, rest = lacking[:at_once], lacking[at_once:]
        found |= await each(asked, read)
        short = [key for key in asked if found[key] < expected[key]]
        lacking = [*rest, *short]
        total = sum(found.values())
        on_progress(total)
        if total != before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > patience_seconds:
            return False
        at_once = _LEAST_AT_ONCE if short else min(at_once * 2, _MOST_AT_ONCE)
        if short:
            await asyncio.sleep(min(_POLL_SECONDS, patience_seconds))
    return True


async def wait_for_customers(client: DemoClient, truth: Truth, on_progress: Callable[[int], None]) -> bool:
    """Until every customer's counter has every event."""

    async def read(customer: str) -> int:
        answer = await client.get(customer_path(customer, "counters"))
        return int(answer["events"])

    expected = {customer: kinds.total() for customer, kinds in truth.by_type.items()}
    return await settle(expected, read, on_progress)


async def wait_for_contents(client: DemoClient, truth: Truth) -> bool:
    """Until every content's likes and views are as many as they must be."""

    async def read(content: str) -> int:
        answer = await client.get(content_path(content))
        wanted = truth.contents[content]
        return int(answer["views"] == wanted.views and answer["likes"] == wanted.likes)

    return await settle(dict.fromkeys(truth.contents, 1), read)


async def wait_for_alerts(client: DemoClient, alerts: Mapping[str, list[Alert]]) -> bool:
    """Until every customer has as many standing alerts, raised and resolved, as it must have."""

    async def read(customer: str) -> int:
        found = [alert async for alert in standing_alerts(client, customer)]
        return len(found) + sum(alert["resolved_at"] is not None for alert in found)

    expected = {
        customer: len(raised) + sum(alert.resolved_at is not None for alert in raised)
        for customer, raised in alerts.items()
    }
    return await settle(expected, read)


async def standing_alerts(client: DemoClient, customer: str) -> AsyncIterator[dict[str, Any]]:
    """Alerts that later fixes did not withdraw."""
    async for alert in client.pages(customer_path(customer, "alerts"), "alerts"):
        if not alert.get("withdrawn_at"):
            yield alert


async def wait_until_processed(
    client: DemoClient,
    truth: Truth,
    alerts: Mapping[str, list[Alert]],
    on_progress: Callable[[int], None],
) -> bool:
    """Until everything sent has had its effect; False where the patience ended before."""
    done = await wait_for_customers(client, truth, on_progress)
    done = done and await wait_for_contents(client, truth)
    return done and await wait_for_alerts(client, alerts)
