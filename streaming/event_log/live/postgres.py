"""A live path through PostgreSQL: NOTIFY, with the events in its payload.

Each process has one connection that sends and one that receives, beside those of
Django. A notification is never part of the transaction that writes the rows: PostgreSQL
commits all transactions with notifications one after the other, and waits for the disk
within that lock unless `synchronous_commit` is off.
"""

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import psycopg

from streaming.event_log.live.base import (
    HEAD_BYTES,
    LivePathError,
    Offer,
    Piece,
    decode,
    encode,
    split,
)
from streaming.event_log.live.reception import Reception
from streaming.storage.notifications import CHANNEL, connection_parameters

logger = logging.getLogger(__name__)

#: The limit of PostgreSQL is 7,999.
PAYLOAD_BYTES = 7_800
#: Between the pieces of a payload; JSON escapes it.
SEPARATOR = "\x1e"
#: `set_config` applies to the transaction, which is this statement: the setting of a
#: session would leak to other clients of a pooler.
_NOTIFY = f"""
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    SELECT pg_notify('{CHANNEL}', payload) FROM quick, unnest(%s::text[]) AS payload
"""
#: Time limit of a connection's start, and of each statement of the receiving one.
CONNECT_SECONDS = 5.0
#: The longest wait of a reader for the first connection.
LISTEN_SECONDS = 0.5
#: Interval between two tests of the receiving connection.
TEST_SECONDS = 15.0

Connection = psycopg.AsyncConnection[tuple[object, ...]]


class PostgresLive:
    """Implements `LiveTail`; all processes share one channel of the database."""

    carries = True

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._followed: set[str] = set()
        self._sending: Connection | None = None
        #: Whether a notification has come; None: a test is not due.
        self._heard: bool | None = None
        errors = (psycopg.Error, OSError)
        self._reception = Reception(self._receive, self._followed, errors)

    async def publish(self, pieces: Sequence[Piece]) -> None:
        """Send pieces in one statement, with as many in a payload as fit."""
        # Taken: the next call after a cancellation finds none, and connects.
        connection, self._sending = self._sending, None
        try:
            connection = connection or await _connect()
            await _execute(connection, _NOTIFY, list(payloads(pieces)))
        except BaseException as error:
            if connection:
                await connection.close()
            if isinstance(error, psycopg.Error | OSError):
                raise LivePathError(type(error).__name__) from error
            raise
        self._sending = connection

    async def listen(self, run_id: str) -> None:
        """Receive the pieces of a run."""
        self._followed.add(run_id)
        self._reception.ensure()
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_SECONDS):
                await self._reception.tried.wait()

    def leave(self, run_id: str) -> None:
        """Receive no more pieces of a run; the connection stays for a while."""
        self._followed.discard(run_id)

    async def aclose(self) -> None:
        """Close both connections."""
        await self._reception.aclose()
        if self._sending:
            await self._sending.close()

    async def _receive(self) -> None:
        """Offer pieces until no run is followed. Raises psycopg's errors."""
        connection = await _connect()
        try:
            await _execute_in_time(connection, f"LISTEN {CHANNEL}")
            self._reception.works()
            await self._send_test()
            while self._followed:
                async for notification in connection.notifies(timeout=TEST_SECONDS):
                    self._take(notification.payload)
                self._report_deafness()
                await _execute_in_time(connection, "SELECT 1")
        finally:
            await connection.close()

    async def _send_test(self) -> None:
        """Send a notification to all listening processes, this one included."""
        if self._heard is None:
            async with await _connect() as connection:
                await _execute_in_time(connection, _NOTIFY, [""])
            self._heard = False

    def _report_deafness(self) -> None:
        if self._heard is False:
            logger.warning(
                "live path receives nothing: a pooler of transactions, such as "
                "PgBouncer, delivers no notifications; set REDIS_URL or EVENT_LIVE"
            )
            self._heard = True  # once is enough

    def _take(self, payload: str) -> None:
        self._heard = True
        for item in payload.split(SEPARATOR):
            run_id, _, message = item.partition(" ")
            if run_id not in self._followed:
                continue  # most items, if there are many processes
            if piece := decode(run_id, message.encode()):
                self._offer(piece)


def payloads(pieces: Iterable[Piece]) -> Iterator[str]:
    """Yield pieces as the payloads of notifications; a large one is split."""
    items: list[bytes] = []
    size = 0
    for piece in pieces:
        head = piece.run_id.encode() + b" "
        for part in split(piece, PAYLOAD_BYTES - len(head) - HEAD_BYTES):
            item = head + encode(part)
            if items and size + len(item) > PAYLOAD_BYTES:
                yield SEPARATOR.join(map(bytes.decode, items))
                items, size = [], 0
            items.append(item)
            size += len(item) + 1
    if items:
        yield SEPARATOR.join(map(bytes.decode, items))


async def _connect() -> Connection:
    async with asyncio.timeout(CONNECT_SECONDS):
        return await psycopg.AsyncConnection.connect(**connection_parameters())


async def _execute_in_time(connection: Connection, query: str, *values: object) -> None:
    async with asyncio.timeout(CONNECT_SECONDS):
        await _execute(connection, query, *values)


async def _execute(connection: Connection, query: str, *values: object) -> None:
    """Execute a statement; a cancelled caller does not wait for the server.

    psycopg answers a cancellation with a request to cancel the statement. It waits 5
    seconds for each of two responses, and for the second without a limit before 3.3.6.
    The statement therefore runs in a task of its own, which ends when its socket does.
    """
    executing = asyncio.ensure_future(connection.execute(query, values))
    try:
        await asyncio.shield(executing)
    except asyncio.CancelledError:
        _disconnect(connection)
        await asyncio.wait([executing])
        raise


def _disconnect(connection: Connection) -> None:
    """Shut down the socket of a connection, which stays its property."""
    with suppress(OSError, psycopg.Error):  # it is disconnected already
        shared = socket.socket(fileno=connection.fileno())
        try:
            shared.shutdown(socket.SHUT_RDWR)
        finally:
            shared.detach()
