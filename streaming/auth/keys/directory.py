"""The keys that a process has looked up: a request with a known key needs no query.

A key is remembered for a few seconds, so that a revoked one is soon refused. Lookups
are batched: however many requests name invented prefixes, one query at a time reads up
to `BATCH` of them, which leaves the other threads of its lane free. Invented prefixes
are remembered apart from the keys that exist, and cannot displace these.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from contextvars import Context
from hmac import compare_digest
from itertools import chain, islice
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from django.utils import timezone

from streaming.auth.keys.headers import INVALID
from streaming.auth.keys.material import KeyProof
from streaming.auth.keys.records import KeyRecord, load_keys
from streaming.auth.keys.usage import KeyUsage
from streaming.exceptions import Unauthenticated
from streaming.principals import Principal
from streaming.storage import database
from streaming.storage.database import Database

V = TypeVar("V")

#: Seconds for which a process remembers a key, or that a prefix has none.
CACHE_SECONDS = 2.0
MAX_KNOWN, MAX_UNKNOWN = 20_000, 10_000
#: Prefixes that one query looks up.
BATCH = 200
#: The hash with which a secret is compared if its prefix is unknown.
_NO_HASH = hashlib.sha256(b"").hexdigest()

Load = Callable[[Collection[str]], Mapping[str, KeyRecord]]


class KeyDirectory:
    """The keys that requests of one event loop have named."""

    def __init__(
        self,
        access: Database,
        *,
        usage: KeyUsage | None = None,
        load: Load = load_keys,
        seconds: float = CACHE_SECONDS,
        max_known: int = MAX_KNOWN,
        max_unknown: int = MAX_UNKNOWN,
    ) -> None:
        self._database = access
        self._usage = usage or KeyUsage(access)
        self._load = load
        self._known = _Remembered[KeyRecord](seconds, max_known)
        self._unknown = _Remembered[None](seconds, max_unknown)
        #: The lookups that are not finished, by prefix: later requests join them.
        self._lookups: dict[str, asyncio.Future[KeyRecord | None]] = {}
        #: Prefixes to look up: of keys that were known before, and others.
        self._known_before: dict[str, None] = {}
        self._new: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None

    async def authenticate(self, proof: KeyProof) -> Principal:
        """Return the principal of a key. Raises `Unauthenticated`.

        An unknown prefix is compared with a hash too: a wrong secret takes no longer.
        """
        record = await self.find(proof.prefix)
        expected = record.secret_hash if record else _NO_HASH
        is_equal = compare_digest(expected, proof.secret_hash)
        if record is None or not is_equal:
            raise Unauthenticated(INVALID)
        now = timezone.now()
        if refusal := record.refusal(now):
            self._usage.refused(record, refusal)
            raise Unauthenticated(refusal)
        self._usage.used(record, now)
        return record.principal

    async def find(self, prefix: str) -> KeyRecord | None:
        """Return the key with a prefix, at most a few seconds old."""
        if record := self._known.get(prefix):
            return record
        if prefix in self._unknown:
            return None
        lookup = self._lookups.get(prefix)
        if lookup is None:
            lookup = self._begin(prefix)
        # The caller may be cancelled, but not the lookup, which others await.
        return await asyncio.shield(lookup)

    def _begin(self, prefix: str) -> "asyncio.Future[KeyRecord | None]":
        lookup = asyncio.get_running_loop().create_future()
        lookup.add_done_callback(_retrieve)
        self._lookups[prefix] = lookup
        queue = self._known_before if self._known.had(prefix) else self._new
        queue[prefix] = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_up(), context=Context())
        return lookup

    async def _look_up(self) -> None:
        # Known keys come first: a flood of invented prefixes does not delay them.
        while batch := [*islice(chain(self._known_before, self._new), BATCH)]:
            for prefix in batch:
                self._known_before.pop(prefix, None)
                self._new.pop(prefix, None)
            try:
                found = await self._database.execute_read_in(
                    database.AUTH, self._load, batch
                )
            except Exception as error:  # of any kind: requests wait for a result
                for prefix in batch:
                    self._lookups.pop(prefix).set_exception(error)
                continue
            for prefix in batch:
                record = found.get(prefix)
                if record:
                    self._known.add(prefix, record)
                else:
                    self._known.forget(prefix)
                    self._unknown.add(prefix, None)
                self._lookups.pop(prefix).set_result(record)


class _Remembered(Generic[V]):
    """Values that are valid for some seconds, at most a number of them."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._values: dict[str, tuple[float, V]] = {}

    def __contains__(self, prefix: str) -> bool:
        until, _ = self._values.get(prefix, (0.0, None))
        return until > time.monotonic()

    def get(self, prefix: str) -> V | None:
        """Return a value that is still valid."""
        until, value = self._values.get(prefix, (0.0, None))
        return value if until > time.monotonic() else None

    def had(self, prefix: str) -> bool:
        """Return true if there is a value, valid or not."""
        return prefix in self._values

    def add(self, prefix: str, value: V) -> None:
        """Remember a value; forget the oldest one if there are too many."""
        self._values.pop(prefix, None)  # so that it becomes the newest
        self._values[prefix] = (time.monotonic() + self._seconds, value)
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]

    def forget(self, prefix: str) -> None:
        """Remove a value if there is one."""
        self._values.pop(prefix, None)


_directories: WeakKeyDictionary[asyncio.AbstractEventLoop, KeyDirectory] = (
    WeakKeyDictionary()
)


def get_directory() -> KeyDirectory:
    """Return the directory of this event loop, created at the first call."""
    loop = asyncio.get_running_loop()
    if loop not in _directories:
        _directories[loop] = KeyDirectory(database.default)
    return _directories[loop]


def _retrieve(lookup: "asyncio.Future[KeyRecord | None]") -> None:
    """Take the exception of a lookup whose requests were all cancelled."""
    if not lookup.cancelled():
        lookup.exception()
