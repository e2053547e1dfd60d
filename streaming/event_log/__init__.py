"""Every event of a run, numbered from 1; followed from any number on."""

from streaming.event_log.base import Ends, Entry, EventLog, LostRun
from streaming.event_log.local import LocalLog

__all__ = ["Ends", "Entry", "EventLog", "LocalLog", "LostRun"]
