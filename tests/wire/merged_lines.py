"""A second wire format, as small as can be: JSON lines, adjacent deltas merged."""

import msgspec

from streaming.events import ConnectedInfo, Entry
from streaming.exceptions import AgentError
from streaming.wire.base import ErrorResponse


class _Delta(msgspec.Struct):
    content: str


class MergedLines:
    """Implements `WireFormat`: entries and frames differ in number.

    Consecutive `content` events are one line; `thinking` is left out; a tool's result
    is two lines.
    """

    stateless = False

    def __init__(self) -> None:
        self._text = ""
        self._count = 0

    def greet(self, run: ConnectedInfo) -> bytes:
        """Return a line with the run's id, on a first connection only."""
        if run.resumed_after is msgspec.UNSET:
            return f"run {run.run_id}\n".encode()
        return b""

    def encode(self, entry: Entry) -> list[bytes]:
        """Return the merged text before an entry, and the entry's own lines."""
        if entry.type == "thinking":
            return []
        if entry.type == "content":
            self._text += msgspec.json.decode(entry.data, type=_Delta).content
            return []
        frames = [self._frame("text", self._text)] if self._text else []
        self._text = ""
        if entry.type == "tool_result":
            frames.append(self._frame("returned", ""))
        return [*frames, self._frame(entry.type, entry.data.decode())]

    def keep_alive(self) -> bytes:
        """Return an empty line."""
        return b"\n"

    def end(self) -> bytes:
        """Return a last line."""
        return b"end\n"

    def interrupt(self, error: AgentError) -> bytes:
        """Return a last line with the code."""
        return f"{error.code}\n".encode()

    @staticmethod
    def error(error: AgentError) -> ErrorResponse:
        """Return the code as plain text."""
        headers = {"Content-Type": "text/plain"}
        return ErrorResponse(error.status, headers, error.code.encode())

    def _frame(self, kind: str, data: str) -> bytes:
        self._count += 1
        return msgspec.json.encode([self._count, kind, data]) + b"\n"
