"""The demo against a running stack: send, wait, compare."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from kinstream_devkit.demo import compare
from kinstream_devkit.demo.client import DemoClient
from kinstream_devkit.demo.findings import Comparison, Findings, MediaResult, Recommendations, Sent
from kinstream_devkit.demo.media import MediaFile, compare_media, send_media
from kinstream_devkit.demo.recommend import ask_once, compare_recommendations, wait_for_model
from kinstream_devkit.demo.send import send_events, send_places_and_people
from kinstream_devkit.demo.show import Show
from kinstream_devkit.demo.wait import wait_until_processed
from kinstream_devkit.generate.world import Workload
from kinstream_devkit.reference.alerts import Alert, alerts_of
from kinstream_devkit.reference.events import PASSIVE, Event, Truth, content_of, truth_of

_LISTS = 16
_KEEN_STORIES = 10
_FEW_SESSIONS, _MANY_SESSIONS = 4, 12


@dataclass(frozen=True, slots=True)
class Job:
    """What a run sends and what it must find."""

    source: str
    """What the input is, for people."""
    workload: Workload
    is_generated: bool
    media: list[MediaFile]
    no_model: str | None
    """Why no trained model may be expected; None where one must come."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What must come out."""

    truth: Truth
    alerts: dict[str, list[Alert]]
    viewed: dict[str, list[str]]
    """Stories by customer: what must not be recommended any more."""


async def drive(client: DemoClient, job: Job, show: Show) -> Findings:
    """Everything after the stack is up."""
    deliveries = job.workload.deliveries
    if job.workload.places:
        with show.step(f"telling of {len(job.workload.places)} places and {len(job.workload.people)} people"):
            await send_places_and_people(client, job.workload)
    with show.step("sending events", len(deliveries)) as step:
        sent = await send_events(client, deliveries, step.advance)
    # Of a stranger's file the API says what is good; of our own input we know.
    taken = job.workload.accepted if job.is_generated else [d.event for d in sent.deliveries]
    wanted = await asyncio.to_thread(_wanted, taken, job.workload)
    processed = asyncio.Event()
    media, recommendations, comparisons = await asyncio.gather(
        _media(client, job, show),
        _recommend(client, job, wanted, show, processed),
        _process_and_compare(client, wanted, show, processed),
    )
    if job.is_generated:
        flawed = len(deliveries) - len(job.workload.accepted)
        comparisons.append(compare.compare_rejections(sent, flawed))
    if job.no_model is None:
        stories = set(wanted.truth.contents)
        comparisons.append(compare_recommendations(recommendations, wanted.viewed, stories))
    if media:
        comparisons.append(compare_media(media))
    return _findings(
        job, sent=sent, wanted=wanted, comparisons=comparisons, media=media, recommendations=recommendations
    )


def _wanted(taken: list[Event], workload: Workload) -> _Wanted:
    viewed: dict[str, list[str]] = defaultdict(list)
    for event in taken:
        if event["type"] not in PASSIVE and content_of(event):
            viewed[event["customer_id"]].append(content_of(event))
    return _Wanted(truth_of(taken), alerts_of(taken, workload.places), viewed)


async def _process_and_compare(
    client: DemoClient, wanted: _Wanted, show: Show, processed: asyncio.Event
) -> list[Comparison]:
    """`processed` is set when nothing more is waited for: what is trending can be asked from then on."""
    truth = wanted.truth
    with show.step("waiting until all is counted", truth.events) as step:
        done = await wait_until_processed(client, truth, wanted.alerts, step.reach)
    processed.set()
    if not done:
        show.say("[yellow]nothing has moved for a while; comparing what is there[/yellow]")
    trackers = [customer for customer, kinds in truth.by_type.items() if PASSIVE & kinds.keys()]
    with show.step("comparing every result with the reference"):
        return [
            await compare.compare_sessions(client, truth),
            await compare.compare_customers(client, truth),
            *await compare.compare_contents(client, truth),
            await compare.compare_alerts(client, trackers, wanted.alerts),
        ]


async def _media(client: DemoClient, job: Job, show: Show) -> list[MediaResult]:
    if not job.media:
        return []
    with show.step(f"converting {len(job.media)} media files"):
        return await send_media(client, job.media)


async def _recommend(
    client: DemoClient, job: Job, wanted: _Wanted, show: Show, processed: asyncio.Event
) -> Recommendations:
    # Who has told little about himself gets what everybody likes: nothing to look at.
    keen = [customer for customer, stories in wanted.viewed.items() if len(set(stories)) >= _KEEN_STORIES]
    customers = _spread(sorted(keen or wanted.viewed), _LISTS)
    if not customers:
        return Recommendations()
    if job.no_model is not None:
        await processed.wait()
        return await ask_once(client, customers, job.no_model)
    with show.step("training recommendations"):
        return await wait_for_model(client, customers)


def _spread(names: list[str], count: int) -> list[str]:
    """So many of them, from all over the list."""
    return names[:: max(1, len(names) // count)][:count]


def _findings(
    job: Job,
    *,
    sent: Sent,
    wanted: _Wanted,
    comparisons: list[Comparison],
    media: list[MediaResult],
    recommendations: Recommendations,
) -> Findings:
    showcase = _showcase(wanted, recommendations.lists)
    return Findings(
        source=job.source,
        customers=len(wanted.truth.by_type),
        distinct_events=wanted.truth.events,
        duplicates=job.workload.duplicates,
        late=job.workload.late,
        sent=sent,
        comparisons=comparisons,
        showcase=showcase,
        sessions=wanted.truth.sessions.get(showcase, []),
        alerts=dict(sorted(wanted.alerts.items(), key=lambda named: named[1][0].raised_at)),
        people={(p.customer_id, p.person_id): p.name for p in job.workload.people},
        media=media,
        recommendations=recommendations,
    )


def _showcase(wanted: _Wanted, preferred: Iterable[str]) -> str:
    """A customer with enough sessions to look at, and not more than a screen holds."""
    sessions = wanted.truth.sessions
    fitting = [
        customer
        for customer in (*preferred, *sessions)
        if _FEW_SESSIONS <= len(sessions.get(customer, [])) <= _MANY_SESSIONS
    ]
    return next(iter(fitting), next(iter(sessions), ""))
