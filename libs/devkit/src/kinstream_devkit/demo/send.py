"""Everything that goes in: places and people first, then the events by several senders at once."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from kinstream_devkit.demo.client import DemoClient, customer_path, each
from kinstream_devkit.demo.findings import Rejection, Sent
from kinstream_devkit.generate.world import Delivery, Workload

EVENTS_A_REQUEST = 50
SENDERS = 6
_MAX_REQUEST_BYTES = 512 * 1024


async def send_places_and_people(client: DemoClient, workload: Workload) -> None:
    """PUT what the safety processor has to know before the first fix comes."""
    bodies = dict(_requests(workload))
    await each(bodies, lambda path: client.put(path, bodies[path]))


def _requests(workload: Workload) -> Iterator[tuple[str, dict[str, Any]]]:
    for place in workload.places:
        body = {
            "name": place.name,
            "latitude": place.latitude,
            "longitude": place.longitude,
            "radius_m": place.radius_m,
        }
        yield customer_path(place.customer_id, f"places/{place.place_id}"), body
    for person in workload.people:
        path = customer_path(person.customer_id, f"people/{person.person_id}")
        yield path, {"name": person.name, "role": person.role}


async def send_events(
    client: DemoClient, deliveries: Sequence[Delivery], on_progress: Callable[[int], None]
) -> Sent:
    """POST all of them in order, by a handful of senders; each request is resent until it is taken.

    `on_progress` hears how many more events were answered.
    """
    sent = Sent()
    waiting = cut_into_requests(deliveries)
    started = time.monotonic()

    async def sender() -> None:
        # One iterator feeds all senders, so that requests leave in order but arrive as they like.
        for part in waiting:
            answer = await client.send_events(msgspec.json.encode([delivery.event for delivery in part]))
            _note(sent, part, answer)
            on_progress(len(part))

    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    sent.seconds = time.monotonic() - started
    sent.retries.update(client.retries)
    return sent


def cut_into_requests(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """Requests of at most 50 events and half of what the API takes in bytes."""
    part: list[Delivery] = []
    part_bytes = 0
    for delivery in deliveries:
        event_bytes = len(msgspec.json.encode(delivery.event))
        if part and (len(part) == EVENTS_A_REQUEST or part_bytes + event_bytes > _MAX_REQUEST_BYTES):
            yield part
            part, part_bytes = [], 0
        part.append(delivery)
        part_bytes += event_bytes
    if part:
        yield part


def _note(sent: Sent, part: list[Delivery], answer: dict[str, Any]) -> None:
    sent.requests += 1
    rejected = {entry["index"]: entry for entry in answer["rejected"]}
    for index, delivery in enumerate(part):
        entry = rejected.get(index)
        if entry is None:
            sent.deliveries.append(delivery)
        else:
            rejection = Rejection(delivery, entry.get("id"), entry["error"], str(entry.get("detail") or ""))
            sent.rejections.append(rejection)
