"""Rows for the admin's tests: runs with messages and events at chosen times."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

from streaming import events
from streaming.events import BaseEvent, ToolCallInfo
from streaming.messages import (
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    parts_to_json,
)
from streaming.models import (
    Conversation,
    ConversationText,
    EventSegment,
    Message,
    Organization,
    Run,
    RunStatus,
)
from streaming.storage.search import text_of

#: The start of the runs in these tests.
START = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
ZERO = int(START.timestamp() * 1000)


def after(milliseconds: float) -> datetime:
    """Return a time after the start."""
    return START + timedelta(milliseconds=milliseconds)


def make_conversation(
    org_id: str = "acme", title: str = "Apples", question: str = ""
) -> Conversation:
    """Make a conversation without messages, which is found by its question."""
    organization, _ = Organization.objects.get_or_create(org_id=org_id)
    conversation = Conversation.objects.create(organization=organization, title=title)
    text = text_of(title, question)
    ConversationText.objects.create(conversation=conversation, text=text)
    return conversation


def make_run(conversation: Conversation | None = None, **values: object) -> Run:
    """Make a run that completed after 3 seconds, unless `fields` differ."""
    conversation = conversation or make_conversation()
    usual = {
        "status": RunStatus.COMPLETED,
        "stop_reason": "end_turn",
        "input": "How many apples are left?",
        "provider": "anthropic",
        "model": "claude-sonnet-5-5",
        "input_tokens": 1200,
        "output_tokens": 34,
        "created_at": START,
        "first_token_at": after(400),
        "ended_at": after(3000),
        "heartbeat_at": after(2900),
    }
    if values.get("status") == RunStatus.RUNNING:
        usual |= {"ended_at": None, "stop_reason": ""}
    return Run.objects.create(
        organization=conversation.organization,
        conversation=conversation,
        **usual | values,
    )


def say(run: Run, role: Literal["user", "assistant", "tool"], *parts: Part) -> Message:
    """Add a message to the run."""
    return Message.objects.create(
        conversation=run.conversation, run=run, role=role, parts=parts_to_json(parts)
    )


def converse(run: Run) -> None:
    """Add an exchange: a question, two tool calls, an answer."""
    say(run, "user", TextPart("How many apples are left?"))
    say(
        run,
        "assistant",
        ThinkingPart("I should count them."),
        ToolCallPart("c1", "calculator", '{"expression":"3 - 1"}'),
        ToolCallPart("c2", "current_time", '{"timezone":"Mars"}'),
    )
    say(
        run,
        "tool",
        ToolResultPart("c1", "calculator", "2"),
        ToolResultPart("c2", "current_time", "No such time zone", is_error=True),
    )
    say(run, "assistant", TextPart("Two apples are left."))


def log(run: Run, made: Iterable[BaseEvent], first: int = 1, flush: int = 7) -> None:
    """Store events as segments of `flush` events each."""
    lines = [events.encode(event).decode() for event in made]
    EventSegment.objects.bulk_create(
        EventSegment(
            run=run,
            first_id=first + at,
            last_id=first + at + len(chunk) - 1,
            events="\n".join(chunk),
        )
        for at in range(0, len(lines), flush)
        if (chunk := lines[at : at + flush])
    )


def content(at: int, text: str = "word ") -> events.Content:
    """Make a delta of the answer, some milliseconds after the start."""
    return events.Content(content=text, timestamp=ZERO + at)


def thinking(at: int, text: str = "hm ") -> events.Thinking:
    """Make a delta of reasoning."""
    return events.Thinking(thinking_step=text, timestamp=ZERO + at)


def tool_call(at: int, id: str, name: str = "calculator") -> events.ToolCallEvent:
    """Make the event of a tool's start."""
    call = ToolCallInfo(id=id, name=name, arguments="{}", status="executing")
    return events.ToolCallEvent(tool_call=call, timestamp=ZERO + at)


def tool_result(
    at: int, id: str, result: str = "2", name: str = "calculator", failed: bool = False
) -> events.ToolResultEvent:
    """Make the event of a tool's end."""
    status: Literal["error", "completed"] = "error" if failed else "completed"
    call = ToolCallInfo(id=id, name=name, arguments="{}", status=status, result=result)
    return events.ToolResultEvent(tool_call=call, timestamp=ZERO + at)


def complete(at: int) -> events.Complete:
    """Make the event of a completed run."""
    usage = events.Usage(1200, 34, 1234, 0)
    summary = events.ExecutionSummary(2, 1, at, ["calculator"], "end_turn")
    info = events.CompleteInfo("end_turn", usage, summary)
    return events.Complete(metadata=info, timestamp=ZERO + at)


def done(at: int) -> events.Done:
    """Make the last event."""
    return events.Done(timestamp=ZERO + at)
