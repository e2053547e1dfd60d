"""Server-Sent Events as bytes, both ways, by the WHATWG's rules.

The decoder reads what providers send: it yields the data of each event and leaves
out names and ids, which they repeat inside their JSON. It takes any chunking, any of
the three line ends, a BOM, comments and data of several lines. It departs from the
standard in one point: `flush` gives an event whose closing blank line never came,
since servers exist that leave it out after their last one.
"""

from collections.abc import Iterator

BOM = b"\xef\xbb\xbf"
KEEP_ALIVE = b": keep-alive\n\n"
#: An upstream event beyond this size is not buffered further.
MAX_EVENT_BYTES = 32 * 1024 * 1024


def frame(event: str, data: bytes, id: str = "", retry_ms: int = 0) -> bytes:
    """One event. `data` must hold no line end; `id` and `retry_ms` may be left out."""
    head = f"id: {id}\n" if id else ""
    if retry_ms:
        head += f"retry: {retry_ms}\n"
    return f"{head}event: {event}\ndata: ".encode() + data + b"\n\n"


class Decoder:
    """Feed it bytes as they come, take the data of the events that are whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of each event that `chunk` completes.

        Raises ValueError when an event grows beyond `MAX_EVENT_BYTES`.
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
        whole, _, rest = buffer.rpartition(b"\n\n")
        self._rest = rest + held
        if len(self._rest) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return list(_data_of(whole))

    def flush(self) -> list[bytes]:
        """The data of a last event that lacks its blank line; then start anew."""
        rest, self._rest, self._started = self._rest, b"", False
        return list(_data_of(rest.rstrip(b"\r\n")))


def _data_of(whole: bytes) -> Iterator[bytes]:
    for block in whole.split(b"\n\n"):
        # Nearly all have one line of data, and at most a name before it.
        name, found, data = block.partition(b"data: ")
        if found and b"\n" not in data and (not name or _is_a_line(name)):
            yield data
            continue
        lines = [
            line[5:].removeprefix(b" ")
            for line in block.split(b"\n")
            if line.startswith(b"data:") or line == b"data"
        ]
        if lines:
            yield b"\n".join(lines)


def _is_a_line(text: bytes) -> bool:
    return text.find(b"\n") == len(text) - 1 and not text.startswith(b"data")
