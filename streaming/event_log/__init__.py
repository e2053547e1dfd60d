"""Every event of a run, numbered from 1; followed from any number on."""

from streaming.event_log.base import ClosedLogs, Entry, EventLog, OwnershipLost
from streaming.event_log.database import DatabaseLog

__all__ = ["ClosedLogs", "Entry", "EventLog", "DatabaseLog", "OwnershipLost"]
