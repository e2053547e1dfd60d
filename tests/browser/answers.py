"""What a scripted model says: at once, or as far as the test wants it."""

import asyncio
from itertools import accumulate

from streaming.testing.provider import Reply
from tests.providers.openai_streams import chunk, chunks

END = b"\n\n"


def words(*pieces: str) -> bytes:
    """A model's answer."""
    usage = {"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234}
    last = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
    said = (chunk(content=piece) for piece in pieces)
    return chunks(*said, chunk("stop"), last) + b"data: [DONE]" + END


def held(
    rest: asyncio.Event, *pieces: str, begun: int = 1, delay: float = 0.0
) -> Reply:
    """The same, of which only so many pieces come before the rest is asked for.

    With a delay the others come one by one.
    """
    body = words(*pieces)
    ends = list(accumulate(len(said + END) for said in body.split(END)))
    cuts = ends[begun - 1 : len(pieces) if delay else begun]
    return Reply(body, cuts=cuts, held=rest, delay=delay)


def numbers(last: int) -> list[str]:
    """A count from 1, for an answer in as many pieces."""
    return [f"{number} " for number in range(1, last + 1)]


def counted(last: int) -> str:
    """The same as it is read."""
    return "".join(numbers(last)).strip()
