"""The port of wire formats: a run's log as the bytes that one kind of client reads."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from streaming.events import ConnectedInfo, Entry
from streaming.exceptions import AgentError


class ErrorResponse(NamedTuple):
    """An HTTP response to a request that failed before its stream began."""

    status: int
    #: Names and values, `Content-Type` among them.
    headers: Mapping[str, str]
    body: bytes


class WireFormat(Protocol):
    """The encoder of one connection: a pure fold over the run's log.

    One instance serves one connection. It gets each entry once, in order, from number 1
    on, and its frames depend on nothing else: not on time, and not on how the entries
    arrive in batches. The frames of `encode` are numbered from 1; a client that
    reconnects names the last frame it received (its cursor, k). To resume, a new
    instance encodes the log from its beginning, and the first k frames are not sent.

    A format that is `stateless` skips that: each entry is encoded without the ones
    before it, its cursor is an entry's number, and the log is read from there on.
    """

    @property
    def stateless(self) -> bool:
        """True if a cursor is an entry's number, False if it is a frame's."""
        ...

    def greet(self, run: ConnectedInfo) -> bytes:
        """Return the bytes that open the connection, not counted as a frame.

        Called once, before all other methods. `run.resumed_after` is the cursor of a
        client that reconnects, and UNSET on a first connection.
        """
        ...

    def encode(self, entry: Entry) -> Sequence[bytes]:
        """Return the frames that an entry adds: none, one or several."""
        ...

    def keep_alive(self) -> bytes:
        """Return bytes that clients ignore, sent during silence."""
        ...

    def end(self) -> bytes:
        """Return the bytes that close the stream of an ended run, not counted.

        Called after the last entry (`done`) was encoded, on each connection that
        reaches it; not when the server ends a connection earlier.
        """
        ...

    def interrupt(self, error: AgentError) -> bytes:
        """Return the bytes that end a connection early, so that no client retries.

        The run goes on: its log has no such event.
        """
        ...

    @staticmethod
    def error(error: AgentError) -> ErrorResponse:
        """Return the response to a request that fails before its stream begins."""
        ...
