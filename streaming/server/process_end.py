"""The end of a process, although tools or threads are left behind.

Python waits without a limit for tasks that ignore their cancellation, as tools may that
were abandoned, and for threads such as those of `asyncio.to_thread`.
"""

import logging
import os
import sys
import threading

logger = logging.getLogger(__name__)

#: Time for the end of the process after that of its runs; the threads of the database
#: have 2 seconds of it.
END_SECONDS = 4.0


def limit_end(seconds: float = END_SECONDS) -> None:
    """End this process after so many seconds, if it has not ended by itself."""
    timer = threading.Timer(seconds, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    try:
        logger.warning("process ended, tasks or threads left behind")
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)
