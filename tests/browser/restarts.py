"""Scripted streams of a run that loses its server and goes on with `restarted`."""

import json
from collections.abc import Sequence
from typing import Any

CALL = {"id": "call-1", "name": "clock", "arguments": "{}"}
CALLED = {"tool_call": {**CALL, "status": "executing"}}
RETURNED = {"tool_call": {**CALL, "status": "completed", "result": "12:00"}}
CONNECTED = {
    "metadata": {
        "agent": "Agent",
        "run_id": "r",
        "org_id": "default",
        "conversation_id": "c",
        "provider": "openai",
        "model": "scripted",
    }
}
SUMMARY = {
    "llm_calls": 3,
    "tool_calls": 1,
    "execution_time_ms": 900,
    "used_tools": ["clock"],
    "stop_reason": "end_turn",
}
USAGE = {
    "input_tokens": 10,
    "output_tokens": 10,
    "total_tokens": 20,
    "reasoning_tokens": 0,
}
COMPLETE = {
    "metadata": {
        "stop_reason": "end_turn",
        "usage": USAGE,
        "execution_summary": SUMMARY,
    }
}
Sent = tuple[int, str, dict[str, Any]]


def restarted(attempt: int, after: int) -> dict[str, Any]:
    return {"metadata": {"attempt": attempt, "discard_after": after}}


def stream(*events: Sent) -> dict[str, Any]:
    """Return a response that begins with `connected` and has these events."""
    frames = []
    for number, name, fields in ((0, "connected", CONNECTED), *events):
        own_id = f"id: r:{number}\n" if number else "retry: 10\n"
        data = {
            "type": name,
            "is_final": name in ("complete", "done"),
            "timestamp": 1_764_216_000_000 + min(number, 1000),
            **fields,
        }
        frames.append(f"{own_id}event: {name}\ndata: {json.dumps(data)}\n\n")
    return {"body": "".join(frames), "content_type": "text/event-stream"}


def said(number: int, text: str) -> Sent:
    return number, "content", {"content": text}


FIRST: Sequence[Sent] = (
    (1, "thinking", {"thinking_step": "The clock."}),
    said(2, "Let me look. "),
    (3, "tool_call", CALLED),
    (4, "tool_result", RETURNED),
    (5, "thinking", {"thinking_step": "It is noon."}),
    said(6, "It is twelve"),
    said(7, " o'clo"),
)
SECOND: Sequence[Sent] = (
    (1_000_007, "restarted", restarted(2, 4)),
    said(1_000_008, "It is "),
    said(1_000_009, "noon."),
    (1_000_010, "complete", COMPLETE),
    (1_000_011, "done", {}),
)
