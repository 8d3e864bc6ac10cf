"""What ingest-api measures of itself, as Prometheus reads it at /metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The service's own registry: two apps in one process (in tests, say) do not share numbers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.accepted = Counter(
            "kinstream_events_accepted",
            "Events acknowledged after SNS confirmed them",
            registry=self._registry,
        )
        self.rejected = Counter(
            "kinstream_events_rejected", "Events not counted, by reason", ["reason"], registry=self._registry
        )
        self.refused = Counter(
            "kinstream_requests_refused",
            "Sending requests answered with an error",
            ["code"],
            registry=self._registry,
        )
        self.publish_seconds = Histogram(
            "kinstream_publish_seconds",
            "Time of one call to SNS",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self._registry,
        )
        self.publish_failures = Counter(
            "kinstream_publish_failures", "Messages that SNS did not confirm", registry=self._registry
        )
        self.repeated = Counter(
            "kinstream_events_repeated",
            "Events of requests that this process had taken shortly before: they count once all the same",
            registry=self._registry,
        )
        self.rate_limit_unavailable = Counter(
            "kinstream_rate_limit_unavailable",
            "Requests that passed without a limit because Redis did not answer",
            registry=self._registry,
        )
        self._backlog_events = Gauge(
            "kinstream_backlog_events", "Events that SNS has not confirmed yet", registry=self._registry
        )
        self._backlog_bytes = Gauge(
            "kinstream_backlog_bytes", "Their bytes, held in memory", registry=self._registry
        )

        self.receiving_bytes = Gauge(
            "kinstream_receiving_bytes",
            "Memory set aside for bodies that are on their way",
            registry=self._registry,
        )

    def watch_backlog(self, events: Callable[[], int], size_bytes: Callable[[], int]) -> None:
        """Ask these whenever somebody reads the metrics, and not at each change."""
        self._backlog_events.set_function(events)
        self._backlog_bytes.set_function(size_bytes)

    def exposition(self) -> bytes:
        """All of them in Prometheus' text form."""
        return generate_latest(self._registry)
