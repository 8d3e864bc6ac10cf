"""An OpenTelemetry collector for tests: takes OTLP over HTTP and keeps what comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kinstream_devkit.embedded.emulator import HOST


class Span(NamedTuple):
    """What the tests look at."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    error: str


@dataclass
class Collector:
    """A running one."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, set[str]] = field(default_factory=dict)
    """Names by service."""

    def named(self, name: str, trace_id: str = "") -> list[Span]:
        """Spans of this name, of one trace or of all."""
        return [one for one in self.spans if one.name == name and one.trace_id.startswith(trace_id)]


@contextmanager
def collector() -> Iterator[Collector]:
    """On a free port, in threads of its own."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                kept.spans += _spans(ExportTraceServiceRequest.FromString(body))
            elif self.path == "/v1/metrics":
                _keep_metrics(kept, ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    kept.url = f"http://{HOST}:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(request: Any) -> Iterator[Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    _attributes(resource.resource)["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    _attributes(span),
                    span.status.message,
                )


def _keep_metrics(kept: Collector, request: Any) -> None:
    for resource in request.resource_metrics:
        names = kept.metrics.setdefault(_attributes(resource.resource)["service.name"], set())
        names |= {metric.name for scope in resource.scope_metrics for metric in scope.metrics}


def _attributes(of: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}
