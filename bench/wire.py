"""The responses of the bench's provider, in the format of each real one.

The text of a response is numbered tokens, `#000 #001 …`, by which the load checks that
all arrived in order. A paced token also bears the time at which it was sent
(`#000@0000001234567890 `, µs of the monotonic clock, which all processes of a machine
share), from which follows its delay.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

Protocol = Literal["chat", "responses", "anthropic"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
#: A token has three digits.
MOST_DELTAS = 1000
#: The placeholder of the time in the bytes of a delta.
STAMP = b"@" + b"0" * 16
MODEL = "bench-1"


@dataclass(frozen=True)
class Answer:
    """The bytes before the first delta, of each delta, and after the last."""

    head: bytes
    deltas: Sequence[bytes]
    tail: bytes


def path_of(protocol: Protocol) -> str:
    """Return the path of the API below the base URL of the provider."""
    paths = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
    return paths.get(protocol, "/v1/messages")


@cache
def answer(protocol: Protocol, count: int, stamped: bool) -> Answer:
    """Return a response of `count` deltas."""
    if not 0 < count <= MOST_DELTAS:
        raise ValueError(f"a stream has 1 to {MOST_DELTAS} deltas, not {count}")
    stamp = STAMP.decode() if stamped else ""
    texts = [f"#{number:03}{stamp} " for number in range(count)]
    return ANSWERS[protocol](texts)


def _data(**fields: Any) -> bytes:  # noqa: ANN401
    return b"data: %b\n\n" % json.dumps(fields, separators=(",", ":")).encode()


def _event(type: str, **fields: Any) -> bytes:  # noqa: ANN401
    return b"event: %b\n%b" % (type.encode(), _data(type=type, **fields))


def _padded(event: bytes, spaces: int) -> bytes:
    """Return the event padded with spaces, which hide the length of its text."""
    return event[:-3] + b" " * spaces + event[-3:]


def _chat(texts: Sequence[str]) -> Answer:
    def chunk(*choices: Any, usage: Any = None) -> bytes:  # noqa: ANN401
        return _data(
            id="chatcmpl-BenchBenchBenchBenchBenchBench1",
            object="chat.completion.chunk",
            created=1790000000,
            model=MODEL,
            service_tier="default",
            system_fingerprint=None,
            choices=choices,
            usage=usage,
        )

    def choice(delta: dict[str, Any], finish_reason: str | None = None) -> Any:  # noqa: ANN401
        return {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }

    usage = {
        "prompt_tokens": 9,
        "completion_tokens": len(texts),
        "total_tokens": 9 + len(texts),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    start = {"role": "assistant", "content": "", "refusal": None}
    return Answer(
        head=chunk(choice(start)),
        deltas=[chunk(choice({"content": text})) for text in texts],
        tail=chunk(choice({}, "stop")) + chunk(usage=usage) + b"data: [DONE]\n\n",
    )


def _responses(texts: Sequence[str]) -> Answer:
    numbers = iter(range(len(texts) + 10))
    item_id = "msg_" + "0be7c4" * 8
    place = {"content_index": 0, "item_id": item_id, "output_index": 0}

    def event(kind: str, **fields: Any) -> bytes:  # noqa: ANN401
        return _event(f"response.{kind}", **fields, sequence_number=next(numbers))

    def part(text: str) -> dict[str, Any]:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def item(status: str, *content: Any) -> dict[str, Any]:  # noqa: ANN401
        fields = {"id": item_id, "type": "message", "role": "assistant"}
        return {**fields, "status": status, "content": content}

    whole = "".join(texts)
    output = [item("completed", part(whole))]
    return Answer(
        head=event("created", response=_response("in_progress"))
        + event("in_progress", response=_response("in_progress"))
        + event("output_item.added", item=item("in_progress"), output_index=0)
        + event("content_part.added", **place, part=part("")),
        deltas=[
            event("output_text.delta", **place, delta=text, obfuscation="x" * (n % 16))
            for n, text in enumerate(texts)
        ],
        tail=event("output_text.done", **place, text=whole, logprobs=[])
        + event("content_part.done", **place, part=part(whole))
        + event("output_item.done", item=output[0], output_index=0)
        + event("completed", response=_response("completed", output, len(texts))),
    )


def _response(
    status: str, output: Sequence[Any] = (), tokens: int = 0
) -> dict[str, Any]:
    """Return the object that begins and ends a response of the Responses API."""
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9 + tokens,
    }
    return {
        "id": "resp_" + "0be7c4" * 8,
        "object": "response",
        "created_at": 1790000000,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "model": MODEL,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if tokens else None,
        "metadata": {},
    }


def _anthropic(texts: Sequence[str]) -> Answer:
    message: dict[str, Any] = {
        "model": MODEL,
        "id": "msg_01BenchBenchBenchBench",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1, "service_tier": "standard"},
    }
    block = {"type": "text", "text": ""}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return Answer(
        head=_event("message_start", message=message)
        + _event("content_block_start", index=0, content_block=block)
        + _event("ping"),
        deltas=[
            _padded(_event("content_block_delta", index=0, delta=delta), n % 16)
            for n, delta in enumerate({"type": "text_delta", "text": t} for t in texts)
        ],
        tail=_event("content_block_stop", index=0)
        + _event("message_delta", delta=end, usage={"output_tokens": len(texts)})
        + _event("message_stop"),
    )


ANSWERS: dict[Protocol, Callable[[Sequence[str]], Answer]] = {
    "chat": _chat,
    "responses": _responses,
    "anthropic": _anthropic,
}
