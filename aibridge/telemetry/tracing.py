"""OpenTelemetry traces of exchanges, from the facts that the records hear.

Spans are made when they are over, with ids that were known from the beginning (`aibridge.tracing`), so an
exchange carries no span objects. A thread of OpenTelemetry's exports them in batches; what it cannot keep
up with is dropped there, and nothing waits. Everything else is configured by `OTEL_*` variables.
"""

import os
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from aibridge import __version__
from aibridge.facts import AttemptFailed, CallEnded, ExchangeEnded, ExchangeStarted, Fact, RoundEnded
from aibridge.telemetry.encodable import encodable, encodable_values
from aibridge.telemetry.spans import Open, Span, Spans
from aibridge.tracing import Trace

KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
SCOPE = InstrumentationScope("aibridge", __version__)
SAMPLED = frozenset({Decision.RECORD_AND_SAMPLE})
FLUSHING = 5000
"""Milliseconds that a stop waits for the collector."""


class Traces:
    """A listener that tells a collector of exchanges."""

    def __init__(self, *, content: bool, mask: Callable[[str], str]) -> None:
        """`content`: texts are told too, as `mask` leaves them."""
        own = {SERVICE_VERSION: __version__}
        if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            own[SERVICE_NAME] = "aibridge"
        provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        self._sampler, self._resource = provider.sampler, provider.resource
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        provider.add_span_processor(self._processor)  # closed with it
        self._provider = provider
        self._spans = Spans(content, mask)
        self._open: dict[str, Open] = {}

    def begin(self, headers: Sequence[tuple[bytes, bytes]], exchange_id: str) -> Trace:
        """The trace of an exchange: the caller's, or a new one; sampled as `OTEL_TRACES_SAMPLER` says."""
        trace = Trace.of(headers, exchange_id)
        context = None
        if trace.parent is not None:
            above = NonRecordingSpan(_context(trace, trace.parent, is_remote=True))
            context = set_span_in_context(above)
        found = self._sampler.should_sample(context, int(trace.trace_id, 16), "exchange", SpanKind.SERVER)
        return Trace(trace.trace_id, trace.root, trace.parent, found.decision in SAMPLED)

    def __call__(self, fact: Fact) -> None:
        """Hear `fact`."""
        if isinstance(fact, ExchangeStarted):
            if fact.trace is not None and fact.trace.sampled:
                self._open[fact.exchange_id] = Open(fact)
            return
        at = self._open.get(fact.exchange_id)
        if at is None:
            return
        match fact:
            case RoundEnded():
                at.told, at.latest = at.told + 1, fact.ended_at or at.latest
                self._export(at, self._spans.round(at, fact))
            case CallEnded():
                if fact.injected:
                    at.latest = max(at.latest, fact.started_at + fact.duration_ms / 1000)
                    self._export(at, self._spans.call(at, fact))
            case AttemptFailed():
                at.failures.append(fact)
            case ExchangeEnded():
                del self._open[fact.exchange_id]
                if fact.rounds > at.told:
                    self._export(at, self._spans.untold_round(at, fact))
                self._export(at, self._spans.exchange(at, fact))

    def close(self) -> None:
        """Export what is left. Blocks, for FLUSHING at most."""
        self._processor.force_flush(FLUSHING)
        self._provider.shutdown()

    def _export(self, at: Open, span: Span) -> None:
        trace = at.began.trace
        assert trace is not None
        above = span.parent
        status = Status(StatusCode.ERROR, encodable(span.error)) if span.error else Status(StatusCode.UNSET)
        self._processor.on_end(
            ReadableSpan(
                encodable(span.name),
                context=_context(trace, span.id),
                parent=_context(trace, above, is_remote=span.kind == "server") if above else None,
                resource=self._resource,
                attributes=encodable_values(span.attributes),
                events=[Event(name, encodable_values(each), _nanos(at_)) for name, at_, each in span.events],
                kind=KINDS[span.kind],
                status=status,
                start_time=_nanos(span.began),
                end_time=_nanos(span.ended),
                instrumentation_scope=SCOPE,
            )
        )


def _context(trace: Trace, span: str, *, is_remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if trace.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(trace.trace_id, 16), int(span, 16), is_remote, flags)


def _nanos(seconds: float) -> int:
    return round(seconds * 1_000_000_000)
