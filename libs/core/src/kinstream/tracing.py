"""What becomes of a request, from its arrival to the last write that it leads to, as OpenTelemetry's spans.

One request in so many begins a trace. Whoever works on a message of it goes on with it, by the message's
attribute `traceparent` (W3C Trace Context). A client's own `traceparent` is not followed: it would let
anybody decide how much is traced. Spans hold names and numbers: no customer, no payload, no place, no key,
and of an error its type alone.

Without a collector (`kinstream.exporting`) all of this does nothing. Guarantee: none; a span that cannot be
sent is dropped, and no event waits for it.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

TRACEPARENT = "traceparent"
"""Name of the message attribute."""

Tracing = AbstractContextManager[Span]

_NOTHING = nullcontext(INVALID_SPAN)
_is_traced = ContextVar("is_traced", default=False)
"""Asked on the hot path: a fifteenth of what it takes to ask OpenTelemetry."""
_tracer = trace.get_tracer("kinstream")
_propagator = TraceContextTextMapPropagator()


def begun(name: str, ratio: float, kind: SpanKind = SpanKind.SERVER) -> Tracing:
    """A trace of its own for this share of the calls, 0 to 1; nothing for the others."""
    if random.random() >= ratio:
        return _NOTHING
    return _span(name, kind, Context())


def part(name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: AttributeValue) -> Tracing:
    """A part of what is being traced; nothing if nothing is."""
    if not _is_traced.get():
        return _NOTHING
    return _span(name, kind, None, **attributes)


def continued(name: str, traceparent: str, **attributes: AttributeValue) -> Tracing:
    """What a message leads to; nothing if it is of no trace, or says so in a way that cannot be read."""
    if not traceparent:
        return _NOTHING
    context = _propagator.extract({TRACEPARENT: traceparent}, Context())
    if not trace.get_current_span(context).get_span_context().trace_flags.sampled:
        return _NOTHING
    return _span(name, SpanKind.CONSUMER, context, **attributes)


@contextmanager
def all_continued(name: str, traceparents: Iterable[str], **attributes: AttributeValue) -> Iterator[None]:
    """What several messages lead to together: a span in the trace of each, parts in that of the last."""
    with ExitStack() as spans:
        for traceparent in dict.fromkeys(traceparents):
            spans.enter_context(continued(name, traceparent, **attributes))
        yield


def carried() -> str:
    """What a message needs to say for its consumer to go on with the trace; empty if there is none."""
    if not _is_traced.get():
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


@contextmanager
def _span(name: str, kind: SpanKind, context: Context | None, **attributes: AttributeValue) -> Iterator[Span]:
    before = _is_traced.set(True)
    with _tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=attributes,
        # An exception's text may hold what a customer sent.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            _is_traced.reset(before)
