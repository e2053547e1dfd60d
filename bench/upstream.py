"""A provider that costs next to nothing: OpenAI's chat stream, built beforehand.

Flat out, the whole answer is one write; paced, each delta leaves by itself.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import uvloop

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def answer(deltas: int) -> list[bytes]:
    """The parts of a whole answer, the first and last with what surrounds deltas."""
    texts = [_chunk({"content": f"word{n % 10} "}) for n in range(deltas)]
    texts[0] = HEAD + _chunk({"role": "assistant", "content": ""}) + texts[0]
    texts[-1] += _chunk({}, finish_reason="stop") + _usage(deltas) + _end()
    return texts


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event(choices=[choice])


def _usage(deltas: int) -> bytes:
    tokens = {"prompt_tokens": 9, "completion_tokens": deltas}
    return _event(choices=[], usage={**tokens, "total_tokens": 9 + deltas})


def _end() -> bytes:
    return _http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _event(**fields: Any) -> bytes:  # noqa: ANN401
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1}
    data = json.dumps({**head, "model": "bench", **fields}, separators=(",", ":"))
    return _http_chunk(f"data: {data}\n\n".encode())


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """Answers each request on a connection."""

    transport: asyncio.Transport

    def __init__(self, parts: list[bytes], pace: float) -> None:
        self._parts = parts
        self._pace = pace
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if found and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            self._answer()

    def _answer(self) -> None:
        if self._pace:
            now = asyncio.get_running_loop().time()
            self._send_next(iter(self._parts), now)
        else:
            self.transport.write(b"".join(self._parts))

    def _send_next(self, parts: Iterator[bytes], due: float) -> None:
        part = next(parts, None)
        if part and not self.transport.is_closing():
            self.transport.write(part)
            due += self._pace
            asyncio.get_running_loop().call_at(due, self._send_next, parts, due)


async def serve(port: int, deltas: int, pace: float) -> None:
    """Answer until the process is ended."""
    parts = answer(deltas)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(parts, pace), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--deltas", type=int, required=True)
    parser.add_argument("--pace-ms", type=float, default=0)
    args = parser.parse_args()
    uvloop.run(serve(args.port, args.deltas, args.pace_ms / 1000))


if __name__ == "__main__":
    main()
