"""The last events of a run: exactly one of `complete` and `error`, then `done`."""

from msgspec import UNSET, Raw

from streaming.agent.progress import Progress
from streaming.events import (
    Complete,
    CompleteInfo,
    Cost,
    Done,
    ErrorEvent,
    ErrorInfo,
    Event,
)
from streaming.exceptions import AgentError
from streaming.prices import dollars


def last_events(
    progress: Progress, error: AgentError | None, next_run: str = ""
) -> list[Event]:
    """Return the events that end a run, with or without an error.

    `next_run` is the run that its inputs became; empty: none.
    """
    if error:
        info = ErrorInfo(error.code, error.retryable, next_run or UNSET)
        return [ErrorEvent(error=error.message, metadata=info), Done()]
    selected, output = progress.selected, progress.structured_output
    cost = progress.meter.cost if progress.meter else None
    summary = CompleteInfo(
        progress.stop_reason,
        progress.wire_usage(),
        progress.summary(),
        progress.dropped_exchanges or UNSET,
        UNSET if cost is None else Cost(f"{dollars(cost):f}"),
        provider=selected.provider if selected else UNSET,
        model=selected.model if selected else UNSET,
        output=Raw(output) if output else UNSET,
        next_run_id=next_run or UNSET,
    )
    return [Complete(metadata=summary), Done()]
