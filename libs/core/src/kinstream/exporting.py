"""Where a service's traces and metrics go: an OpenTelemetry collector, by OTLP over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kinstream.settings import CoreSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_AT_ONCE_TIMEOUT_SECONDS = 3.0
"""For who waits for each span of its own to be sent."""

_TIMEOUT_SECONDS = 10.0
"""For threads that nobody waits for until the end; a busy collector has to be able to answer within it."""

_METRICS_EVERY_MS = 30_000


@contextmanager
def exporting(service: str, settings: CoreSettings) -> Iterator[None]:
    """Send what is traced and measured meanwhile to the collector; do nothing where none is set.

    Sent from threads of its own, so not for a process that forks. What waits while the collector is away
    is bounded, and the newest of it is dropped.
    """
    if settings.otlp_endpoint is None:
        yield
        return
    # Here and below: not loaded by who does not need it.
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    traces = _trace(service, settings, settings.otlp_endpoint, BatchSpanProcessor, _TIMEOUT_SECONDS)
    exporter = OTLPMetricExporter(f"{settings.otlp_endpoint}/v1/metrics", timeout=_TIMEOUT_SECONDS)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=_METRICS_EVERY_MS)
    meters = MeterProvider([reader], _resource(service, settings), shutdown_on_exit=False)
    metrics.set_meter_provider(meters)
    try:
        yield
    finally:
        traces.shutdown()
        meters.shutdown()


def export_spans_at_once(service: str, settings: CoreSettings) -> None:
    """From now on send each span when it ends, from the thread in which it does, for a few seconds at most.

    For processes with few spans that fork: a thread of the exporter's would not live on in the child, or
    would be begun anew in one that must have no such thing. Nothing where no collector is set.
    """
    if settings.otlp_endpoint is not None:
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        _trace(service, settings, settings.otlp_endpoint, SimpleSpanProcessor, _AT_ONCE_TIMEOUT_SECONDS)


def _trace(
    service: str,
    settings: CoreSettings,
    url: str,
    process: "Callable[[SpanExporter], SpanProcessor]",
    timeout_seconds: float,
) -> "TracerProvider":
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=_resource(service, settings), shutdown_on_exit=False)
    # A connection that is kept would be shared with children forked later, and answers mixed up.
    exporter = OTLPSpanExporter(f"{url}/v1/traces", timeout=timeout_seconds, headers={"Connection": "close"})
    provider.add_span_processor(process(exporter))
    trace.set_tracer_provider(provider)
    return provider


def _resource(service: str, settings: CoreSettings) -> "Resource":
    from opentelemetry.sdk.resources import Resource

    return Resource.create({"service.name": service, "service.namespace": settings.name_prefix})
