"""A strict reader of server-sent events: frames as the server sent them, byte by byte.

    frames = parse(body)                          # a complete stream
    for frame in read(response.iter_bytes()): …   # a stream as it arrives
    async for frame in aread(response.aiter_bytes()): …

It accepts what this project sends (LF, one `name: value` a line) and raises on anything
else. Comments, which keep a connection alive, are left out.
"""

import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Frame:
    """An event of a stream: its bytes without the empty line, fields, time of arrival.

    Times are those of `time.time()`, comparable between processes.
    """

    raw: bytes
    fields: Mapping[str, str]
    arrived: float = field(default=0.0, compare=False)

    @property
    def id(self) -> str:
        """The event's id, which is empty where it has none."""
        return self.fields.get("id", "")

    @property
    def number(self) -> int:
        """The number within its run, of an id such as `run:7`."""
        return int(self.id.rpartition(":")[2])

    @property
    def run_id(self) -> str:
        """The run, of an id such as `run:7`."""
        return self.id.rpartition(":")[0]

    @property
    def event(self) -> str:
        """The event's type, which is empty where it is not named."""
        return self.fields.get("event", "")

    @property
    def text(self) -> str:
        """The data as it was sent."""
        return self.fields["data"]

    @property
    def data(self) -> dict[str, Any]:
        """The data, decoded from JSON."""
        data: dict[str, Any] = json.loads(self.fields["data"])
        return data


class FrameReader:
    """Splits the chunks of a stream into frames; `rest` is the incomplete last one."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the frames that this chunk completes."""
        *blocks, self.rest = (self.rest + chunk).split(b"\n\n")
        now = time.time()
        return [_frame(b, now) for b in blocks if not b.startswith(b":")]


def parse(body: bytes) -> list[Frame]:
    """Return the frames of a complete stream; raise if the last one is cut off."""
    reader = FrameReader()
    frames = reader.feed(body)
    if reader.rest:
        raise ValueError(f"the last frame is not whole: {reader.rest!r}")
    return frames


def read(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """Yield the frames of a stream as its chunks arrive."""
    reader = FrameReader()
    for chunk in chunks:
        yield from reader.feed(chunk)


async def aread(chunks: AsyncIterable[bytes]) -> AsyncIterator[Frame]:
    """Yield the frames of a stream as its chunks arrive."""
    reader = FrameReader()
    async for chunk in chunks:
        for frame in reader.feed(chunk):
            yield frame


def _frame(raw: bytes, arrived: float) -> Frame:
    fields: dict[str, str] = {}
    for line in raw.decode().split("\n"):
        name, separator, value = line.partition(": ")
        if not separator or name in fields:
            raise ValueError(f"not a field of an event: {line!r} in {raw!r}")
        fields[name] = value
    return Frame(raw, fields, arrived)
