"""What a scripted model says: at once, or as far as the test wants it."""

import asyncio

from tests.providers.openai_streams import chunk, chunks
from tests.upstream import Reply

END = b"\n\n"


def words(*pieces: str) -> bytes:
    """A model's answer."""
    usage = {"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234}
    last = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
    said = (chunk(content=piece) for piece in pieces)
    return chunks(*said, chunk("stop"), last) + b"data: [DONE]" + END


def held(rest: asyncio.Event, *pieces: str, begun: int = 1) -> Reply:
    """The same, of which only so many pieces come before the rest is asked for."""
    body = words(*pieces)
    cut = len(END.join(body.split(END)[:begun]) + END)
    return Reply(body, cuts=[cut], held=rest)


def numbers(last: int) -> list[str]:
    """A count from 1, for an answer in as many pieces."""
    return [f"{number} " for number in range(1, last + 1)]


def counted(last: int) -> str:
    """The same as it is read."""
    return "".join(numbers(last)).strip()
