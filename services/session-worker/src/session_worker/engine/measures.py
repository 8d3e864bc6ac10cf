"""What the engine measures of itself, as OpenTelemetry's metrics: nothing is kept where nobody collects."""

from opentelemetry import metrics

from session_worker.engine.groups import Outcome

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""OpenTelemetry's own bounds are made for milliseconds."""


class Measures:
    """Of one processor: what came of its events, and how long its groups take."""

    def __init__(self, processor: str) -> None:
        meter = metrics.get_meter("kinstream")
        self._processor = processor
        self._events = meter.create_counter(
            "kinstream.events", unit="{event}", description="Events by what came of them"
        )
        self._failed = meter.create_counter(
            "kinstream.messages.failed", unit="{message}", description="Messages that are to be tried again"
        )
        self._seconds = meter.create_histogram(
            "kinstream.group.duration",
            unit="s",
            description="From messages received to all of them settled",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def add(self, outcome: Outcome, seconds: float) -> None:
        """What came of a group, and after how long."""
        self._seconds.record(seconds, {"processor": self._processor})
        for name, events in (("counted", outcome.counted), ("repeated", outcome.duplicates)):
            if events:
                self._events.add(events, {"processor": self._processor, "outcome": name})
        if outcome.failed:
            self._failed.add(len(outcome.failed), {"processor": self._processor})
