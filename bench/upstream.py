"""A provider that costs next to nothing: its answers are made beforehand.

What is asked says how to answer: `Send 200 deltas at once.` is one write; `Send 200
deltas one by one.` is a write for each, as fast as they go; `Send 200 deltas, one every
20 ms.` is paced.
"""

import argparse
import asyncio
import re
import time
from collections.abc import Iterator
from functools import cache
from typing import cast

import uvloop

from bench.wire import PROTOCOLS, STAMP, Protocol, answer, path_of

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
#: `pace` is there when it is paced, and `each` when each delta is a write.
ASKED = re.compile(
    rb"Send (\d+) deltas"
    rb"(?: at once|(?P<each> one by one)|, one every (?P<pace>[\d.]+) ms)\."
)
BY_PATH = {path_of(protocol).encode(): protocol for protocol in PROTOCOLS}


def question(deltas: int, pace_ms: float, one_by_one: bool) -> str:
    """What to ask for an answer of `deltas`; a `pace_ms` of 0 is none."""
    if pace_ms:
        return f"Send {deltas} deltas, one every {pace_ms:g} ms."
    return f"Send {deltas} deltas {'one by one' if one_by_one else 'at once'}."


@cache
def parts(protocol: Protocol, deltas: int, stamped: bool) -> list[bytes]:
    """An answer on the wire: each delta, first and last with what surrounds them."""
    made = answer(protocol, deltas, stamped)
    written = [_http_chunk(delta) for delta in made.deltas]
    written[0] = HEAD + _http_chunk(made.head) + written[0]
    written[-1] += _http_chunk(made.tail) + b"0\r\n\r\n"
    return written


@cache
def whole(protocol: Protocol, deltas: int) -> bytes:
    """The same, in one."""
    return b"".join(parts(protocol, deltas, stamped=False))


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """Answers each request on a connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""
        self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if found and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            self._last = b"connection: close" in head.lower()
            self._answer(BY_PATH[head.split(b" ", 2)[1].partition(b"?")[0]], body)

    def _answer(self, protocol: Protocol, body: bytes) -> None:
        # In a long conversation the newest question stands last.
        asked = ASKED.match(body, max(body.rfind(b"Send "), 0))
        if not asked:
            raise ValueError(f"nothing is asked: {body[-300:]!r}")
        deltas = int(asked[1])
        if asked["pace"]:
            now = asyncio.get_running_loop().time()
            rest = iter(parts(protocol, deltas, stamped=True))
            self._send_next(rest, now, float(asked["pace"]) / 1000)
        elif asked["each"]:
            self._send_each(iter(parts(protocol, deltas, stamped=False)))
        else:
            self.transport.write(whole(protocol, deltas))
            self._end()

    def _send_each(self, rest: Iterator[bytes]) -> None:
        """Send the next, and at the loop's next turn the one after."""
        part = next(rest, None)
        if part is None:
            self._end()
        elif not self.transport.is_closing():
            self.transport.write(part)
            asyncio.get_running_loop().call_soon(self._send_each, rest)

    def _send_next(self, rest: Iterator[bytes], due: float, pace: float) -> None:
        part = next(rest, None)
        if part is None:
            self._end()
        elif not self.transport.is_closing():
            now = b"@%016d" % (time.monotonic_ns() // 1000)
            self.transport.write(part.replace(STAMP, now, 1))
            due += pace
            loop = asyncio.get_running_loop()
            loop.call_at(due, self._send_next, rest, due, pace)

    def _end(self) -> None:
        if self._last:
            self.transport.close()


async def serve(port: int) -> None:
    """Answer until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
