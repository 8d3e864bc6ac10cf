"""The composition root: settings are read and clients are built here, and nowhere else."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import redis.asyncio
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.types import ASGIApp

from ingest_api.access_log import AccessLog
from ingest_api.app import build_app
from ingest_api.app_rules import RulesProvider, RulesTable
from ingest_api.auth import Authenticator
from ingest_api.collector import Collector
from ingest_api.derived_files import DerivedFiles
from ingest_api.dialects.cloudevents import CloudEvents
from ingest_api.dialects.posthog import PostHog
from ingest_api.dialects.segment import Segment
from ingest_api.dialects.snowplow import Snowplow
from ingest_api.exposures import Exposures
from ingest_api.live_hub import LiveHub, StreamBounds
from ingest_api.manifest import Manifests
from ingest_api.metrics import Metrics
from ingest_api.publisher import Bounds, Publisher
from ingest_api.quarantine import Quarantine
from ingest_api.rate_limit import Limits, RateLimiter
from ingest_api.readiness import Readiness
from ingest_api.reads import Tables
from ingest_api.recommendation_reads import RecommendationReads
from ingest_api.recommending import Recommender
from ingest_api.routes.content import content_router
from ingest_api.routes.customers import customer_router
from ingest_api.routes.family import family_router
from ingest_api.routes.health import health_router
from ingest_api.routes.links import Links, links_router
from ingest_api.routes.media import media_router
from ingest_api.routes.media_files import media_files_router
from ingest_api.routes.media_images import media_images_router
from ingest_api.routes.stream import stream_router
from ingest_api.server import server as http_server
from ingest_api.session_reads import SessionReads
from ingest_api.settings import IngestSettings
from ingest_api.sns import SnsAddress, SnsTopic
from ingest_api.tokens import token_verifier
from ingest_api.trending import Trending
from ingest_api.uploads_queue import UploadsQueue
from ingest_api.url_signing import UrlSigner, parse_keys
from ingest_api.variants import Variants
from kinstream.aws import AwsClients, CredentialsSource, blocking_client, endpoint
from kinstream.catalog import MediaRepository, open_catalog
from kinstream.clock import now_ms
from kinstream.dynamodb_http import DynamoDbHttp
from kinstream.exporting import exporting
from kinstream.readiness import ReadyFile
from kinstream.resources import (
    BUCKET_DERIVED,
    BUCKET_QUARANTINE,
    QUEUE_UPLOADS,
    TABLE_COUNTERS,
    TABLE_LEDGER,
    TABLE_RECOMMENDATIONS,
    TABLE_RECORDS,
    TABLE_REGISTRY,
    TOPIC_EVENTS,
    Names,
)
from kinstream.settings import read_settings
from kinstream.startup import CATALOG, Check, absent, buckets, queues, reason_of, saying_why, tables, wait_for
from kinstream.telemetry import configure_logging

log = logging.getLogger(__name__)

_ATTEMPTS = 2
_RETRY_PAUSE_SECONDS = 1.0
"""More than a client waits between its attempts."""
_GARBAGE_THRESHOLD = 10_000
"""Objects between two looks for garbage: a request of many events alone makes a thousand."""
_READS_AT_ONCE = 64
_LIVE_PATIENCE = 4
"""How many of Redis' timeouts a stream gives it: it can do nothing without."""


@asynccontextmanager
async def running_app(settings: IngestSettings, readiness: Readiness) -> AsyncIterator[ASGIApp]:
    """The application with its clients, once the dependencies answer; closes them afterwards."""
    names, metrics = settings.names, Metrics()
    signer = UrlSigner(parse_keys(settings.media_url_key.get_secret_value()))
    aws = AwsClients(settings, max_attempts=_ATTEMPTS, read_timeout_seconds=settings.aws_timeout_seconds)
    cache = redis.asyncio.Redis.from_url(
        settings.redis_url,
        socket_timeout=settings.redis_timeout_seconds,
        socket_connect_timeout=settings.redis_timeout_seconds,
    )
    # Never connects again of itself: what was told meanwhile would be missed in silence.
    live = redis.asyncio.Redis.from_url(
        settings.redis_url,
        socket_timeout=_LIVE_PATIENCE * settings.redis_timeout_seconds,
        socket_connect_timeout=_LIVE_PATIENCE * settings.redis_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
    )
    connector = aiohttp.TCPConnector(limit=settings.publish_in_flight + 2)
    async with (
        aws,
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as http,
        # Apart from what publishes, which must not wait for those who read.
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_READS_AT_ONCE)) as reading,
        cache,
        live,
    ):
        s3, sqs = [await aws.open(service) for service in ("s3", "sqs")]
        dynamodb = DynamoDbHttp.of(reading, settings, settings.aws_timeout_seconds)
        topic = _topic(settings, http)
        await wait_for(_needs(topic, dynamodb, s3, names), settings.startup_wait_seconds)
        rows = Tables(dynamodb, names)
        publisher = Publisher(topic.publish, _bounds(settings), metrics)
        metrics.watch_backlog(lambda: publisher.events_waiting, lambda: publisher.bytes_waiting)
        rules = RulesProvider(RulesTable(dynamodb, names).read, settings.key_cache_seconds)
        limiter = RateLimiter(
            cache,
            settings.name_prefix,
            "events",
            Limits(settings.rate_limit_events_per_second, settings.rate_limit_burst_events),
            metrics.rate_limit_unavailable.inc,
            answer_seconds=settings.redis_timeout_seconds,
        )
        reads = RateLimiter(
            cache,
            settings.name_prefix,
            "requests",
            Limits(settings.rate_limit_requests_per_second, settings.rate_limit_burst_requests),
            metrics.rate_limit_unavailable.inc,
            answer_seconds=settings.redis_timeout_seconds,
        )
        authenticator = Authenticator(
            rows.has_key, settings.key_cache_seconds, token_verifier(settings, http), reads
        )
        access_log = AccessLog(settings.access_log_every)
        collector = Collector(
            authenticator=authenticator,
            limiter=limiter,
            rules=rules,
            publisher=publisher,
            quarantine=Quarantine(s3, names.of(BUCKET_QUARANTINE)),
            metrics=metrics,
            access_log=access_log,
            retention_seconds=settings.ledger_retention_seconds,
            body_timeout_seconds=settings.body_timeout_seconds,
            quarantine_timeout_seconds=_ATTEMPTS * settings.aws_timeout_seconds + _RETRY_PAUSE_SECONDS,
            max_receiving_bytes=settings.backlog_max_bytes,
            dialects=[Segment(), Snowplow(), PostHog(), CloudEvents()],
        )
        trending = Trending(rows, cache, settings.name_prefix, settings.trending_cache_seconds)
        exposures = Exposures(publisher.publish)
        recommendations = RecommendationReads(dynamodb, names, settings.recommendation_cache_seconds, now_ms)
        recommender = Recommender(recommendations, trending, exposures)
        sessions = SessionReads(dynamodb, names.of(TABLE_LEDGER))
        catalog = open_catalog(settings.catalog_url.get_secret_value())
        links = Links(signer, settings.public_url, settings.media_url_expiry_seconds)
        presigner = _s3_of_clients(settings)
        files = DerivedFiles(s3, presigner, names.of(BUCKET_DERIVED))
        manifests = Manifests(files, links, settings.media_url_expiry_seconds)
        uploads = UploadsQueue(sqs, names.of(QUEUE_UPLOADS))
        variants = Variants(
            catalog, uploads.send, settings.media_image_wait_seconds, settings.media_max_variants
        )
        hub = LiveHub(live, settings.name_prefix, _stream_bounds(settings))
        readiness.at_the_end(hub.stop)
        readiness.at_the_end(variants.stop)
        routers = [
            customer_router(rows, sessions, recommender, authenticator),
            family_router(rows, authenticator),
            content_router(rows, trending, authenticator),
            media_router(catalog, presigner, manifests, settings, authenticator),
            media_files_router(catalog, files, signer, settings.media_url_expiry_seconds),
            media_images_router(catalog, variants, files, links, authenticator),
            links_router(signer, authenticator),
            stream_router(hub, links, authenticator, settings.stream_heartbeat_seconds),
            health_router(readiness, metrics),
        ]
        telling = asyncio.create_task(_tell_what_media_lacks(catalog, sqs, s3, names))
        readiness.set(True)
        try:
            yield build_app(collector, routers, access_log, settings.traced_share)
        finally:
            readiness.set(False)
            telling.cancel()
            await exposures.close()
            await publisher.close()
            await rules.close()
            await hub.close()
            catalog.close()


def _s3_of_clients(settings: IngestSettings) -> Any:
    """Signs URLs that clients use; is never called itself."""
    url = settings.s3_public_url or settings.aws_endpoint_url
    return blocking_client("s3", settings.model_copy(update={"aws_endpoint_url": url}))


async def serve(settings: IngestSettings) -> None:
    """Run until SIGTERM or SIGINT; requests under way are finished first."""
    readiness = Readiness(ReadyFile(settings.ready_file))
    readiness.set(False)
    async with running_app(settings, readiness) as app:
        server = http_server(
            app,
            settings.http_host,
            settings.http_port,
            settings.shutdown_grace_seconds,
            settings.head_timeout_seconds,
        )

        def stop() -> None:
            readiness.set(False)
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await server.serve()


def main() -> None:
    """Run the service."""
    settings = read_settings(IngestSettings, "ingest-api", "catalog_url", "media_url_key")
    configure_logging("ingest-api", settings.log_level)
    # uvicorn warns of every request that is no HTTP: as many lines as anybody likes to send.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # What lives for as long as the process need not be looked through for garbage again and again.
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    with (
        saying_why("ingest-api"),
        exporting("ingest-api", settings),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(serve(settings))


def _topic(settings: IngestSettings, http: aiohttp.ClientSession) -> SnsTopic:
    arn = settings.names.topic_arn(TOPIC_EVENTS)
    address = SnsAddress(endpoint("sns", settings), settings.aws_region, arn)
    return SnsTopic(http, address, CredentialsSource(settings), settings.aws_timeout_seconds)


def _bounds(settings: IngestSettings) -> Bounds:
    return Bounds(
        backlog_events=settings.backlog_max_events,
        backlog_bytes=settings.backlog_max_bytes,
        linger_seconds=settings.publish_linger_seconds,
        in_flight=settings.publish_in_flight,
    )


def _stream_bounds(settings: IngestSettings) -> StreamBounds:
    return StreamBounds(
        waiting_events=settings.stream_max_waiting_events,
        listeners_of_customer=settings.stream_max_per_customer,
        listeners=settings.stream_max,
        # To connect, and to be told of the subscription.
        answer_seconds=2 * _LIVE_PATIENCE * settings.redis_timeout_seconds,
    )


def _needs(topic: SnsTopic, dynamodb: Any, s3: Any, names: Names) -> Mapping[str, Check]:
    """What events are taken with and reads are answered from. What media alone needs is not of it."""
    looked_up = (TABLE_REGISTRY, TABLE_COUNTERS, TABLE_RECORDS, TABLE_RECOMMENDATIONS)
    return {
        f"topic {names.of(TOPIC_EVENTS)}": topic.check,
        **tables(dynamodb, map(names.of, looked_up)),
        **tables(dynamodb, [names.of(TABLE_LEDGER)], "query"),
        **buckets(s3, [names.of(BUCKET_QUARANTINE)]),
    }


async def _tell_what_media_lacks(catalog: MediaRepository, sqs: Any, s3: Any, names: Names) -> None:
    """Say once what is away at the start that only media needs: meanwhile its requests are answered 503."""
    needs: dict[str, Check] = {
        CATALOG: partial(asyncio.to_thread, catalog.check),
        **queues(sqs, [names.of(QUEUE_UPLOADS)]),
        **buckets(s3, [names.of(BUCKET_DERIVED)]),
    }
    for name, error in (await absent(needs)).items():
        log.warning("media is not served while %s does not answer: %s", name, reason_of(error))


if __name__ == "__main__":
    main()
