"""The run that the present task works for, for its log records."""

import logging
import re
from contextvars import ContextVar

import msgspec

#: The header of the W3C Trace Context: version, trace, parent, flags.
TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?![0-9a-f])"
)


class RunContext(msgspec.Struct, frozen=True):
    """The names of a run in a log record."""

    run_id: str
    org_id: str
    trace_id: str


_current: ContextVar[RunContext | None] = ContextVar("run", default=None)


def enter_run(run: RunContext) -> None:
    """Name a run in the log records of this task, and of those that it creates."""
    _current.set(run)


class RunFilter(logging.Filter):
    """A filter of handlers that adds `run_id`, `org_id` and `trace_id` to records.

    Records of no run are unchanged, and so are values that a record has.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return true, with the record completed."""
        if run := _current.get():
            for name in ("run_id", "org_id", "trace_id"):
                if not getattr(record, name, ""):
                    setattr(record, name, getattr(run, name))
        return True


def parse_traceparent(header: str) -> str:
    """Return the trace context of a request; empty if it has no valid one.

    A later version may have more fields, which are left out.
    """
    if not (found := TRACEPARENT.match(header.strip())):
        return ""
    trace, parent, flags = found.groups()
    # Zeros are not valid. Of the flags only the first is defined: sampled.
    if not (trace.strip("0") and parent.strip("0")):
        return ""
    return f"00-{trace}-{parent}-0{int(flags, 16) & 1}"


def trace_of(run_id: str, traceparent: str) -> str:
    """Return the trace of a run: that of its request, else one with the run's own id.

    An id of a run has the form of an id of a trace.
    """
    return traceparent[3:35] or run_id
