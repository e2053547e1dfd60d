"""A provider that costs next to nothing: the stand-in, with replies rendered once.

The prompt says how to reply: `Send 200 deltas at once.` is one write; `Send 200 deltas
one by one.` is a write for each, without a pause; `Send 200 deltas, one every 20 ms.`
is paced.
"""

import argparse
import asyncio
import re
import time
from functools import cache

import uvloop

from bench.wire import PROTOCOLS, STAMP, Protocol, answer, path_of
from streaming.testing.provider import Reply, Request, StandInProvider

#: `pace` is set when deltas are paced, and `each` when each delta is a write.
ASKED = re.compile(
    rb"Send (\d+) deltas"
    rb"(?: at once|(?P<each> one by one)|, one every (?P<pace>[\d.]+) ms)\."
)
BY_PATH = {path_of(protocol): protocol for protocol in PROTOCOLS}


def question(deltas: int, pace_ms: float, one_by_one: bool) -> str:
    """Return the prompt for a reply of `deltas`; a `pace_ms` of 0 is none."""
    if pace_ms:
        return f"Send {deltas} deltas, one every {pace_ms:g} ms."
    return f"Send {deltas} deltas {'one by one' if one_by_one else 'at once'}."


def reply_to(request: Request) -> Reply:
    """Return the reply that a request's last prompt asks for."""
    body = request.body
    asked = ASKED.match(body, max(body.rfind(b"Send "), 0))
    if not asked:
        raise ValueError(f"no prompt: {body[-300:]!r}")
    protocol = BY_PATH[request.path.partition("?")[0]]
    pace = float(asked["pace"]) / 1000 if asked["pace"] else None
    return reply(protocol, int(asked[1]), 0 if asked["each"] else pace)


@cache
def reply(protocol: Protocol, deltas: int, delay: float | None = None) -> Reply:
    """Return a reply of `deltas`, each an HTTP chunk; without a delay in one write."""
    made = answer(protocol, deltas, stamped=bool(delay))
    if delay is None:
        return Reply.of([made.head, *made.deltas, made.tail])
    pieces = [*made.deltas]
    pieces[0] = made.head + pieces[0]
    pieces[-1] += made.tail
    return Reply.of(pieces, delay=delay, stamp=_stamp if delay else None)


def _stamp(chunk: bytes) -> bytes:
    return chunk.replace(STAMP, b"@%016d" % (time.monotonic_ns() // 1000), 1)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    async with StandInProvider(reply_to, port=port, keep_requests=False):
        await asyncio.get_running_loop().create_future()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
