"""A model over HTTP that is scripted by the prompt, and as strict as the vendors'.

It speaks OpenAI's Chat Completions through the stand-in provider, and refuses a history
in which a tool call lacks its result. The user's last message says what to send:

* "say 200 every 10": 200 numbers, one each 10 ms;
* "nap 2 x 0.5 then say 200 every 10": first two calls of the tool `nap`;
* "book 2 x 0.5 as t then say 200 every 10": the same of `book`, for tickets t.0, t.1;
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
BOOK = re.compile(r"book (\d+) x ([\d.]+) as (\w+)")


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
        asked = next(m for m in reversed(messages) if m["role"] == "user")["content"]
        # A question that was interrupted before its answer is joined to the next one.
        prompt = asked.rpartition("\n\n")[2]
        if prompt == "hang":
            return Reply(chat.pieces("x"), end="hang")
        calls = [*_tool_calls(prompt)]
        if calls and messages[-1]["role"] == "user":
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


def _tool_calls(prompt: str) -> Iterator[tuple[str, str, object]]:
    if nap := NAP.search(prompt):
        for n in range(int(nap[1])):
            yield f"call{n}", "nap", {"seconds": float(nap[2])}
    if book := BOOK.search(prompt):
        for n in range(int(book[1])):
            arguments = {"ticket": f"{book[3]}.{n}", "seconds": float(book[2])}
            yield f"call{n}", "book", arguments


def _texts(count: int) -> Iterator[str]:
    return (f"{number} " for number in range(1, count + 1))


@lru_cache(maxsize=8)  # many streams get the same numbers
def _numbers(count: int, milliseconds: int) -> Reply:
    deltas = [chat.pieces(text) for text in _texts(count)]
    return Reply.of([*deltas, chat.ending()], delay=milliseconds / 1000)
