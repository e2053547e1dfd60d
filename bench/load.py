"""The load: many streams at once, each checked, counted and timed.

It runs in a process of its own and prints its measurement as one line of JSON.
It finds tokens by one regular expression instead of reading frames by
`streaming.testing.sse`: it shares the cores with the servers that it measures, and
understands the formats of all of them. A delta costs it 0.4 µs; a frame costs 1.7 µs.
"""

import argparse
import asyncio
import re
import statistics
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from bench.dialects import DIALECTS
from bench.processes import cpu_seconds
from bench.upstream import question
from bench.wire import MOST_DELTAS

#: One delta's text; see `wire`.
TOKEN = re.compile(rb"#(\d{3})(?:@(\d{16}))? ")
TOKEN_BYTES = 22
FLAT_OUT = [(b"%03d" % number, b"") for number in range(MOST_DELTAS)]
#: The framing of HTTP between two chunks, which may split a token.
FRAMING = re.compile(rb"\r\n[0-9a-f]+\r\n")
FRAMING_BYTES = 12
END_BYTES = 4096
GRACE_SECONDS = 30


@dataclass(frozen=True)
class Load:
    """Prompts and their number. Times are in seconds, except for the pace."""

    port: int
    pid: int
    dialect: str
    streams: int
    deltas: int = 200
    pace_ms: float = 0
    #: Flat out, each delta is a write of the provider's, else the whole answer is.
    one_by_one: bool = False
    #: The time for which each client repeats its prompt, which it sends at least once.
    seconds: float = 0
    #: Within which the clients begin, one after another.
    spread: float = 0
    #: Client n asks in conversation `{conversation}{n}`; else in a new one each time.
    conversation: str = ""
    #: The API key of each request.
    key: str = ""

    def request(self, client: int) -> bytes:
        """Return the request of a client."""
        name = f"{self.conversation}{client}" if self.conversation else uuid.uuid4().hex
        dialect = DIALECTS[self.dialect]
        asked = question(self.deltas, self.pace_ms, self.one_by_one)
        return dialect.request(asked, name, self.key)


@dataclass(frozen=True)
class Measurement:
    """The measurement of a server under a load. Times are in ms if the name says so."""

    streams: int
    deltas: int
    elapsed: float
    server_cpu: float
    load_cpu: float
    #: p50 and p99, of the streams: from the request on.
    first_event_ms: Sequence[float]
    first_content_ms: Sequence[float]
    #: The same of the deltas that came while all clients were there.
    delay_ms: Sequence[float]
    gap_ms: Sequence[float]

    @property
    def per_second(self) -> float:
        """Deltas a second."""
        return self.deltas / self.elapsed

    @property
    def cpu_us(self) -> float:
        """The server's CPU time for a delta."""
        return self.server_cpu / self.deltas * 1e6


@dataclass
class Samples:
    """Delays and gaps of all streams, in µs, within a window of time."""

    start: int
    end: int
    delays: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)

    def add(self, sent: int, arrived: int, before: int) -> None:
        """A delta arrived, and one of the same stream before it."""
        if self.start <= arrived <= self.end:
            self.delays.append(arrived - sent)
            self.gaps.append(arrived - before)


class Stream(asyncio.Protocol):
    """One request and its answer, over a connection of its own."""

    def __init__(self, request: bytes, samples: Samples) -> None:
        self.deltas = 0
        self.first_event = 0
        self.first_content = 0
        self.ended = asyncio.get_running_loop().create_future()
        self.started = 0
        self._request = request
        self._samples = samples
        self._arrived = 0
        self._rest = b""
        self._start = b""
        self._end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.started = _now()
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now = _now()
        if not self.first_event:
            self._start += data
            if b"data:" in self._start:
                self.first_event = now
        self._end = (self._end + data)[-END_BYTES:]
        text = FRAMING.sub(b"", self._rest + data)
        tokens = TOKEN.findall(text)
        if tokens == FLAT_OUT[self.deltas : self.deltas + len(tokens)]:
            self._take(now, tokens)
        else:  # some may be repeated, as some servers do with the whole answer
            for token in tokens:
                if int(token[0]) == self.deltas:
                    self._take(now, [token])
        cut = text.rfind(b"#", max(0, len(text) - TOKEN_BYTES - FRAMING_BYTES))
        self._rest = text[cut:] if cut >= 0 else text[-FRAMING_BYTES:]

    def _take(self, now: int, tokens: Sequence[tuple[bytes, bytes]]) -> None:
        """The next tokens, which are several only when they tell no time."""
        if tokens and not self.deltas:
            self.first_content = now
        elif tokens and tokens[0][1]:
            self._samples.add(int(tokens[0][1]), now, self._arrived)
        self.deltas += len(tokens)
        self._arrived = now

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def check(self, deltas: int, end: bytes) -> None:
        """Raise unless the whole answer came."""
        whole = self._end.endswith(b"0\r\n\r\n") and end in self._end
        if self.deltas != deltas or not whole:
            start, last = self._start[:400], self._end[-300:]
            raise RuntimeError(f"{self.deltas} of {deltas} came: {start!r} … {last!r}")


async def measure(load: Load) -> Measurement:
    """Put a load on a server."""
    cpu, own, started = cpu_seconds(load.pid), time.process_time(), time.monotonic()
    until = started + max(load.seconds, load.deltas * load.pace_ms / 1000)
    samples = Samples(_micros(started + load.spread), _micros(until))
    clients = [_client(load, n, started, samples) for n in range(load.streams)]
    streams = [stream for done in await asyncio.gather(*clients) for stream in done]
    return Measurement(
        streams=len(streams),
        deltas=sum(stream.deltas for stream in streams),
        elapsed=time.monotonic() - started,
        server_cpu=cpu_seconds(load.pid) - cpu,
        load_cpu=time.process_time() - own,
        first_event_ms=percentiles([s.first_event - s.started for s in streams]),
        first_content_ms=percentiles([s.first_content - s.started for s in streams]),
        delay_ms=percentiles(samples.delays),
        gap_ms=percentiles(samples.gaps),
    )


async def _client(
    load: Load, number: int, started: float, samples: Samples
) -> list[Stream]:
    await asyncio.sleep(load.spread * number / load.streams)
    streams = [await _stream(load, number, samples)]
    while time.monotonic() < started + load.seconds:
        streams.append(await _stream(load, number, samples))
    return streams


async def _stream(load: Load, client: int, samples: Samples) -> Stream:
    """Ask, wait for the end, check."""
    loop = asyncio.get_running_loop()
    stream = Stream(load.request(client), samples)
    async with asyncio.timeout(GRACE_SECONDS + load.deltas * load.pace_ms / 1000):
        await loop.create_connection(lambda: stream, "127.0.0.1", load.port)
        await stream.ended
    stream.check(load.deltas, DIALECTS[load.dialect].end)
    return stream


def percentiles(micros: Sequence[int]) -> tuple[float, float]:
    """p50 and p99 in ms."""
    if len(micros) < 2:
        return (micros[0] / 1000,) * 2 if micros else (0.0, 0.0)
    cuts = statistics.quantiles(micros, n=100)
    return cuts[49] / 1000, cuts[98] / 1000


def _micros(seconds: float) -> int:
    return int(seconds * 1e6)


def _now() -> int:
    return time.monotonic_ns() // 1000


def main() -> None:
    """The command: its argument is a `Load` in JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("load")
    load = msgspec.json.decode(parser.parse_args().load, type=Load)
    print(msgspec.json.encode(uvloop.run(measure(load))).decode())


if __name__ == "__main__":
    main()
