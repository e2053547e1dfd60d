"""A cache whose entries are valid for a few seconds."""

import time
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

#: Time for which a verified credential is not verified again: the delay with which a
#: logout, a revocation or a changed user takes effect in other processes.
SECONDS = 3.0
SIZE = 10_000


class TimedCache(Generic[K, V]):
    """At most `size` values, each for `seconds` after it was put.

    `discard` and `clear` may be called from any thread.
    """

    def __init__(self, seconds: float = SECONDS, size: int = SIZE) -> None:
        self._seconds = seconds
        self._size = size
        #: The oldest entry is the first: all have the same time to live.
        self._entries: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        """Return a value that is still valid, else None."""
        expires_at, value = self._entries.get(key, (0.0, None))
        return value if time.monotonic() < expires_at else None

    def put(self, key: K, value: V) -> None:
        """Add a value, and drop expired ones."""
        now = time.monotonic()
        entries = self._entries
        entries.pop(key, None)
        for oldest in [*islice(entries, 2)]:
            if len(entries) >= self._size or entries[oldest][0] <= now:
                entries.pop(oldest, None)
        entries[key] = (now + self._seconds, value)

    def discard(self, key: K) -> None:
        """Drop a value, if it is there."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Drop all values."""
        self._entries.clear()
