"""The event log: every event of a run, numbered from 1, followed from any number on.

`DatabaseLog` is a process's log, for coroutines; `stored_log()` is the durable part of
all logs, for synchronous code on a database thread. To add an implementation, write
both ports of `base` in one file, and return it here.
"""

from streaming.event_log.base import (
    ORPHAN_LEAP,
    ClosedLogs,
    EventLog,
    OwnershipLost,
    StoredLog,
)
from streaming.event_log.database import DatabaseLog
from streaming.event_log.live import choose_live
from streaming.event_log.options import LogOptions
from streaming.event_log.stored import DatabaseStoredLog

__all__ = [
    "ORPHAN_LEAP",
    "ClosedLogs",
    "DatabaseLog",
    "EventLog",
    "LogOptions",
    "OwnershipLost",
    "StoredLog",
    "choose_live",
    "stored_log",
]

_stored = DatabaseStoredLog()


def stored_log() -> StoredLog:
    """Return the durable part of the logs of all runs."""
    return _stored
