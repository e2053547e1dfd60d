"""The port of traces: spans of runs, attempts, model calls and tool calls.

Without a tracer nothing is recorded, and no library is imported. `otel` has the tracer
for OpenTelemetry. The names of attributes are those of its conventions for generative
AI.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import msgspec

Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]
Restore = Callable[[], None]


class TracedRun(msgspec.Struct, frozen=True):
    """The values of a run that its spans need, in any process."""

    id: str
    #: The trace context of the request; empty: none.
    traceparent: str
    #: The name of the agent.
    agent: str
    created_at: datetime
    attributes: Attributes


class Span(Protocol):
    """A span that has begun."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def fail(self, kind: str) -> None:
        """Mark the span as failed, with a kind of error."""
        ...

    def end(self) -> None:
        """End the span."""
        ...


class Tracer(Protocol):
    """Records spans."""

    #: Whether spans have the texts of prompts, answers and tools.
    has_content: bool

    def begin(self, name: str, attributes: Attributes, *, is_client: bool) -> Span:
        """Begin a span below that of the present task; it becomes no parent."""
        ...

    def make_current(self, span: Span) -> Restore:
        """Make a span the parent of those of this task, and of tasks it creates.

        The returned function, called in the same task, restores the parent before.
        """
        ...

    def begin_attempt(self, run: TracedRun, attempt: int, worker: str) -> Span:
        """Begin the span of an attempt, below the span of its run."""
        ...

    def record_run(self, run: TracedRun, attributes: Attributes, error: str) -> None:
        """Record the span of a run that has ended now; `error` is empty or a kind.

        It is recorded once, by the process that ends the run. Attempts in all processes
        are below it, since its ids are derived from the run's.
        """
        ...

    def parent(self) -> str:
        """Return the trace context of the present task; empty: none."""
        ...

    def flush(self, seconds: float) -> None:
        """Export what is recorded; blocks for at most so long."""
        ...


class _NoSpan:
    def set(self, attributes: Attributes) -> None:
        """Record nothing."""

    def fail(self, kind: str) -> None:
        """Record nothing."""

    def end(self) -> None:
        """Record nothing."""


NO_SPAN = _NoSpan()


class NoTracer:
    """The tracer of a process that records nothing."""

    has_content = False

    def begin(self, name: str, attributes: Attributes, *, is_client: bool) -> Span:
        """Return a span that records nothing."""
        return NO_SPAN

    def make_current(self, span: Span) -> Restore:
        """Return a function that does nothing."""
        return lambda: None

    def begin_attempt(self, run: TracedRun, attempt: int, worker: str) -> Span:
        """Return a span that records nothing."""
        return NO_SPAN

    def record_run(self, run: TracedRun, attributes: Attributes, error: str) -> None:
        """Record nothing."""

    def parent(self) -> str:
        """Return no trace context."""
        return ""

    def flush(self, seconds: float) -> None:
        """Do nothing."""


_tracer: Tracer = NoTracer()


def tracer() -> Tracer:
    """Return the tracer of this process."""
    return _tracer


def install(new: Tracer) -> None:
    """Make a tracer that of this process."""
    global _tracer
    _tracer = new


@contextmanager
def installed(new: Tracer) -> Iterator[None]:
    """Use a tracer for a while, as in a test."""
    before = tracer()
    install(new)
    try:
        yield
    finally:
        install(before)
