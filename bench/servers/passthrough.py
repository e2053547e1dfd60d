"""The ceiling of any server that asks a provider: its bytes go on as they come."""

import os
from collections.abc import Awaitable, Callable
from functools import cache

import aiohttp

from bench.servers import asgi
from bench.wire import MODEL, path_of

URL = os.environ["UPSTREAM"] + path_of(os.environ["PROTOCOL"])  # type: ignore[arg-type]


@cache
def session() -> aiohttp.ClientSession:
    """One for all, made on the server's loop."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def answer(question: str, write: Callable[[bytes], Awaitable[None]]) -> None:
    """One send a read."""
    message = {"role": "user", "content": question}
    body = {"model": MODEL, "stream": True, "messages": [message]}
    async with session().post(URL, json=body) as response:
        async for data in response.content.iter_any():
            await write(data)


application = asgi.application(answer)
