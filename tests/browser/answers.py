"""Replies of a scripted model: at once, or as far as the test lets them come."""

import asyncio
from itertools import accumulate

from streaming.testing.provider import Reply
from tests.providers.openai_streams import chunk, chunks

END = b"\n\n"


def words(*pieces: str) -> bytes:
    """Return the body of a response with these pieces."""
    usage = {"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234}
    last = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
    said = (chunk(content=piece) for piece in pieces)
    return chunks(*said, chunk("stop"), last) + b"data: [DONE]" + END


def held(
    rest: asyncio.Event, *pieces: str, begun: int = 1, delay: float = 0.0
) -> Reply:
    """Return a reply that sends `begun` pieces and, once `rest` is set, the others.

    With a delay the others are sent one by one.
    """
    body = words(*pieces)
    ends = list(accumulate(len(said + END) for said in body.split(END)))
    cuts = ends[begun - 1 : len(pieces) if delay else begun]
    return Reply(body, cuts=cuts, held=rest, delay=delay)


def numbers(last: int) -> list[str]:
    """Return the numbers from 1 as the pieces of a response."""
    return [f"{number} " for number in range(1, last + 1)]


def counted(last: int) -> str:
    """Return the text of these pieces as the page shows it."""
    return "".join(numbers(last)).strip()
