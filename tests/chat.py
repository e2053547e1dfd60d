"""Replies of an OpenAI-compatible server, for tests of the layers above providers."""

import json
from collections.abc import Sequence

from streaming.testing.provider import Reply


def _chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def _usage(prompt: int, completion: int) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return b"data: " + json.dumps({"choices": [], "usage": counts}).encode() + b"\n\n"


def pieces(*texts: str) -> bytes:
    """Return the beginning of a response, a delta for each text."""
    return b"".join(_chunk({"content": text}) for text in texts)


def thoughts(*texts: str) -> bytes:
    """Return reasoning as some compatible servers send it."""
    return b"".join(_chunk({"reasoning_content": text}) for text in texts)


def ending(finish: str = "stop", asked: int = 10, said: int = 5) -> bytes:
    """Return the end of a response."""
    return _chunk({}, finish) + _usage(asked, said) + b"data: [DONE]\n\n"


def answer(*texts: str, finish: str = "stop") -> Reply:
    """Return a complete response."""
    return Reply(pieces(*texts) + ending(finish))


def tool_calls(*calls: tuple[str, str, object], text: str = "") -> Reply:
    """Return a response with tool calls of these ids, names and arguments."""
    asked = [
        {
            "index": index,
            "id": id,
            "type": "function",
            "function": {"name": name, "arguments": _text(arguments)},
        }
        for index, (id, name, arguments) in enumerate(calls)
    ]
    said = pieces(text) if text else b""
    return Reply(said + _chunk({"tool_calls": asked}) + ending("tool_calls"))


def _text(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def many(count: int) -> Sequence[str]:
    """Return that many different words."""
    return [f"word{number} " for number in range(count)]
