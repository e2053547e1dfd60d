"""A model over HTTP that is scripted by the prompt, and as strict as the vendors'.

It speaks OpenAI's Chat Completions through the stand-in provider, and refuses a history
in which a tool call lacks its result. The user's last message says what to send:

* "say 200 every 10": 200 numbers, one each 10 ms;
* "nap 2 x 0.5 then say 200 every 10": first two calls of the tool `nap`;
* "hang": a word, then nothing until the client disconnects.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from streaming.testing.provider import Reply, Request, StandInProvider
from tests import chat

Message = dict[str, Any]

SAY = re.compile(r"say (\d+) every (\d+)")
NAP = re.compile(r"nap (\d+) x ([\d.]+)")


class Model(StandInProvider):
    """The server; `refused` describes the histories that it did not accept."""

    def __init__(self) -> None:
        super().__init__(self._scripted)
        self.refused: list[str] = []

    def _scripted(self, request: Request) -> Reply:
        messages: list[Message] = request.json["messages"]
        if fault := fault_of(messages):
            self.refused.append(f"{fault}: {json.dumps(messages)}")
            error = json.dumps({"error": {"message": fault}}).encode()
            return Reply(error, 400, "application/json")
        prompt = next(m for m in reversed(messages) if m["role"] == "user")["content"]
        if prompt == "hang":
            return Reply(chat.pieces("x"), end="hang")
        nap = NAP.search(prompt)
        if nap and messages[-1]["role"] == "user":
            seconds = {"seconds": float(nap[2])}
            calls = [(f"call{n}", "nap", seconds) for n in range(int(nap[1]))]
            return chat.tool_calls(*calls, text="Wait. ")
        say = SAY.search(prompt)
        return _numbers(*map(int, say.groups())) if say else _numbers(3, 0)


@asynccontextmanager
async def serving() -> AsyncIterator[Model]:
    """Serve a model on a free port of localhost."""
    async with Model() as model:
        yield model


def text_of(count: int) -> str:
    """Return the text that the model sends when it is to say so many numbers."""
    return "".join(_texts(count))


def fault_of(messages: Sequence[Message]) -> str:
    """Return what the vendors would refuse in a history; empty when it is sound."""
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
        yield "no prompt after the last answer"


def _texts(count: int) -> Iterator[str]:
    return (f"{number} " for number in range(1, count + 1))


@lru_cache(maxsize=8)  # many streams get the same numbers
def _numbers(count: int, milliseconds: int) -> Reply:
    deltas = [chat.pieces(text) for text in _texts(count)]
    return Reply.of([*deltas, chat.ending()], delay=milliseconds / 1000)
