"""The last events of a run: exactly one of `complete` and `error`, then `done`."""

from msgspec import UNSET

from streaming.agent.loop import Progress
from streaming.events import (
    Complete,
    CompleteInfo,
    Done,
    ErrorEvent,
    ErrorInfo,
    Event,
)
from streaming.exceptions import AgentError


def last_events(progress: Progress, error: AgentError | None) -> list[Event]:
    """Return the events that end a run, with or without an error."""
    if error:
        info = ErrorInfo(error.code, error.retryable)
        return [ErrorEvent(error=error.message, metadata=info), Done()]
    summary = CompleteInfo(
        progress.stop_reason,
        progress.wire_usage(),
        progress.summary(),
        progress.dropped_exchanges or UNSET,
    )
    return [Complete(metadata=summary), Done()]
