"""The end of open streams whose credentials are revoked.

A stream may be open for hours, and its request was authenticated once. While streams
with revocable credentials are open, one task of the process looks their credentials up,
all in one call for each kind every `INTERVAL_SECONDS`. `register` adds a kind.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextvars import Context
from types import TracebackType
from typing import Any, Self

from django.db import Error

from streaming.principals import Principal
from streaming.storage import database
from streaming.storage.errors import describe

logger = logging.getLogger(__name__)

#: Streams end within this time after a revocation, and the time of one query.
INTERVAL_SECONDS = 2.0

#: Returns the credentials that are revoked, of principals with different credentials
#: of one kind. It is called on a database thread.
FindRevoked = Callable[[Sequence[Principal]], Collection[str]]

_kinds: dict[str, FindRevoked] = {}
#: The kinds whose principals are users of the project.
_kinds_of_users: set[str] = set()


def register(
    kind: str, find_revoked: FindRevoked, *, proves_user: bool = False
) -> None:
    """Watch the credentials `kind:…` of open streams.

    With `proves_user`, the `user` of their principals is the primary key of a user of
    the project, who has permissions and is `context.user` in tools.
    """
    _kinds[kind] = find_revoked
    if proves_user:
        _kinds_of_users.add(kind)


def proven_user(principal: Principal) -> str:
    """Return the primary key of the project's user that the caller is; empty: none.

    The id of a gateway's user may equal the key of another user of the project.
    """
    return principal.user if kind_of(principal) in _kinds_of_users else ""


def is_revoked(principal: Principal) -> bool:
    """Return whether a credential is revoked, on a database thread."""
    find = _kinds.get(kind_of(principal))
    return find is not None and principal.credential in find([principal])


class StreamAccess:
    """The access of a caller to one stream, which ends with the caller's credential.

    `batches` is the source of the stream. As a context manager it encloses its reading,
    in the task that sends the stream; after the block `revoked` tells the reason of the
    end. Nothing is added to the way of an event.
    """

    __slots__ = ("_batches", "_task", "_watcher", "principal", "revoked")

    def __init__(
        self, principal: Principal | None, batches: AsyncGenerator[Any]
    ) -> None:
        self.principal = principal
        self.revoked = False
        self._batches = batches
        self._task: asyncio.Task[Any] | None = None
        self._watcher: Watcher | None = None

    def __enter__(self) -> Self:
        if self.principal and kind_of(self.principal) in _kinds:
            self._task = asyncio.current_task()
            self._watcher = watcher()
            self._watcher.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._watcher:
            self._watcher.remove(self)
        if not (self.revoked and self._task and kind is asyncio.CancelledError):
            return False
        # If more cancellations remain, another caller cancelled the task as well.
        return self._task.uncancel() == 0

    async def end(self) -> None:
        """End the source: at once if the stream waits for it, else after its send."""
        self.revoked = True
        if getattr(self._batches, "ag_running", False):
            if self._task:
                self._task.cancel()
        else:
            await self._batches.aclose()


class Watcher:
    """The open streams of one event loop that have revocable credentials."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._open: dict[str, set[StreamAccess]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no stream is watched."""
        return not self._open

    def add(self, access: StreamAccess) -> None:
        """Watch a stream."""
        assert access.principal
        self._open.setdefault(access.principal.credential, set()).add(access)
        if self._task is None or self._task.done():
            # An empty context: the task outlives the request that starts it.
            self._task = asyncio.create_task(self._watch(), context=Context())

    def remove(self, access: StreamAccess) -> None:
        """Watch a stream no longer."""
        assert access.principal
        credential = access.principal.credential
        streams = self._open.get(credential, set())
        streams.discard(access)
        if not streams:
            self._open.pop(credential, None)

    async def _watch(self) -> None:
        """Look up the credentials until no stream is open."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            if not self._open:
                return
            await self.end_revoked()

    async def end_revoked(self) -> None:
        """End the streams of revoked credentials."""
        kinds: dict[str, list[Principal]] = {}
        for streams in self._open.values():
            principal = next(iter(streams)).principal
            assert principal
            kinds.setdefault(kind_of(principal), []).append(principal)
        for kind, principals in kinds.items():
            for credential in await _find_revoked(kind, principals):
                for access in [*self._open.get(credential, ())]:
                    await _end(access)


async def _find_revoked(kind: str, principals: Sequence[Principal]) -> Collection[str]:
    """Return revoked credentials of one kind; none if its look-up fails.

    A failure, as of the cache with the sessions, delays no other kind.
    """
    try:
        return await database.execute_read_in(database.AUTH, _kinds[kind], principals)
    except Error as error:
        logger.warning("revoked credentials not read: %s: %s", kind, describe(error))
    except Exception:  # all open streams depend on the watcher's task
        logger.exception("revoked credentials not read: %s", kind)
    return ()


async def _end(access: StreamAccess) -> None:
    """End a stream; log the failure of its source."""
    try:
        await access.end()
    except Exception:  # the other streams must end too
        logger.exception("source of a stream not closed: credential revoked")
    else:
        logger.info("stream ended: credential revoked")


def kind_of(principal: Principal) -> str:
    """Return the kind of a principal's credential; empty without one."""
    return principal.credential.partition(":")[0]


_watcher: Watcher | None = None


def watcher() -> Watcher:
    """Return the watcher of this process and event loop, created at the first call."""
    global _watcher
    if _watcher is None or _watcher.loop is not asyncio.get_running_loop():
        _watcher = Watcher()
    return _watcher
