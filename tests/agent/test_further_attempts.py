"""The agent loop, cut at every await and continued from its last checkpoint."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from copy import deepcopy

import pytest

from streaming.agent.loop import AgentLoop
from streaming.agent.progress import Progress
from streaming.agent.tool_calls import UNKNOWN
from streaming.events import Event, ToolCallEvent, ToolResultEvent
from streaming.messages import (
    Message,
    SummaryPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    unanswered_calls,
    user_message,
)
from streaming.providers.base import Delta, ModelRequest, ResponseEnd, TextDelta
from streaming.tools import Context, Toolbox, tool

QUESTION = user_message("Go.")


class Model:
    """A model whose response follows from the number of responses before it."""

    name = "model"
    model = "test"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        before = [m for m in request.messages if m.role == "assistant"]
        number = len(before)
        await asyncio.sleep(0)
        yield [TextDelta(f"Step {number}. ")]
        await asyncio.sleep(0)
        if number < 2:
            names = ("read", "write")
            yield [ToolCallPart(f"{name}{number}", name, "{}") for name in names]
            yield [ResponseEnd("tool_use")]
        else:
            yield [TextDelta("Done."), ResponseEnd("end_turn")]

    async def aclose(self) -> None:
        """Close nothing."""


class World:
    """The tools with their effects, and the state that survives a process."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.durable: list[Message] = []
        self.events: list[Event] = []
        self.llm_calls = 0

        @tool(repeatable=True)
        async def read() -> str:
            """Read."""
            await asyncio.sleep(0)
            self.effects["read"] += 1
            return "read"

        @tool
        async def write() -> str:
            """Write."""
            self.effects["write begun"] += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.effects["write"] += 1
            return "written"

        self.loop = AgentLoop(provider=Model(), toolbox=Toolbox([read, write]))

    async def attempt(self, steps: int | None) -> bool:
        """Execute the run for a number of steps of the event loop; True at its end."""
        progress = Progress(messages=deepcopy(self.durable))
        progress.llm_calls = self.llm_calls

        async def checkpoint() -> None:
            await asyncio.sleep(0)
            self.durable = deepcopy(progress.messages)
            self.llm_calls = progress.llm_calls
            await asyncio.sleep(0)

        async def run() -> None:
            batches = self.loop.run(
                [QUESTION],
                Context(),
                max_iterations=5,
                progress=progress,
                checkpoint=checkpoint,
            )
            async for events in batches:
                self.events += events
            self.durable = progress.messages

        task = asyncio.create_task(run())
        while not task.done() and steps != 0:
            steps = steps - 1 if steps else steps
            await asyncio.sleep(0)
        if task.done():
            await task
            return True
        task.cancel()
        await asyncio.wait([task])
        return False


def results(messages: list[Message]) -> dict[str, ToolResultPart]:
    return {
        part.id: part
        for message in messages
        for part in message.parts
        if isinstance(part, ToolResultPart)
    }


def without_results(messages: list[Message]) -> list[Message]:
    return [message for message in messages if message.role != "tool"]


async def test_a_run_that_is_cut_at_any_await_has_the_same_transcript() -> None:
    whole = World()
    assert await whole.attempt(None)
    expected = results(whole.durable)
    cuts = 0
    ended = False
    while not ended:
        cuts += 1
        world = World()
        ended = await world.attempt(cuts)
        assert ended or await world.attempt(None)
        assert without_results(world.durable) == without_results(whole.durable)
        found = results(world.durable)
        assert found.keys() == expected.keys()
        for id, result in found.items():
            if result != expected[id]:
                assert (result.name, result.result) == ("write", UNKNOWN)
                assert result.is_error
        assert world.effects["write begun"] <= 2
        assert not unanswered_calls(world.durable)
    assert cuts > 15


async def test_a_run_that_is_cut_again_and_again_comes_to_its_end() -> None:
    world = World()
    for _ in range(100):
        if await world.attempt(9):
            break
    else:
        pytest.fail("it came to no end")
    assert world.durable[-1].text == "Step 2. Done."
    assert world.effects["write begun"] <= 2


async def test_each_tool_call_is_announced_once_in_the_valid_part_of_the_log() -> None:
    world = World()
    calls = ToolCallPart("read0", "read", "{}"), ToolCallPart("write0", "write", "{}")
    world.durable = [Message("assistant", [TextPart("Step 0. "), *calls])]
    assert await world.attempt(None)
    announced = [
        event.tool_call.id for event in world.events if isinstance(event, ToolCallEvent)
    ]
    ended = [
        event.tool_call.id
        for event in world.events
        if isinstance(event, ToolResultEvent)
    ]
    assert announced == ["read1", "write1"]
    assert sorted(ended) == ["read0", "read1", "write0", "write1"]
    assert world.effects == {"read": 2, "write begun": 1, "write": 1}


async def test_a_result_that_only_the_log_has_is_taken_from_it() -> None:
    world = World()
    calls = [ToolCallPart("write0", "write", "{}")]
    progress = Progress(messages=[Message("assistant", [*calls])])
    progress.recovered = {"write0": ToolResultPart("write0", "write", "written")}
    saved: list[int] = []

    async def checkpoint() -> None:
        saved.append(len(progress.messages))

    batches = world.loop.run(
        [QUESTION],
        Context(),
        max_iterations=2,
        progress=progress,
        checkpoint=checkpoint,
    )
    events = [event async for batch in batches for event in batch]
    assert not any(isinstance(event, ToolResultEvent) for event in events)
    assert world.effects["write begun"] == 0
    assert saved[0] == 2
    # It was the first of two iterations: this response may call no tools.
    assert progress.llm_calls == 1
    assert progress.stop_reason == "max_iterations"


async def test_the_estimate_of_lost_calls_is_added_to_the_usage() -> None:
    whole, world = World(), World()
    usages = []
    for each, lost in ((whole, ()), (world, ("word " * 100, "word " * 100))):
        progress = Progress(lost=lost)

        async def checkpoint() -> None:
            """Save nothing."""

        batches = each.loop.run(
            [QUESTION],
            Context(),
            max_iterations=5,
            progress=progress,
            checkpoint=checkpoint,
        )
        async for _ in batches:
            pass
        usages.append((progress.llm_calls, progress.usage))
    assert usages[1][0] == usages[0][0] + 2
    more = usages[1][1].output_tokens - usages[0][1].output_tokens
    assert more >= 150
    assert usages[1][1].input_tokens > usages[0][1].input_tokens


def test_a_summary_of_the_history_is_no_iteration() -> None:
    summary = Message("assistant", [SummaryPart("x", 3)])
    response = Message("assistant", [ToolCallPart("1", "read", "{}")])
    result = Message("tool", [ToolResultPart("1", "read", "x")])
    assert Progress(messages=[summary, response, result]).iterations == 1
