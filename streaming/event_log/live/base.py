"""The port of live paths: they bring new events to readers in other processes.

The database does so too, but only after the next flush and the next poll. A live path
may lose, repeat and reorder pieces, or fail at any time: readers count the events, drop
those that they have, and read missing ones from the database.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

#: Attempt, durable number, first number, length of the lines.
_HEAD = re.compile(rb"(\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10})\n")
#: The longest head, with its line break.
HEAD_BYTES = 4 * 11
#: The beginning of each event's JSON, on which `Entry` relies.
_EVENT = re.compile(rb'\{"type":"\w+"[,}]')


class LivePathError(Exception):
    """A live path could not send; the text names the kind of the cause."""


class Piece(msgspec.Struct, frozen=True):
    """Consecutive new events of one run, on their way to other processes."""

    run_id: str
    #: The attempt of the owner that sends it.
    attempt: int
    #: Events up to this number are in the database.
    durable: int
    #: The number of the first event.
    first: int
    #: The JSON of the events. None: an event that is too large, to be read there.
    lines: Sequence[bytes]


Offer = Callable[[Piece], None]


class LiveTail(Protocol):
    """A live path of one process and event loop, made with a function for pieces.

    The function (`Offer`) is called for each piece of a run that is listened to, in the
    event loop. The other methods are called there too.
    """

    #: Whether pieces arrive at all. If not, the log flushes and polls more often.
    carries: bool

    async def publish(self, pieces: Sequence[Piece]) -> None:
        """Send pieces to all processes that listen to their runs.

        Raises `LivePathError`. The call is cancelled if it takes long; the next one
        must not wait for it.
        """
        ...

    async def listen(self, run_id: str) -> None:
        """Receive the pieces of a run.

        Returns when no more piece is missed, or after a short time if the path fails:
        it then listens as soon as it works again.
        """
        ...

    def leave(self, run_id: str) -> None:
        """Receive no more pieces of a run."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


MakeLive = Callable[[Offer], LiveTail]


class NoLive:
    """Implements `LiveTail` without a path: the database brings all events."""

    carries = False

    def __init__(self, offer: Offer) -> None:
        """Make a path that never calls `offer`."""

    async def publish(self, pieces: Sequence[Piece]) -> None:
        """Send nothing."""

    async def listen(self, run_id: str) -> None:
        """Receive nothing."""

    def leave(self, run_id: str) -> None:
        """Receive nothing."""

    async def aclose(self) -> None:
        """Close nothing."""


def encode(piece: Piece) -> bytes:
    """Return a piece as a message, without the id of its run."""
    lines = b"\n".join(piece.lines)
    numbers = (piece.attempt, piece.durable, piece.first, len(lines))
    return b"%d %d %d %d\n%b" % (*numbers, lines)


def decode(run_id: str, message: bytes) -> Piece | None:
    """Return the piece of a message; None if the message is not whole, or no piece."""
    head = _HEAD.match(message)
    if head is None:
        return None
    attempt, durable, first, length = map(int, head.groups())
    content = message[head.end() :]
    lines = content.split(b"\n") if content else []
    if len(content) != length or not all(map(_EVENT.match, lines)):
        return None
    return Piece(run_id, attempt, durable, first, lines)


def split(piece: Piece, size: int) -> Iterator[Piece]:
    """Yield parts of a piece whose lines have at most `size` bytes, line breaks too.

    An event that is larger becomes a part without lines.
    """
    first, part, used = piece.first, list[bytes](), 0
    for number, line in enumerate(piece.lines, piece.first):
        if part and used + len(line) + 1 > size:
            yield Piece(piece.run_id, piece.attempt, piece.durable, first, part)
            part, used = [], 0
        if not part:
            first = number
        if len(line) + 1 > size:
            yield Piece(piece.run_id, piece.attempt, piece.durable, number, [])
        else:
            part.append(line)
            used += len(line) + 1
    if part:
        yield Piece(piece.run_id, piece.attempt, piece.durable, first, part)
