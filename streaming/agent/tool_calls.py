"""The tool calls of one run: executed concurrently, each result durable as it arrives.

A process may die while its tools run. A further attempt takes the results that were
durable, repeats the calls of tools that declare it (`repeatable`), and reports to the
model that the outcome of the other calls is unknown.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from streaming.agent.progress import Progress
from streaming.events import Event, ToolCallEvent, ToolCallInfo, ToolResultEvent
from streaming.messages import ToolCallPart, ToolResultPart, unanswered_calls
from streaming.tools.base import Context
from streaming.tools.toolbox import Toolbox

#: Makes all messages of the progress and all events durable.
Checkpoint = Callable[[], Awaitable[None]]

#: The result of a call that was under way when its process was stopped.
UNKNOWN = (
    "It is unknown whether this call finished: the process that executed it was "
    "stopped."
)


class ToolCalls:
    """Executes the tool calls of a run; `max_result_chars` is for each of them."""

    def __init__(
        self,
        toolbox: Toolbox,
        context: Context,
        progress: Progress,
        checkpoint: Checkpoint,
        *,
        timeout: float,
        max_result_chars: int,
        max_run_chars: int,
    ) -> None:
        self._toolbox = toolbox
        self._context = context
        self._progress = progress
        self._checkpoint = checkpoint
        self._timeout = timeout
        self._max_result_chars = max_result_chars
        self._max_run_chars = max_run_chars

    async def run(self, calls: Sequence[ToolCallPart]) -> AsyncGenerator[list[Event]]:
        """Execute the calls of a new response, if any; yield the events.

        The response and the events of its calls are durable before a tool starts.
        """
        if calls:
            self._progress.count_calls(calls)
            yield [
                ToolCallEvent(
                    tool_call=ToolCallInfo(c.id, c.name, c.arguments, "executing")
                )
                for c in calls
            ]
        else:
            self._progress.has_advanced = True
        await self._checkpoint()
        async with aclosing(self._execute(calls)) as results:
            async for events in results:
                yield events

    async def resume(self) -> AsyncGenerator[list[Event]]:
        """Answer the calls that an earlier attempt has left; yield new results."""
        calls = unanswered_calls(self._progress.messages)
        recovered = self._progress.recovered
        known = [recovered[call.id] for call in calls if call.id in recovered]
        left = [call for call in calls if call.id not in recovered]
        again = [call for call in left if self._toolbox.is_repeatable(call.name)]
        lost = [call for call in left if call not in again]
        unknown = [ToolResultPart(c.id, c.name, UNKNOWN, is_error=True) for c in lost]
        self._progress.add_results([*known, *unknown])
        self._progress.recovered = {}
        if unknown:
            yield list(map(result_event, lost, unknown))
        if known or unknown:
            await self._checkpoint()
        async with aclosing(self._execute(again)) as results:
            async for events in results:
                yield events

    async def _execute(
        self, calls: Sequence[ToolCallPart]
    ) -> AsyncGenerator[list[Event]]:
        """Execute calls concurrently; yield the event of each result as it arrives."""
        left = max(self._max_run_chars - self._progress.added_chars, 0)
        max_chars = min(self._max_result_chars, left // max(len(calls), 1))
        running = {
            asyncio.create_task(
                self._toolbox.call(
                    call, self._context, timeout=self._timeout, max_chars=max_chars
                )
            ): call
            for call in calls
        }
        pending = set(running)
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending, return_when=asyncio.FIRST_COMPLETED
                )
                ended = [task for task in running if task in done]
                self._progress.add_results([task.result() for task in ended])
                self._progress.has_advanced = True
                yield [result_event(running[task], task.result()) for task in ended]
                await self._checkpoint()
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            late = [
                task.result()
                for task in running
                if task in pending and not task.cancelled() and not task.exception()
            ]
            self._progress.add_results(late)
            self._progress.unsent += late


def result_event(call: ToolCallPart, result: ToolResultPart) -> Event:
    """Return the event of a tool's result."""
    info = ToolCallInfo(
        call.id,
        call.name,
        call.arguments,
        "error" if result.is_error else "completed",
        result.result,
    )
    return ToolResultEvent(tool_call=info)
