"""How each kind of server is asked, and how its stream ends."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.wire import MODEL, Protocol, path_of


@dataclass(frozen=True)
class Dialect:
    """A path, the JSON body for a question in a conversation, the last event."""

    path: str
    body: Callable[[str, str], dict[str, Any]]
    end: bytes

    def request(self, question: str, conversation: str, key: str = "") -> bytes:
        """The whole HTTP request, on a connection of its own, with a key if any."""
        body = json.dumps(self.body(question, conversation)).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            f"accept: text/event-stream\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
        )
        if key:
            head += f"authorization: Bearer {key}\r\n"
        return f"{head}\r\n".encode() + body


def _ours(question: str, conversation: str) -> dict[str, Any]:
    return {"input": question, "org_id": "bench", "conversation_id": conversation}


def _ag_ui(question: str, conversation: str) -> dict[str, Any]:
    message = {"id": "1", "role": "user", "content": question}
    lists: dict[str, Any] = {"tools": [], "context": [], "messages": [message]}
    ids = {"threadId": conversation, "runId": conversation}
    return {**ids, **lists, "state": {}, "forwardedProps": {}}


def _adk(question: str, conversation: str) -> dict[str, Any]:
    message = {"role": "user", "parts": [{"text": question}]}
    ids = {"appName": "agent", "userId": "bench", "sessionId": conversation}
    return {**ids, "newMessage": message, "streaming": True}


def _provider(question: str, _: str) -> dict[str, Any]:
    message = {"role": "user", "content": question}
    return {"model": MODEL, "stream": True, "messages": [message]}


API = "/api/v1/agent/stream"
ENDS: dict[Protocol, bytes] = {
    "chat": b"data: [DONE]\n",
    "responses": b"event: response.completed\n",
    "anthropic": b"event: message_stop\n",
}
DIALECTS: dict[str, Dialect] = {
    "ours": Dialect(API, _ours, b"event: done\n"),
    "simple": Dialect(API, _ours, b'"type":"done"'),
    "ag-ui": Dialect(API, _ag_ui, b'"RUN_FINISHED"'),
    "adk": Dialect("/run_sse", _adk, b'"usageMetadata"'),
    # A provider itself, and the bytes of one that are passed through.
    **{name: Dialect(path_of(name), _provider, end) for name, end in ENDS.items()},
    **{f"bytes-{name}": Dialect(API, _ours, end) for name, end in ENDS.items()},
}
