"""The pauses between the transactions of a long work in the database."""

import time

#: Seconds: at least, at most.
LEAST, MOST = 0.01, 1.0


def pause_after(started: float) -> float:
    """Return the seconds to pause after a transaction that began at a monotonic time.

    The pause is as long as the transaction took, with its wait: SQLite's writers look
    for a free lock at intervals, and would rarely find it free between two
    transactions. Other writes of the same process have half of the time too.
    """
    return min(max(time.monotonic() - started, LEAST), MOST)
