"""The agent loop, with a scripted provider and real tools: no Django, no HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from streaming.agent.loop import AgentLoop
from streaming.agent.progress import Progress
from streaming.events import (
    Content,
    Event,
    StopReason,
    Thinking,
    ToolCallEvent,
    ToolResultEvent,
    Usage,
)
from streaming.exceptions import ProviderError, ProviderIncomplete
from streaming.messages import (
    Message,
    OpaquePart,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    user_message,
)
from streaming.providers.base import (
    Delta,
    ModelRequest,
    ResponseEnd,
    ResponseStopReason,
    TextDelta,
    ThinkingDelta,
    TokenUsage,
)
from streaming.providers.limits import MAX_COUNT
from streaming.providers.token_estimate import part_tokens, request_tokens
from streaming.tools import Context, Tool, Toolbox, ToolError, tool

#: One step of a response: a batch of deltas, an error, or a wait without an end.
Step = list[Delta] | ProviderError | asyncio.Event
Response = Sequence[Step]

QUESTION = user_message("What time is it?")
CONTEXT = Context(run="run_1")


class ScriptedProvider:
    """A provider whose responses are written in the test, one for each model call."""

    name = "scripted"
    model = "test-model"

    def __init__(self, trace: list[str], responses: Sequence[Response]) -> None:
        self.requests: list[ModelRequest] = []
        self.open_streams = 0
        self._trace = trace
        self._responses = iter(responses)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Play the next response; an event is set when the wait has begun."""
        self.requests.append(request)
        self._trace.append("model call")
        self.open_streams += 1
        try:
            for step in next(self._responses):
                match step:
                    case ProviderError():
                        raise step
                    case asyncio.Event():
                        step.set()
                        await asyncio.Event().wait()
                    case batch:
                        yield batch
        finally:
            self.open_streams -= 1

    async def aclose(self) -> None:
        """Close nothing."""


@dataclass
class Scene:
    """One run of an agent: its parts, and everything that happened in order."""

    responses: Sequence[Response]
    tools: Sequence[Tool[..., Any]] = ()
    history: Sequence[Message] = (QUESTION,)
    max_iterations: int = 5
    max_run_chars: int = 1_000_000
    #: The checkpoint, by its number from 1, that sets this event and never ends.
    hang_at_checkpoint: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    trace: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.provider = ScriptedProvider(self.trace, self.responses)
        self._checkpoints = 0

    async def run(self) -> "Scene":
        """Run the agent to its end."""
        async for events in self.batches():
            self.events += events
            self.trace += [msgspec.to_builtins(event)["type"] for event in events]
        return self

    def batches(self) -> AsyncGenerator[list[Event]]:
        """Start the agent and return its events."""
        agent = AgentLoop(
            provider=self.provider,
            toolbox=Toolbox(self.tools),
            system_prompt="Be brief.",
            max_run_chars=self.max_run_chars,
        )
        return agent.run(
            self.history,
            CONTEXT,
            max_iterations=self.max_iterations,
            progress=self.progress,
            checkpoint=self._checkpoint,
        )

    async def cancel_when_reached(self) -> None:
        """Run the agent; cancel it once `reached` is set."""
        task = asyncio.create_task(self.run())
        await asyncio.wait_for(self.reached.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert self.provider.open_streams == 0

    async def _checkpoint(self) -> None:
        roles = " ".join(message.role for message in self.progress.messages)
        self.trace.append(f"checkpoint: {roles}")
        self._checkpoints += 1
        if self._checkpoints == self.hang_at_checkpoint:
            self.reached.set()
            await asyncio.Event().wait()


def call(id: str, name: str = "echo", arguments: str = '{"text": "hi"}') -> Delta:
    return ToolCallPart(id, name, arguments)


def says(text: str, reason: ResponseStopReason = "end_turn") -> Response:
    """A whole response with a text."""
    return [[TextDelta(text)], [ResponseEnd(reason)]]


def calls(*deltas: Delta) -> Response:
    """A whole response with tool calls."""
    return [[*deltas, ResponseEnd("tool_use")]]


def result(id: str, text: str, name: str = "echo", is_error: bool = False) -> Part:
    return ToolResultPart(id, name, text, is_error)


@tool
async def echo(text: str) -> str:
    """Return the text."""
    return text


def traced(trace: list[str]) -> Tool[[str], str]:
    """A tool that writes its start into the trace of a scene."""

    @tool(name="echo")
    def record(text: str) -> str:
        """Return the text."""
        trace.append("tool starts")
        return text

    return record


# A response without tools


async def test_text_is_passed_on_as_it_arrives() -> None:
    scene = Scene(
        [
            [
                [ThinkingDelta("hm")],
                [],
                [TextDelta("It is "), TextDelta("noon.")],
                [TokenUsage(3, 4, 1), ResponseEnd("end_turn")],
            ]
        ]
    )
    batches = [batch async for batch in scene.batches()]
    assert [[type(event) for event in batch] for batch in batches] == [
        [Thinking],
        [Content, Content],
    ]
    assert scene.progress.output == "It is noon."
    assert scene.progress.stop_reason == "end_turn"
    assert scene.progress.wire_usage() == Usage(3, 4, 7, 1)
    assert scene.progress.llm_calls == 1
    assert scene.trace == ["model call"]


async def test_the_model_receives_prompt_history_and_tools() -> None:
    history = [user_message("Hi"), Message("assistant", [TextPart("Hi")]), QUESTION]
    scene = await Scene([says("Noon.")], [echo], history=history).run()
    request = scene.provider.requests[0]
    assert request.system == "Be brief."
    assert request.messages == history
    assert [spec.name for spec in request.tools] == ["echo"]
    assert request.allow_tools


@pytest.mark.parametrize("reason", ["max_tokens", "refusal"])
@pytest.mark.parametrize("max_iterations", [1, 5])
async def test_the_reason_of_a_partial_response_is_kept(
    reason: ResponseStopReason, max_iterations: int
) -> None:
    response: Response = [[TextDelta("It is"), call("1"), ResponseEnd(reason)]]
    scene = Scene([response], [echo], max_iterations=max_iterations)
    await scene.run()
    assert scene.progress.stop_reason == reason
    assert scene.progress.messages == [Message("assistant", [TextPart("It is")])]
    assert scene.progress.tool_calls == 0
    assert scene.trace == ["model call", "content"]


async def test_a_response_without_content_leaves_no_message() -> None:
    scene = await Scene([[[ResponseEnd("refusal")]]]).run()
    assert scene.progress.messages == []
    assert scene.progress.output == ""
    assert scene.progress.stop_reason == "refusal"


# The tool loop


async def test_the_model_receives_the_results_of_its_calls() -> None:
    scene = await Scene([calls(call("1")), says("Done.")], [echo]).run()
    assistant = Message("assistant", [ToolCallPart("1", "echo", '{"text": "hi"}')])
    results = Message("tool", [result("1", "hi")])
    final = Message("assistant", [TextPart("Done.")])
    assert scene.provider.requests[1].messages == [QUESTION, assistant, results]
    assert scene.progress.messages == [assistant, results, final]
    assert scene.progress.output == "Done."


async def test_a_tool_call_and_its_result_are_events() -> None:
    scene = await Scene([calls(call("1")), says("Done.")], [echo]).run()
    started, ended, content = scene.events
    assert isinstance(started, ToolCallEvent)
    assert isinstance(ended, ToolResultEvent)
    assert isinstance(content, Content)
    assert (started.tool_call.id, started.tool_call.name) == ("1", "echo")
    assert started.tool_call.arguments == ended.tool_call.arguments == '{"text": "hi"}'
    assert started.tool_call.status == "executing"
    assert (ended.tool_call.id, ended.tool_call.name) == ("1", "echo")
    assert ended.tool_call.status == "completed"
    assert ended.tool_call.result == "hi"


async def test_checkpoints_come_before_tools_and_before_results_are_sent() -> None:
    trace: list[str] = []
    scene = Scene(
        [calls(call("1")), calls(call("2")), says("Done.")],
        [traced(trace)],
        trace=trace,
    )
    await scene.run()
    assert trace == [
        "model call",
        "tool_call",
        "checkpoint: assistant",
        "tool starts",
        "tool_result",
        "checkpoint: assistant tool",
        "model call",
        "tool_call",
        "checkpoint: assistant tool assistant",
        "tool starts",
        "tool_result",
        "checkpoint: assistant tool assistant tool",
        "model call",
        "content",
    ]


async def test_tools_of_one_response_run_at_the_same_time() -> None:
    both = asyncio.Barrier(2)
    first_ended = asyncio.Event()

    @tool
    async def quick() -> str:
        """End first."""
        await both.wait()
        return "quick"

    @tool
    async def slow() -> str:
        """End when the result of the other is out."""
        await both.wait()
        await first_ended.wait()
        return "slow"

    scene = Scene(
        [calls(call("1", "slow", ""), call("2", "quick", "")), says("Done.")],
        [slow, quick],
    )
    ended: list[str] = []
    async with asyncio.timeout(10):
        async for batch in scene.batches():
            for event in batch:
                if isinstance(event, ToolResultEvent):
                    ended.append(event.tool_call.id)
                    first_ended.set()
    assert ended == ["2", "1"]
    assert scene.progress.messages[1:3] == [
        Message("tool", [result("2", "quick", "quick")]),
        Message("tool", [result("1", "slow", "slow")]),
    ]
    assert scene.progress.tool_calls == 2


async def test_calls_are_counted_and_each_tool_is_named_once() -> None:
    @tool
    async def fail() -> str:
        """Fail."""
        raise ToolError("No luck.")

    scene = Scene(
        [
            calls(call("1"), call("2"), call("3", "fail", "")),
            calls(call("4"), call("5", "missing")),
            says("Done."),
        ],
        [echo, fail],
    )
    await scene.run()
    summary = scene.progress.summary()
    assert summary.llm_calls == 3
    assert summary.tool_calls == 5
    assert summary.used_tools == ["echo", "fail", "missing"]
    assert summary.stop_reason == "end_turn"
    assert 0 <= summary.execution_time_ms < 60_000
    statuses = {
        event.tool_call.id: event.tool_call.status
        for event in scene.events
        if isinstance(event, ToolResultEvent)
    }
    completed, error = "completed", "error"
    assert statuses == {
        "1": completed,
        "2": completed,
        "3": error,
        "4": completed,
        "5": error,
    }
    results = [p for m in scene.progress.messages if m.role == "tool" for p in m.parts]
    assert result("3", "No luck.", "fail", is_error=True) in results


async def test_a_call_for_tools_without_a_call_ends_the_run() -> None:
    scene = await Scene([says("Hm.", "tool_use")], [echo]).run()
    assert scene.progress.stop_reason == "end_turn"
    assert scene.trace == ["model call", "content"]


# The last iteration


@pytest.mark.parametrize("max_iterations", [1, 3])
async def test_the_last_iteration_allows_no_tools(max_iterations: int) -> None:
    again: Response = [[TextDelta("Once more."), call("1"), ResponseEnd("tool_use")]]
    scene = Scene([again] * max_iterations, [echo], max_iterations=max_iterations)
    await scene.run()
    allowed = [request.allow_tools for request in scene.provider.requests]
    assert allowed == [True] * (max_iterations - 1) + [False]
    assert all(request.tools for request in scene.provider.requests)
    assert scene.progress.stop_reason == "max_iterations"
    assert scene.progress.tool_calls == max_iterations - 1
    # A call that is not run has no result, so it must not stay in the history.
    assert scene.progress.messages[-1] == Message("assistant", [TextPart("Once more.")])


async def test_an_answer_in_the_last_iteration_ends_regularly() -> None:
    scene = Scene([calls(call("1")), says("Done.")], [echo], max_iterations=2)
    await scene.run()
    assert scene.progress.stop_reason == "end_turn"


# A paused response


SEARCH = OpaquePart("anthropic", {"type": "server_tool_use"})


async def test_a_paused_response_is_continued() -> None:
    paused: Response = [[SEARCH, ResponseEnd("pause_turn")]]
    scene = await Scene([paused, says("Done.")]).run()
    message = Message("assistant", [SEARCH])
    assert scene.provider.requests[1].messages == [QUESTION, message]
    assert scene.progress.stop_reason == "end_turn"
    assert scene.trace == [
        "model call",
        "checkpoint: assistant",
        "model call",
        "content",
    ]


@pytest.mark.parametrize(
    ("content", "max_iterations", "expected"),
    [([TextDelta("Hm")], 1, "max_iterations"), ([SEARCH], 1, "max_iterations")],
)
async def test_a_pause_can_end_the_run(
    content: list[Delta], max_iterations: int, expected: StopReason
) -> None:
    paused: Response = [[*content, ResponseEnd("pause_turn")]]
    scene = await Scene([paused], max_iterations=max_iterations).run()
    assert len(scene.provider.requests) == 1
    assert scene.progress.stop_reason == expected


# Cancellation


async def test_a_run_is_cancelled_in_a_model_call() -> None:
    reached = asyncio.Event()
    hanging: Response = [[TextDelta("It is"), TokenUsage(7, 1)], reached]
    scene = Scene([hanging], reached=reached)
    await scene.cancel_when_reached()
    assert scene.progress.messages == [Message("assistant", [TextPart("It is")])]
    assert scene.progress.usage.input_tokens == 7


async def test_a_run_is_cancelled_in_a_tool() -> None:
    reached = asyncio.Event()
    ends: list[str] = []

    @tool
    async def hang() -> str:
        """Wait without an end."""
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cancelled")
        return ""

    scene = Scene(
        [calls(call("1"), call("2", "hang", "{}"))], [echo, hang], reached=reached
    )
    await scene.cancel_when_reached()
    assert ends == ["cancelled"]
    assert scene.progress.messages[1:] == [Message("tool", [result("1", "hi")])]
    assert scene.progress.tool_calls == 2
    assert scene.trace.count("model call") == 1
    assert len([t for t in asyncio.all_tasks() if not t.done()]) == 1


async def test_a_run_is_cancelled_in_the_only_tool() -> None:
    reached = asyncio.Event()

    @tool
    async def hang() -> str:
        """Wait without an end."""
        reached.set()
        await asyncio.Event().wait()
        return ""

    scene = Scene([calls(call("1", "hang", "{}"))], [hang], reached=reached)
    await scene.cancel_when_reached()
    assert [message.role for message in scene.progress.messages] == ["assistant"]


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        (1, ["model call", "tool_call", "checkpoint: assistant"]),
        (
            2,
            [
                "model call",
                "tool_call",
                "checkpoint: assistant",
                "tool starts",
                "tool_result",
                "checkpoint: assistant tool",
            ],
        ),
    ],
)
async def test_a_run_is_cancelled_in_a_checkpoint(
    checkpoint: int, expected: list[str]
) -> None:
    trace: list[str] = []
    scene = Scene(
        [calls(call("1")), says("Done.")],
        [traced(trace)],
        hang_at_checkpoint=checkpoint,
        trace=trace,
    )
    await scene.cancel_when_reached()
    assert scene.trace == expected
    assert len(scene.progress.messages) == checkpoint


async def test_closing_a_run_closes_the_model_call() -> None:
    scene = Scene([[[TextDelta("a")], [TextDelta("b")], [ResponseEnd("end_turn")]]])
    batches = scene.batches()
    await anext(batches)
    assert scene.provider.open_streams == 1
    await batches.aclose()
    assert scene.provider.open_streams == 0
    assert scene.progress.output == "a"


# Failures of the provider


async def test_an_error_in_mid_stream_keeps_text_and_usage() -> None:
    failing: Response = [
        [TokenUsage(9, 1), TextDelta("It is")],
        [TextDelta(" no")],
        ProviderIncomplete(),
    ]
    scene = Scene([calls(TokenUsage(1, 1), call("1")), failing], [echo])
    with pytest.raises(ProviderIncomplete):
        await scene.run()
    assert scene.progress.output == "It is no"
    assert scene.progress.llm_calls == 2
    assert scene.progress.usage.input_tokens == 1 + 9
    assert scene.trace[-1] == "content"
    assert scene.provider.open_streams == 0


async def test_a_call_in_an_interrupted_response_is_dropped() -> None:
    failing: Response = [[TextDelta("Hm."), call("1")], ProviderIncomplete()]
    scene = Scene([failing], [echo])
    with pytest.raises(ProviderIncomplete):
        await scene.run()
    assert scene.progress.messages == [Message("assistant", [TextPart("Hm.")])]
    assert scene.progress.tool_calls == 0


async def test_an_error_before_any_output_leaves_no_message() -> None:
    scene = Scene([[ProviderError("Not today.")]])
    with pytest.raises(ProviderError, match=r"Not today\."):
        await scene.run()
    assert scene.progress.messages == []
    assert scene.progress.llm_calls == 1


# Usage


async def test_the_usage_of_all_calls_is_summed() -> None:
    one, two = TokenUsage(1, 20, 300, 4000, 50000), TokenUsage(5, 60, 700, 8000, 90000)
    replaced = TokenUsage(1000, 1000, 1000, 1000, 1000)
    scene = Scene(
        [
            [[replaced], [one, call("1"), ResponseEnd("tool_use")]],
            [[two, TextDelta("Done."), ResponseEnd("end_turn")]],
        ],
        [echo],
    )
    await scene.run()
    assert scene.progress.usage == TokenUsage(6, 80, 1000, 12000, 140000)
    assert scene.progress.wire_usage() == Usage(6, 80, 86, 1000)


Counted = Callable[[int, int], TokenUsage]


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ([], lambda sent, received: TokenUsage(sent, received)),
        ([TokenUsage(5)], lambda _, received: TokenUsage(5, received)),
        ([TokenUsage(5, 9999)], lambda *_: TokenUsage(5, 9999)),
        (
            [TokenUsage(0, 1, 2, 3, 4)],
            lambda sent, received: TokenUsage(sent, received, 2, 3, 4),
        ),
    ],
)
async def test_the_usage_of_an_interrupted_call_is_estimated(
    counted: list[Delta], expected: Counted
) -> None:
    text = "x" * 1000
    failing: Response = [[*counted, TextDelta(text)], ProviderIncomplete()]
    scene = Scene([failing], history=[user_message("y" * 2000)])
    with pytest.raises(ProviderIncomplete):
        await scene.run()
    sent = round(request_tokens(scene.provider.requests[0]))
    received = part_tokens([TextPart(text)])
    assert sent > 2000 / 5
    assert received > 1000 / 5
    assert scene.progress.usage == expected(sent, received)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ([], lambda sent, received: TokenUsage(sent, received)),
        ([TokenUsage(5)], lambda _, received: TokenUsage(5, received)),
        ([TokenUsage(0, 3)], lambda sent, _: TokenUsage(sent, 3)),
        ([TokenUsage(5, 3)], lambda *_: TokenUsage(5, 3)),
    ],
)
async def test_missing_usage_of_a_complete_call_is_estimated(
    counted: list[Delta], expected: Counted
) -> None:
    text = "x" * 1000
    response: Response = [[*counted, TextDelta(text), ResponseEnd("end_turn")]]
    scene = await Scene([response], history=[user_message("y" * 2000)]).run()
    sent = round(request_tokens(scene.provider.requests[0]))
    received = part_tokens([TextPart(text)])
    assert scene.progress.usage == expected(sent, received)


async def test_the_sum_of_all_usage_can_be_stored() -> None:
    most = TokenUsage(*[MAX_COUNT] * 5)
    scene = Scene(
        [
            [[most, call("1"), ResponseEnd("tool_use")]],
            [[most, TextDelta("Done."), ResponseEnd("end_turn")]],
        ],
        [echo],
    )
    await scene.run()
    assert scene.progress.usage == most
    assert scene.progress.wire_usage() == Usage(*[MAX_COUNT] * 4)
