"""Waiting for a training run, and what it recommends."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from kinstream_devkit.demo.client import DemoClient, customer_path, each
from kinstream_devkit.demo.findings import Comparison, Difference, Recommendations, Recommended

TRAINED_WITHIN_SECONDS = 600.0
LIST_LENGTH = 5

_POLL_SECONDS = 1.5


async def wait_for_model(
    client: DemoClient, customers: Sequence[str], within_seconds: float = TRAINED_WITHIN_SECONDS
) -> Recommendations:
    """Lists of these customers, as soon as a model stands behind all of them or the time is over."""
    started = time.monotonic()
    while True:
        answers = await each(customers, lambda customer: _ask(client, customer))
        sources = {answer["source"] for answer in answers.values()}
        seconds = time.monotonic() - started
        if sources == {"model"} or seconds > within_seconds:
            return _recommendations(answers, seconds)
        await asyncio.sleep(_POLL_SECONDS)


async def ask_once(client: DemoClient, customers: Sequence[str], note: str) -> Recommendations:
    """What is recommended without a model: what is trending. `note` says why there is none."""
    recommendations = await wait_for_model(client, customers, within_seconds=0)
    recommendations.note = note
    return recommendations


async def _ask(client: DemoClient, customer: str) -> dict[str, Any]:
    return await client.get(customer_path(customer, "recommendations"), limit=LIST_LENGTH)


def _recommendations(answers: dict[str, dict[str, Any]], seconds: float) -> Recommendations:
    sources = sorted({answer["source"] for answer in answers.values()})
    lists = {
        customer: [
            Recommended(item["content_id"], item["score"], list(item.get("because") or []))
            for item in answer["items"]
        ]
        for customer, answer in answers.items()
    }
    return Recommendations(source=" and ".join(sources), seconds=seconds, lists=lists)


def compare_recommendations(
    recommendations: Recommendations, viewed: dict[str, list[str]], stories: set[str]
) -> Comparison:
    """Each list comes from the model, and names stories that exist and were not seen yet."""
    differences = []
    if recommendations.source != "model":
        differences.append(Difference("source", "model", recommendations.source))
    for customer, items in recommendations.lists.items():
        found = [item.content_id for item in items]
        if not found:
            differences.append(Difference(customer, "recommended stories", None))
        elif odd := [story for story in found if story in viewed[customer] or story not in stories]:
            differences.append(Difference(customer, "stories that are new to the family", odd))
    return Comparison("recommendation lists", len(recommendations.lists), differences)
