"""The watchdog of an event loop: a thread that notices when the loop is blocked.

A coroutine that blocks, most often an asynchronous tool that calls a blocking function,
stops all runs and requests of its process. The log then names the tool and the line.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from contextvars import Context

from streaming.telemetry.metrics import BLOCKED_SECONDS, EVENT_LOOP_LAG_SECONDS
from streaming.tools.base import find_call

logger = logging.getLogger(__name__)

#: Looks at the loop within the time after which it counts as blocked.
CHECKS = 8


class Watchdog:
    """Watches the event loop in which it is created, until `close`.

    A loop that has not run for `limit` seconds counts as blocked.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._interval = limit / CHECKS
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._due = self._loop.time()
        self._gauge = ExitStack()
        self._gauge.enter_context(
            BLOCKED_SECONDS.read_from(lambda: self._blocked_seconds)
        )
        self._beats = 0
        self._blocked_seconds = 0.0
        self._closed = threading.Event()
        # An empty context: it outlives the request that first uses the service.
        self._context = Context()
        self._timer: asyncio.Handle = self._loop.call_soon(
            self._beat, context=self._context
        )
        self._thread = threading.Thread(
            target=self._watch, name="watchdog", daemon=True
        )
        self._thread.start()

    @property
    def blocked_seconds(self) -> float:
        """The time for which the loop has not run; 0 while it runs."""
        return self._blocked_seconds

    def close(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        self._closed.set()
        self._gauge.close()

    def _beat(self) -> None:
        """Note that the loop runs."""
        self._beats += 1
        now = self._loop.time()
        EVENT_LOOP_LAG_SECONDS.observe(max(now - self._due, 0.0))
        self._due = now + self._interval
        self._timer = self._loop.call_at(self._due, self._beat, context=self._context)

    def _watch(self) -> None:
        seen, blocked, reported = 0, 0.0, False
        before = time.monotonic()
        while not self._closed.wait(self._interval) and not self._loop.is_closed():
            now = time.monotonic()
            if seen != self._beats:
                if reported:
                    logger.warning("event loop resumed after %.1f s", blocked)
                seen, blocked, reported = self._beats, 0.0, False
            else:
                # Count no time in which the whole process was suspended.
                blocked += min(now - before, 2 * self._interval)
            before = now
            self._blocked_seconds = blocked
            if blocked >= self._limit and not reported:
                reported = True
                self._report(blocked)

    def _report(self, blocked: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        call = find_call(frame)
        logger.error(
            "event loop blocked for %.1f s by %s\n%s",
            blocked,
            f"tool {call.name} in run {call.run_id}" if call else "code of no tool",
            "".join(traceback.format_stack(frame)) if frame else "",
            extra={
                "tool": call.name if call else "",
                "run_id": call.run_id if call else "",
            },
        )
