"""Traces by OpenTelemetry. This module alone needs its SDK, the extra `otel`.

The span of a run lasts longer than any process: it is recorded at the run's end, and
its ids are derived from the run's, so that the spans of attempts in several processes
name it as their parent before it exists.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from streaming.telemetry.context import trace_of
from streaming.telemetry.tracing import Attributes, Restore, Span, TracedRun

logger = logging.getLogger(__name__)

SERVICE = "agent-stream"
NANOSECONDS = 1_000_000_000


class RunIds(IdGenerator):
    """The ids of spans: those that are given for a moment, else a generator's own."""

    def __init__(self, generator: IdGenerator) -> None:
        self._generator = generator
        self._given: ContextVar[tuple[int, int] | None] = ContextVar(
            "ids", default=None
        )

    @contextmanager
    def given(self, trace_id: int, span_id: int) -> Iterator[None]:
        """Give the ids of the span that begins in this context."""
        token = self._given.set((trace_id, span_id))
        try:
            yield
        finally:
            self._given.reset(token)

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        given = self._given.get()
        return given[0] if given else self._generator.generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        given = self._given.get()
        return given[1] if given else self._generator.generate_span_id()


class OtelSpan:
    """A span of OpenTelemetry."""

    def __init__(self, span: trace.Span) -> None:
        self.span = span

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self.span.set_attributes(attributes)

    def fail(self, kind: str) -> None:
        """Mark the span as failed, with a kind of error."""
        self.span.set_attribute("error.type", kind)
        self.span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """End the span."""
        self.span.end()


class OtelTracer:
    """A tracer whose spans a provider of the SDK exports."""

    def __init__(self, provider: TracerProvider, *, has_content: bool = False) -> None:
        self.has_content = has_content
        self._provider = provider
        tracer = provider.get_tracer("streaming")
        if not isinstance(tracer, SdkTracer):  # OTEL_SDK_DISABLED
            raise TypeError("the SDK of OpenTelemetry is disabled")
        self._ids = RunIds(tracer.id_generator)
        tracer.id_generator = self._ids
        self._tracer = tracer

    def begin(self, name: str, attributes: Attributes, *, is_client: bool) -> Span:
        """Begin a span below that of the present task; it becomes no parent."""
        kind = SpanKind.CLIENT if is_client else SpanKind.INTERNAL
        return OtelSpan(self._tracer.start_span(name, kind=kind, attributes=attributes))

    def make_current(self, span: Span) -> Restore:
        """Make a span the parent of those of this task, and of tasks it creates."""
        assert isinstance(span, OtelSpan)
        token = otel_context.attach(trace.set_span_in_context(span.span))
        return partial(otel_context.detach, token)

    def begin_attempt(self, run: TracedRun, attempt: int, worker: str) -> Span:
        """Begin the span of an attempt, below the span of its run."""
        span = self._tracer.start_span(
            f"attempt {attempt}",
            context=_context(self._run_context(run)),
            attributes={
                "agent_stream.run.id": run.id,
                "agent_stream.attempt": attempt,
                "agent_stream.worker": worker,
            },
        )
        return OtelSpan(span)

    def record_run(self, run: TracedRun, attributes: Attributes, error: str) -> None:
        """Record the span of a run that has ended now."""
        ids = self._run_context(run)
        parent = _parse(run.traceparent)
        with self._ids.given(ids.trace_id, ids.span_id):
            span = OtelSpan(
                self._tracer.start_span(
                    _run_name(run),
                    context=_context(parent) if parent else Context(),
                    start_time=int(run.created_at.timestamp() * NANOSECONDS),
                    attributes={**run.attributes, **attributes},
                )
            )
        if error:
            span.fail(error)
        span.end()

    def parent(self) -> str:
        """Return the trace context of the present task; empty: none."""
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return ""
        sampled = int(current.trace_flags.sampled)
        return f"00-{current.trace_id:032x}-{current.span_id:016x}-0{sampled}"

    def flush(self, seconds: float) -> None:
        """Export what is recorded; blocks for at most so long.

        The SDK's batches ignore their time limit, and a collector may never respond.
        """
        done: list[bool] = []
        flush = self._provider.force_flush

        def work() -> None:
            done.append(flush(round(seconds * 1000)))

        thread = threading.Thread(target=work, name="traces", daemon=True)
        thread.start()
        thread.join(seconds)
        if not any(done):
            logger.warning("traces not exported within %.1f s", seconds)

    def _run_context(self, run: TracedRun) -> SpanContext:
        """Return the context of the span of a run, which is recorded at its end.

        Without a parent the sampler decides by the id of the trace: in each process and
        each attempt as at the end.
        """
        trace_id = int(trace_of(run.id, run.traceparent), 16)
        if parent := _parse(run.traceparent):
            flags = parent.trace_flags
        else:
            result = self._tracer.sampler.should_sample(
                Context(), trace_id, _run_name(run), attributes=run.attributes
            )
            sampled = result.decision is Decision.RECORD_AND_SAMPLE
            flags = TraceFlags(int(sampled))
        return SpanContext(trace_id, int(run.id[-16:], 16), True, flags)


def make_tracer(*, has_content: bool) -> OtelTracer:
    """Return a tracer of the project's own provider, else of one that exports by OTLP.

    The project's is the one that `opentelemetry.trace` has. Otherwise the SDK reads the
    environment variables that OpenTelemetry defines, such as
    `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        # The name of the service gives way to OTEL_SERVICE_NAME and
        # OTEL_RESOURCE_ATTRIBUTES.
        own = Resource({SERVICE_NAME: SERVICE})
        detected = Resource.create()
        if str(detected.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            detected = detected.merge(own)
        # At the exit it would wait half a minute for a collector that never responds;
        # each service exports its last spans at its end.
        provider = TracerProvider(resource=detected, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider, has_content=has_content)


def _run_name(run: TracedRun) -> str:
    return f"invoke_agent {run.agent}"


def _context(span: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(span), Context())


def _parse(traceparent: str) -> SpanContext | None:
    if not traceparent:
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16))
    )
