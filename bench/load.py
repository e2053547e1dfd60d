"""The load: so many streams at once for so long, each counted and checked.

It runs in a process of its own and prints its measurement as one line of JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import uvloop

PATH = "/api/v1/agent/stream"
DELTA = b"event: content\n"
DONE = b"event: done\n"
END_BYTES = 512
STREAM_SECONDS = 20


@dataclass(frozen=True)
class Measurement:
    """What one server did with the load. Times are in seconds."""

    streams: int
    deltas: int
    elapsed: float
    server_cpu: float
    load_cpu: float
    first_delta: float

    @property
    def per_second(self) -> float:
        """Deltas a second."""
        return self.deltas / self.elapsed

    @property
    def cpu_per_delta(self) -> float:
        """The server's CPU time for a delta."""
        return self.server_cpu / self.deltas


class Stream(asyncio.Protocol):
    """One request and its answer, over a connection of its own."""

    def __init__(self, request: bytes) -> None:
        self.deltas = 0
        self.first_delta = 0.0
        self.ended = asyncio.get_running_loop().create_future()
        self._request = request
        self._started = time.perf_counter()
        self._start = b""
        self._end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        found = (self._end[1 - len(DELTA) :] + data).count(DELTA)
        if found and not self.deltas:
            self.first_delta = time.perf_counter() - self._started
        self.deltas += found
        self._start = self._start or data
        self._end = (self._end + data)[-END_BYTES:]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def check(self, deltas: int) -> None:
        """Raise unless the whole answer came."""
        whole = DONE in self._end and self._end.endswith(b"0\r\n\r\n")
        if self.deltas != deltas or not whole:
            start = self._start[:300].decode(errors="replace")
            raise RuntimeError(f"{self.deltas} of {deltas} deltas came: {start}")


def request() -> bytes:
    """A question in a conversation of its own."""
    fields = {"input": "x", "org_id": "bench", "conversation_id": uuid.uuid4().hex}
    body = json.dumps(fields).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def one_stream(port: int, deltas: int) -> Stream:
    """Ask, wait for the end, check."""
    loop = asyncio.get_running_loop()
    stream = Stream(request())
    async with asyncio.timeout(STREAM_SECONDS):
        await loop.create_connection(lambda: stream, "127.0.0.1", port)
        await stream.ended
    stream.check(deltas)
    return stream


async def one_after_another(port: int, deltas: int, until: float) -> list[Stream]:
    """Streams until the time is up; one at least."""
    streams = [await one_stream(port, deltas)]
    while time.perf_counter() < until:
        streams.append(await one_stream(port, deltas))
    return streams


async def measure(
    port: int, pid: int, concurrency: int, deltas: int, seconds: float
) -> Measurement:
    """Load the server that is process `pid` and listens on `port`."""
    cpu, own, started = cpu_seconds(pid), time.process_time(), time.perf_counter()
    clients = [
        one_after_another(port, deltas, started + seconds) for _ in range(concurrency)
    ]
    streams = [stream for done in await asyncio.gather(*clients) for stream in done]
    return Measurement(
        streams=len(streams),
        deltas=sum(stream.deltas for stream in streams),
        elapsed=time.perf_counter() - started,
        server_cpu=cpu_seconds(pid) - cpu,
        load_cpu=time.process_time() - own,
        first_delta=statistics.median(stream.first_delta for stream in streams),
    )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("port", "pid", "streams", "deltas"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    measured = uvloop.run(
        measure(args.port, args.pid, args.streams, args.deltas, args.seconds)
    )
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main()
