"""A model over HTTP that does as it is told, and is as strict as the vendors' are.

It speaks OpenAI's Chat Completions. It refuses a history in which a tool call lacks its
result. What is asked of it, in the last thing that the user said:

* "say 200 every 10": 200 numbers, one each 10 ms;
* "nap 2 x 0.5 then say 200 every 10": first two calls of the tool `nap`;
* "hang": a word, then nothing until its client goes away.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Message = dict[str, Any]

SAY = re.compile(r"say (\d+) every (\d+)")
NAP = re.compile(r"nap (\d+) x ([\d.]+)")


class Model:
    """The server. `open` are the answers under way, `asked` all that were asked."""

    def __init__(self) -> None:
        self.url = ""
        self.open = 0
        self.asked: list[Sequence[Message]] = []
        #: What was refused, in words: none is expected.
        self.refused: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One model call."""
        body = await request.json()
        messages: list[Message] = body["messages"]
        self.asked.append(messages)
        if fault := fault_of(messages):
            self.refused.append(f"{fault}: {json.dumps(messages)}")
            return web.json_response({"error": {"message": fault}}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.open += 1
        try:
            await self._stream(response, messages)
        finally:
            self.open -= 1
        return response

    async def _stream(
        self, response: web.StreamResponse, messages: Sequence[Message]
    ) -> None:
        asked = next(m for m in reversed(messages) if m["role"] == "user")["content"]
        if asked == "hang":
            await response.write(_chunk({"content": "x"}))
            await asyncio.sleep(3600)
        nap = NAP.search(asked)
        if nap and messages[-1]["role"] == "user":
            calls = [_call(at, nap[2]) for at in range(int(nap[1]))]
            await response.write(_chunk({"content": "Wait. "}))
            await response.write(_chunk({"tool_calls": calls}))
            await response.write(_end("tool_calls"))
            return
        say = SAY.search(asked)
        count, pause = map(int, say.groups()) if say else (3, 0)
        for number in range(1, count + 1):
            await response.write(_chunk({"content": f"{number} "}))
            await asyncio.sleep(pause / 1000)
        await response.write(_end("stop"))


@asynccontextmanager
async def serving() -> AsyncIterator[Model]:
    """A model on a free port of localhost."""
    model = Model()
    application = web.Application(client_max_size=32 * 1024 * 1024)
    application.router.add_post("/chat/completions", model.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
    await site.start()
    host, port = runner.addresses[0]
    model.url = f"http://{host}:{port}"
    try:
        yield model
    finally:
        await runner.cleanup()


def text_of(count: int) -> str:
    """What the model says when it is told to say so many."""
    return "".join(f"{number} " for number in range(1, count + 1))


def fault_of(messages: Sequence[Message]) -> str:
    """What the vendors would refuse in a history; empty when nothing is wrong."""
    return next(_faults(messages), "")


def _faults(messages: Sequence[Message]) -> Iterator[str]:
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                yield f"a result without its call: {message['tool_call_id']}"
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            yield f"calls without their results: {sorted(open_calls)}"
        calls = [call["id"] for call in message.get("tool_calls") or ()]
        if len(set(calls)) < len(calls):
            yield "two calls with the same id"
        open_calls = set(calls)
    if open_calls:
        yield f"calls without their results: {sorted(open_calls)}"
    if messages[-1]["role"] == "assistant":
        yield "nothing was asked"


def _call(index: int, seconds: str) -> dict[str, object]:
    arguments = json.dumps({"seconds": float(seconds)})
    function = {"name": "nap", "arguments": arguments}
    return {
        "index": index,
        "id": f"call{index}",
        "type": "function",
        "function": function,
    }


def _chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def _end(reason: str) -> bytes:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    told = b"data: " + json.dumps({"choices": [], "usage": usage}).encode()
    return _chunk({}, reason) + told + b"\n\ndata: [DONE]\n\n"
