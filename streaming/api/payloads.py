"""Database rows as the JSON that clients read; times are ISO 8601 in UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from streaming.agents import registry
from streaming.events import Cost
from streaming.messages import (
    OpaquePart,
    Part,
    SummaryPart,
    ThinkingPart,
    ToolCallPart,
    parts_from_json,
    parts_to_json,
)
from streaming.models import Conversation, Message, Run, RunInput, RunStatus


def run_answer(run: Run, output: str) -> dict[str, Any]:
    """Return a completed run as the response of `POST /run`."""
    answer: dict[str, Any] = {
        "output": output,
        "agent": registry.display_name(run.agent),
        "execution_summary": execution_summary(run),
        "usage": usage(run),
        **cost(run),
        "run_id": run.id,
        "org_id": run.organization.org_id,
        "conversation_id": run.conversation.conversation_id,
    }
    if run.structured_output:
        answer["structured_output"] = msgspec.Raw(run.structured_output)
    return answer


def run_state(run: Run, output: str, inputs: Sequence[RunInput]) -> dict[str, Any]:
    """Return a run in any state, with the texts that have steered it."""
    state: dict[str, Any] = {}
    if run.status == RunStatus.PENDING:
        state["position"] = run.position
    if inputs:
        state["inputs"] = [run_input(run, each) for each in inputs]
    return run_answer(run, output) | {
        "status": run.status,
        **state,
        "input": run.input,
        "provider": run.provider,
        "model": run.model,
        "background": run.background,
        "max_iterations": run.max_iterations,
        "error": failure(run),
        "created_at": time(run.created_at),
        "first_token_at": time(run.first_token_at),
        "ended_at": time(run.ended_at),
    }


def run_input(run: Run, row: RunInput) -> dict[str, Any]:
    """Return a text that steers a run."""
    following = {"next_run_id": row.next_run} if row.next_run else {}
    waits = "returned" if run.has_ended else "waiting"
    status = "next_run" if row.next_run else "taken" if row.taken_at else waits
    return {
        "message_id": row.id,
        "input": row.text,
        "created_at": time(row.created_at),
        "status": status,
        **following,
    }


def pending_run(run: Run, position: int) -> dict[str, Any]:
    """Return a pending run as in the queue of its conversation."""
    return {
        "run_id": run.id,
        "position": position,
        "input": run.input,
        "agent": registry.display_name(run.agent),
        "created_at": time(run.created_at),
    }


def run_outcome(run: Run) -> dict[str, Any]:
    """Return the outcome of a run, without the messages that it stored."""
    return {
        "run_id": run.id,
        "agent": registry.display_name(run.agent),
        "status": run.status,
        "error": failure(run),
        "execution_summary": execution_summary(run),
        "usage": usage(run),
        **cost(run),
    }


def failure(run: Run) -> dict[str, str] | None:
    """Return the error of a failed run, else None."""
    if not run.error_code:
        return None
    return {"code": run.error_code, "message": run.error_message}


def execution_summary(run: Run) -> dict[str, Any]:
    """Return the run's figures; its time is known once it has ended."""
    took = None
    if run.ended_at:
        seconds = (run.ended_at - run.created_at).total_seconds()
        took = max(round(seconds * 1000), 0)  # SQLite's own times have no microseconds
    return {
        "llm_calls": run.llm_calls,
        "tool_calls": run.tool_calls,
        "execution_time_ms": took,
        "used_tools": run.used_tools,
        "stop_reason": run.stop_reason or None,
    }


def usage(run: Run) -> dict[str, int]:
    """Return the tokens that the run used."""
    return {
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "total_tokens": run.total_tokens,
        "reasoning_tokens": run.reasoning_tokens,
    }


def cost(run: Run) -> dict[str, Cost]:
    """Return the cost of a run as a field; none if the model's price is unknown."""
    return {} if run.cost is None else {"cost": Cost(f"{run.cost:f}")}


def conversation_summary(
    conversation: Conversation, active_run_id: str | None
) -> dict[str, Any]:
    """Return a conversation as in a list, with its active run."""
    return {
        "conversation_id": conversation.conversation_id,
        "title": conversation.title,
        "active_run_id": active_run_id,
        "head": conversation.head,
        "created_at": time(conversation.created_at),
        "updated_at": time(conversation.updated_at),
    }


def message(row: Message) -> dict[str, Any]:
    """Return a message with its parts, without those that only a provider reads."""
    parts = parts_from_json(row.parts)
    shown = [_shown(part) for part in parts if not isinstance(part, OpaquePart)]
    return {
        "role": row.role,
        "parts": parts_to_json(shown),
        "run_id": row.run_id,
        "created_at": time(row.created_at),
    }


def _shown(part: Part) -> Part:
    """Return a part without the fields that only a provider or the agent reads."""
    match part:
        case ThinkingPart():
            return ThinkingPart(part.text)
        case ToolCallPart():
            return ToolCallPart(part.id, part.name, part.arguments)
        case SummaryPart():
            return SummaryPart(part.text, part.exchanges)
    return part


def time(moment: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    return moment.isoformat().replace("+00:00", "Z") if moment else None
