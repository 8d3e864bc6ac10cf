"""Whether the process lives, whether it is ready, and its metrics."""

from collections.abc import Callable

from fastapi import APIRouter, Response

from ingest_api.answers import HealthAnswer
from ingest_api.errors import unavailable
from ingest_api.metrics import Metrics


def health_router(is_ready: Callable[[], bool], metrics: Metrics) -> APIRouter:
    """Routes that need no key. `is_ready` turns false as soon as the service begins to stop."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process lives")
    async def healthz() -> HealthAnswer:
        return HealthAnswer(status="ok")

    @router.get("/readyz", summary="Requests may be sent here")
    async def readyz() -> HealthAnswer:
        if not is_ready():
            raise unavailable("starting or stopping", code="not_ready")
        return HealthAnswer(status="ready")

    @router.get("/metrics", summary="Prometheus' text form", response_class=Response)
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
