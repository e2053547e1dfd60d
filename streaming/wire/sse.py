"""Server-Sent Events as bytes, both ways, by the WHATWG's rules.

The decoder reads what providers send: it yields the data of each event and leaves
out names and ids, which they repeat inside their JSON. It takes any chunking, any of
the three line ends, a BOM, comments and data of several lines. It departs from the
standard in one point: `flush` gives an event whose closing blank line never came,
since servers exist that leave it out after their last one.
"""

import re
from collections.abc import Iterator

BOM = b"\xef\xbb\xbf"
KEEP_ALIVE = b": keep-alive\n\n"
#: An upstream event beyond this size is not buffered further.
MAX_EVENT_BYTES = 32 * 1024 * 1024

# Tried where a line begins and nowhere else: what a model says may look alike.
_NAMED = re.compile(rb"^event: (.*)\ndata: (.*)\n\n", re.MULTILINE).findall
_UNNAMED = re.compile(rb"^data: (.*)\n\n", re.MULTILINE).findall


def frame(event: str, data: bytes, id: str = "", retry_ms: int = 0) -> bytes:
    """One event. `data` must hold no line end; `id` and `retry_ms` may be left out."""
    head = f"id: {id}\n" if id else ""
    if retry_ms:
        head += f"retry: {retry_ms}\n"
    return f"{head}event: {event}\ndata: ".encode() + data + b"\n\n"


class Decoder:
    """Feed it bytes as they come, take the data of the events that are whole."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = b""
        self._started = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes.

        Raises ValueError when an event grows beyond `max_event_bytes`.
        """
        buffer = self._rest + chunk
        if not self._started:
            if len(buffer) < len(BOM) and BOM.startswith(buffer):
                self._rest = buffer
                return []
            self._started = True
            buffer = buffer.removeprefix(BOM)
        held = b""
        if b"\r" in buffer:
            if buffer.endswith(b"\r"):  # its LF may come with the next chunk
                buffer, held = buffer[:-1], b"\r"
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        whole, blank_line, rest = buffer.rpartition(b"\n\n")
        self._rest = rest + held
        if len(self._rest) > self._max_event_bytes:
            raise ValueError(f"an event of more than {self._max_event_bytes} bytes")
        return _data_of(whole + blank_line)

    def flush(self) -> list[bytes]:
        """The data of a last event that lacks its blank line; then start anew."""
        rest, self._rest, self._started = self._rest, b"", False
        return _data_of(rest.rstrip(b"\r\n") + b"\n\n")


def _data_of(events: bytes) -> list[bytes]:
    """The data of whole events."""
    data, length = _regular(events)
    return data if length == len(events) else list(_irregular(events))


def _regular(events: bytes) -> tuple[list[bytes], int]:
    """The data of those events that have one line of it, and perhaps a name before.

    So are nearly all. It is so of all when the length of these is that of the whole.
    """
    if events.startswith(b"event"):
        named = _NAMED(events)
        data = [data for _, data in named]
        framing = len(b"event: \ndata: \n\n") * len(named)
        return data, framing + sum([len(n) + len(data) for n, data in named])
    data = _UNNAMED(events)
    return data, len(b"data: \n\n") * len(data) + sum(map(len, data))


def _irregular(events: bytes) -> Iterator[bytes]:
    """The data of events as the standard has them."""
    for block in events.split(b"\n\n"):
        lines = [
            line[5:].removeprefix(b" ")
            for line in block.split(b"\n")
            if line.startswith(b"data:") or line == b"data"
        ]
        if lines:
            yield b"\n".join(lines)
